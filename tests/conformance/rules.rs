//! What is declared about the cases: where we answer otherwise and why, what the recording took for granted, what is out
//! of scope.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::case::{Case, Step};
use super::outcome::Expected;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub counts: Counts,
    /// In order: a later one of the same case is laid over an earlier one.
    deviations: Vec<Deviation>,
    out_of_scope: Vec<OutOfScope>,
    granted: Vec<Granted>,
    /// Settings the replay leaves out or adds, each laid over the case's own (null removes).
    settings: Value,
    /// Fields that answers may be without.
    lacking: Vec<Lacking>,
    /// Objects whose names belong to the client.
    free_form_fields: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    pub agreeing: usize,
    pub by_rule: usize,
    pub out_of_scope: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    rule: String,
    cases: Vec<String>,
    /// Only where LiteLLM answered this status.
    when_status: Option<u16>,
    /// Only where LiteLLM told this type.
    when_type: Option<String>,
    ours: Ours,
}

/// What is different here; what is not named is as recorded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ours {
    allowed: Option<bool>,
    status: Option<u16>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// In place of those recorded.
    headers: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutOfScope {
    #[serde(rename = "why")]
    _why: String,
    cases: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lacking {
    why: String,
    cases: Vec<String>,
    fields: Vec<String>,
}

/// What the recorded server already held, or what a name of the recording stood for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Granted {
    cases: Vec<String>,
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// What stands for a value that only the recorded server had.
    #[serde(default)]
    pub replaced: BTreeMap<String, String>,
    /// Sent before the steps of the case.
    #[serde(default)]
    pub before: Vec<Step>,
    /// Sent behind them: what the recording did not write down.
    #[serde(default)]
    pub behind: Vec<Step>,
}

impl Rules {
    pub fn read() -> Rules {
        serde_json::from_str(include_str!("deviations.json")).expect("deviations.json can be read")
    }

    pub fn is_out_of_scope(&self, id: &str) -> bool {
        self.out_of_scope.iter().any(|entry| names(&entry.cases, id))
    }

    /// Whether the answer of this case may be without this field: the name of the declaration that says so.
    pub fn may_lack(&self, id: &str, field: &str) -> Option<String> {
        let entry = self
            .lacking
            .iter()
            .find(|entry| names(&entry.cases, id) && entry.fields.iter().any(|name| name == field))?;
        Some(format!("{field}: {}", entry.why))
    }

    /// Every declaration of a field that answers may be without.
    pub fn lackable(&self) -> impl Iterator<Item = String> {
        self.lacking.iter().flat_map(|entry| entry.fields.iter().map(move |field| format!("{field}: {}", entry.why)))
    }

    pub fn is_free_form(&self, field: &str) -> bool {
        self.free_form_fields.iter().any(|name| name == field)
    }

    pub fn granted(&self, id: &str) -> impl Iterator<Item = &Granted> {
        self.granted.iter().filter(move |granted| names(&granted.cases, id))
    }

    /// The case's settings as our configuration takes them.
    pub fn settings(&self, case: &Case) -> Value {
        let mut settings = case.settings.clone();
        lay_over(&mut settings, &self.settings);
        settings
    }

    /// How the case must end here.
    pub fn expected(&self, case: &Case) -> Expected {
        let recorded = &case.litellm;
        let mut expected = Expected {
            id: case.id.clone(),
            allowed: recorded.reached_upstream || recorded.status < 400,
            status: recorded.status,
            kind: recorded.error.as_ref().and_then(|error| error.kind.clone()),
            headers: recorded.headers.clone(),
            shape: recorded.shape.clone(),
            is_recorded: true,
        };
        for deviation in self.deviations.iter().filter(|deviation| deviation.applies(case)) {
            deviation.lay_over(&mut expected);
        }
        expected
    }

    /// Declarations that do nothing, in words.
    pub fn idle(&self, cases: &[Case]) -> Vec<String> {
        let mut idle = Vec::new();
        for deviation in &self.deviations {
            for name in &deviation.cases {
                let about = cases.iter().filter(|case| names(std::slice::from_ref(name), &case.id));
                if !about.clone().any(|case| deviation.applies(case)) {
                    idle.push(format!("`{}` is about no case named {name}", deviation.rule));
                }
                for case in about.filter(|case| deviation.applies(case) && !deviation.changes(case)) {
                    idle.push(format!("`{}` changes nothing of {}", deviation.rule, case.id));
                }
            }
        }
        let out_of_scope = self.out_of_scope.iter().map(|entry| &entry.cases);
        let granted = self.granted.iter().map(|entry| &entry.cases);
        let lists = out_of_scope.chain(granted).chain(self.lacking.iter().map(|entry| &entry.cases));
        for name in lists.flatten() {
            if !cases.iter().any(|case| names(std::slice::from_ref(name), &case.id)) {
                idle.push(format!("no case is named {name}"));
            }
        }
        idle
    }
}

impl Deviation {
    fn applies(&self, case: &Case) -> bool {
        let kind = case.litellm.error.as_ref().and_then(|error| error.kind.as_deref());
        names(&self.cases, &case.id)
            && self.when_status.is_none_or(|status| status == case.litellm.status)
            && self.when_type.as_deref().is_none_or(|wanted| kind == Some(wanted))
    }

    /// Whether it says anything that was not recorded.
    fn changes(&self, case: &Case) -> bool {
        let recorded = &case.litellm;
        let kind = recorded.error.as_ref().and_then(|error| error.kind.as_deref());
        let allowed = recorded.reached_upstream || recorded.status < 400;
        self.ours.status.is_some_and(|status| status != recorded.status)
            || self.ours.allowed.is_some_and(|ours| ours != allowed)
            || self.ours.headers.as_ref().is_some_and(|ours| *ours != recorded.headers)
            || self.ours.kind.as_deref().is_some_and(|ours| kind != Some(ours))
    }

    fn lay_over(&self, expected: &mut Expected) {
        expected.is_recorded = false;
        if let Some(status) = self.ours.status {
            expected.status = status;
        }
        if let Some(allowed) = self.ours.allowed {
            expected.allowed = allowed;
            if allowed {
                expected.kind = None;
            } else {
                expected.shape = None;
            }
        }
        if let Some(headers) = &self.ours.headers {
            expected.headers.clone_from(headers);
        }
        if let Some(kind) = &self.ours.kind {
            expected.kind = Some(kind.clone());
        }
    }
}

/// Whether a list names the case: by its id, or by the start of it and a `*`.
fn names(list: &[String], id: &str) -> bool {
    list.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => id.starts_with(start),
        None => name == id,
    })
}

fn lay_over(below: &mut Value, above: &Value) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *below, above) else {
        *below = above.clone();
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            lay_over(fields.entry(name.clone()).or_insert(Value::Null), change);
        }
    }
}
