//! An authoriser that is asked by HTTP: the request as a JSON object, answered with the caller as one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::super::claims::read_object;
use super::super::fetch::{Answer as Response, Endpoint, Fetch, FetchError};
use super::fields::{self, Answer};
use super::question::Question;
use super::verdict::{Refusal, Source, Trouble, Verdict};
use crate::domain::Secret;

/// The largest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// See the module.
pub(super) struct Webhook {
    pub endpoint: Endpoint,
    pub fetch: Fetch,
    pub headers: Vec<(String, Secret)>,
    pub is_unchecked: bool,
}

impl Webhook {
    pub(super) async fn ask(&self, question: &Question) -> Result<Verdict, Trouble> {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        let answer = self.fetch.post_json(&self.endpoint, &headers, &described(question)).await;
        verdict(&answer.map_err(unanswered)?, self.is_unchecked)
    }
}

/// The request as the webhook gets it.
fn described(question: &Question) -> Value {
    let headers: Map<String, Value> =
        question.joined_lossily().into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect();
    let extensions: Map<String, Value> =
        question.extensions.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut object = json!({
        "method": question.method,
        "path": question.path,
        "host": question.host,
        "headers": headers,
        "client_ip": question.client.map(|client| client.to_string()),
        "principal": question.principal,
        "context_extensions": extensions,
        "api_key": question.credential.as_ref().map(Secret::expose),
    });
    if let Some(body) = &question.body {
        match std::str::from_utf8(body) {
            Ok(text) => object["body"] = Value::from(text),
            Err(_) => object["body_base64"] = Value::from(STANDARD.encode(body)),
        }
    }
    object
}

/// Why there is nothing to read. A page to log in at, or a flood, is an answer that clients can bring about.
fn unanswered(error: FetchError) -> Trouble {
    match error {
        FetchError::Redirected(_) | FetchError::TooLarge => Trouble::Unusable(error.to_string()),
        FetchError::Timeout(_) | FetchError::Unreachable | FetchError::Broken | FetchError::Unwritable => {
            Trouble::Failed(error.to_string())
        }
    }
}

fn verdict(answer: &Response, is_unchecked: bool) -> Result<Verdict, Trouble> {
    let unusable = |why: &str| Trouble::Unusable(why.to_owned());
    let is_large = answer.body.len() > MAX_ANSWER;
    match answer.status {
        // It did not get the request in time, or has trouble of its own.
        status @ (408 | 500..) => return Err(Trouble::Failed(format!("it answers with HTTP {status}"))),
        _ if is_large => return Err(unusable(&format!("it is larger than {MAX_ANSWER} bytes"))),
        200 => {}
        status @ (401 | 403) => return Ok(refused(status, &answer.body)),
        status => return Err(Trouble::Declined(format!("HTTP {status}"))),
    }
    let object = match serde_json::from_slice::<String>(&answer.body) {
        // A text alone is the key that the credential stands for.
        Ok(key) => Map::from_iter([("api_key".to_owned(), Value::String(key))]),
        Err(_) => read_object(&answer.body).map_err(|error| unusable(&error.to_string()))?,
    };
    Answer { object, source: Source::Answer, headers: Vec::new() }.judged(is_unchecked)
}

fn refused(status: u16, body: &[u8]) -> Verdict {
    Verdict::Refused(Refusal::new(status, &message(body)).into())
}

/// What a refusal says: the message of a JSON object, or the text itself.
pub(super) fn message(body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => fields::message(&object).to_owned(),
        _ => String::from_utf8_lossy(body).into_owned(),
    }
}
