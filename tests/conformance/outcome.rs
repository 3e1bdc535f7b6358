//! How a request ended, and how two ends differ.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::Rules;

/// How a request ended here.
#[derive(Debug)]
pub struct Got {
    /// A model call reached the upstream; a management call was not refused.
    pub allowed: bool,
    pub status: u16,
    /// `error.type`.
    pub kind: Option<String>,
    pub headers: Vec<String>,
    pub body: Value,
}

/// How it must end.
#[derive(Debug)]
pub struct Expected {
    pub id: String,
    pub allowed: bool,
    pub status: u16,
    /// Nothing where LiteLLM told none.
    pub kind: Option<String>,
    pub headers: Vec<String>,
    pub shape: Option<Value>,
    /// No rule changed it.
    pub is_recorded: bool,
}

impl Expected {
    /// In words; nothing where all agrees. Fields that are excused for being absent are noted.
    pub fn differences(&self, got: &Got, rules: &Rules, excused: &mut BTreeSet<String>) -> Option<String> {
        let mut found = Vec::new();
        if self.allowed != got.allowed {
            let word = |allowed| if allowed { "allowed" } else { "denied" };
            found.push(format!("expected it {}, it was {}", word(self.allowed), word(got.allowed)));
        }
        if self.status != got.status {
            found.push(format!("expected status {}, got {}", self.status, got.status));
        }
        if self.kind.is_some() && self.kind != got.kind {
            found.push(format!("expected type {:?}, got {:?}", self.kind, got.kind));
        }
        for header in self.headers.iter().filter(|header| !got.headers.contains(header)) {
            found.push(format!("no header {header}"));
        }
        if let Some(shape) = &self.shape {
            let mut comparison = Comparison { id: &self.id, rules, found: &mut found, excused };
            comparison.value(shape, &got.body, "");
        }
        if found.is_empty() {
            return None;
        }
        let mut body = got.body.to_string();
        body.truncate((0..=300.min(body.len())).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0));
        Some(format!("{}\n    answer: {body}", found.join("; ")))
    }
}

/// Compares an answer with a recorded shape. More is no fault; null is of every type.
struct Comparison<'c> {
    id: &'c str,
    rules: &'c Rules,
    found: &'c mut Vec<String>,
    excused: &'c mut BTreeSet<String>,
}

impl Comparison<'_> {
    fn value(&mut self, shape: &Value, answer: &Value, path: &str) {
        let (own, wanted) = (type_of(answer), shape.as_str().unwrap_or_else(|| type_of(shape)));
        if own != wanted && own != "null" && wanted != "null" {
            self.found.push(format!("{path} is of type {own}, expected {wanted}"));
            return;
        }
        match (shape, answer) {
            (Value::Object(fields), Value::Object(answer)) => {
                for (name, shape) in fields {
                    self.field(name, shape, answer.get(name), &format!("{path}.{name}"));
                }
            }
            (Value::Array(shapes), Value::Array(answers)) => {
                if let (Some(shape), Some(answer)) = (shapes.first(), answers.first()) {
                    self.value(shape, answer, &format!("{path}[0]"));
                }
            }
            _ => {}
        }
    }

    fn field(&mut self, name: &str, shape: &Value, answer: Option<&Value>, path: &str) {
        match (answer, self.rules.may_lack(self.id, name)) {
            (None, Some(declaration)) => _ = self.excused.insert(declaration),
            (None, None) => self.found.push(format!("{path} is missing")),
            (Some(_), _) if self.rules.is_free_form(name) => {}
            (Some(answer), _) => self.value(shape, answer, path),
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
