//! A recorded case as its line tells it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub about: String,
    /// `general_settings` and `litellm_settings` of the server.
    pub settings: Value,
    /// Environment variables of the server.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What is sent first, in order.
    pub steps: Vec<Step>,
    pub request: Request,
    pub litellm: Recorded,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// Waits; a wait for books to be written is one for the event here.
    Sleep { sleep_s: f64 },
    Send {
        #[serde(flatten)]
        request: Request,
        /// Names for values of the answer, by their path in its JSON.
        #[serde(default)]
        save: BTreeMap<String, Vec<Value>>,
    },
}

#[derive(Debug, Deserialize)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    /// A JSON value, or a string that is sent as it is.
    pub body: Value,
}

/// What came back.
#[derive(Debug, Deserialize)]
pub struct Recorded {
    pub status: u16,
    pub reached_upstream: bool,
    pub error: Option<RecordedError>,
    /// Types of the JSON of a management answer.
    pub shape: Option<Value>,
    /// Headers that were present.
    #[serde(default)]
    pub headers: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct RecordedError {
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl Case {
    pub fn all() -> Vec<Case> {
        let lines = include_str!("cases.jsonl").lines();
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("{problem}: {line}"))).collect()
    }

    /// Cases of one server have one of these.
    pub fn server(&self) -> String {
        format!("{} {:?}", self.settings, self.env)
    }
}

impl Request {
    /// Whether this is a call to a model, which goes through the gateway; everything else is management.
    pub fn is_model_call(&self) -> bool {
        const MANAGEMENT: [&str; 2] = ["/v1/model/info", "/v1/mcp"];
        const MODEL: [&str; 7] = [
            "/v1/",
            "/v1beta/",
            "/chat/completions",
            "/embeddings",
            "/openai/deployments/",
            "/engines/",
            "/completions",
        ];
        !MANAGEMENT.iter().any(|prefix| self.path.starts_with(prefix))
            && MODEL.iter().any(|prefix| self.path.starts_with(prefix))
    }
}
