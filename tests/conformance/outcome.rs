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
            lacking(shape, &got.body, "", rules, &mut found, excused);
        }
        if found.is_empty() {
            return None;
        }
        let mut body = got.body.to_string();
        body.truncate((0..=300.min(body.len())).rev().find(|at| body.is_char_boundary(*at)).unwrap_or(0));
        Some(format!("{}\n    answer: {body}", found.join("; ")))
    }
}

/// What a recorded shape has and an answer lacks. More is no fault; null is of every type.
fn lacking(
    shape: &Value,
    answer: &Value,
    path: &str,
    rules: &Rules,
    found: &mut Vec<String>,
    excused: &mut BTreeSet<String>,
) {
    let own = match answer {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let wanted = match shape {
        Value::String(kind) => kind.as_str(),
        Value::Array(_) => "array",
        _ => "object",
    };
    if own != wanted && own != "null" && wanted != "null" {
        found.push(format!("{path} is of type {own}, expected {wanted}"));
        return;
    }
    match (shape, answer) {
        (Value::Object(fields), Value::Object(answer)) => {
            for (name, shape) in fields {
                let path = format!("{path}.{name}");
                match answer.get(name) {
                    None if rules.may_lack(name) => _ = excused.insert(name.clone()),
                    None => found.push(format!("{path} is missing")),
                    Some(_) if rules.is_free_form(name) => {}
                    Some(answer) => lacking(shape, answer, &path, rules, found, excused),
                }
            }
        }
        (Value::Array(shapes), Value::Array(answers)) => {
            if let (Some(shape), Some(answer)) = (shapes.first(), answers.first()) {
                lacking(shape, answer, &format!("{path}[0]"), rules, found, excused);
            }
        }
        _ => {}
    }
}
