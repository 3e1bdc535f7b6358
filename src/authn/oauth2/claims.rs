//! An answer about a token: one JSON object of bounded size, in which the token itself does not stand.

use serde_json::{Map, Value};

use super::super::claims::read_object;
use super::super::fetch::Answer;
use super::failure::Failure;
use crate::domain::Secret;

/// The largest answer about one token, in bytes: it is kept for as long as the token is used.
pub(super) const MAX_CLAIMS: usize = 64 * 1024;

/// Members that hold tokens (RFC 6749, section 5.1; OpenID Connect Core 1.0, section 3.1.3.3).
const TOKENS: [&str; 4] = ["token", "access_token", "refresh_token", "id_token"];

#[derive(Debug)]
pub(super) struct Claims {
    pub members: Map<String, Value>,
    /// What the answer was long.
    pub bytes: usize,
}

impl Claims {
    /// Reads an answer about this token.
    pub fn read(answer: &Answer, token: &Secret) -> Result<Claims, Failure> {
        if answer.body.len() > MAX_CLAIMS {
            return Err(Failure::TooMuch);
        }
        let mut members = read_object(&answer.body).map_err(|_| Failure::NotJson)?;
        members.retain(|name, value| !TOKENS.contains(&name.as_str()) && without(value, token));
        Ok(Claims { members, bytes: answer.body.len() })
    }
}

/// Removes the token wherever it stands in the value; whether the value itself may stay.
fn without(value: &mut Value, token: &Secret) -> bool {
    match value {
        Value::String(text) => !text.contains(token.expose()),
        Value::Array(list) => {
            list.retain_mut(|item| without(item, token));
            true
        }
        Value::Object(object) => {
            object.retain(|name, value| !name.contains(token.expose()) && without(value, token));
            true
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &str) -> Result<Map<String, Value>, Failure> {
        let answer = Answer { status: 200, body: body.to_owned().into() };
        Claims::read(&answer, &Secret::new("the-token-itself")).map(|claims| claims.members)
    }

    #[test]
    fn the_token_stands_nowhere_in_what_is_kept() {
        let said = json!({
            "sub": "ada", "token": "x", "access_token": "y", "id_token": "z", "refresh_token": "r",
            "a": {"b": ["the-token-itself", "c", {"d": "Bearer the-token-itself", "the-token-itself": 1}], "n": null},
            "other": "the-token-itself",
        });
        let kept = Value::Object(read(&said.to_string()).unwrap());
        assert_eq!(kept, json!({"sub": "ada", "a": {"b": ["c", {}], "n": null}}));
    }

    #[test]
    fn what_is_no_object_or_too_large_or_says_a_thing_twice_is_no_answer() {
        for body in ["", "[]", "true", "{\"active\":false,\"active\":true}", "<html>"] {
            assert_eq!(read(body), Err(Failure::NotJson), "{body}");
        }
        let object = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
        assert_eq!(read(&object(MAX_CLAIMS + 1)), Err(Failure::TooMuch));
        assert!(read(&object(MAX_CLAIMS)).is_ok());
    }
}
