//! Parameters of a request: the JSON object of its body, or its query where there is no body.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;

use super::answer;
use crate::domain::ErrorType;
use crate::manage;

/// A request's parameters by name. What the body says goes before the query.
pub(super) struct Params(pub manage::Params);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let mut params = manage::Params::new();
        let query = request.uri().query().unwrap_or_default().to_owned();
        for (name, value) in form_pairs(&query) {
            // A repeated name is a list.
            match params.get_mut(&name) {
                None => drop(params.insert(name, value)),
                Some(Value::Array(values)) => values.push(value),
                Some(first) => *first = Value::Array(vec![first.take(), value]),
            }
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            let status = rejection.status();
            let kind = if status == StatusCode::PAYLOAD_TOO_LARGE {
                ErrorType::RequestTooLarge
            } else {
                ErrorType::BadRequest
            };
            answer::error(status, kind, "the body cannot be read, or is larger than 1 MiB")
        })?;
        if !body.iter().all(u8::is_ascii_whitespace) {
            match serde_json::from_slice(&body) {
                Ok(Value::Object(fields)) => params.extend(fields),
                Ok(_) => return Err(bad("the body must be a JSON object")),
                Err(error) => return Err(bad(&format!("the body is not JSON: {error}"))),
            }
        }
        Ok(Params(params))
    }
}

fn bad(message: &str) -> Response {
    answer::error(StatusCode::BAD_REQUEST, ErrorType::BadRequest, message)
}

/// The pairs of a query. Whole numbers and booleans are read as such where a parameter is one of either; all else is
/// text.
fn form_pairs(query: &str) -> impl Iterator<Item = (String, Value)> + '_ {
    const TYPED: [&str; 4] = ["page", "size", "page_size", "return_full_object"];
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        let typed = TYPED.contains(&name.as_str()).then(|| serde_json::from_str(&value.to_lowercase()).ok()).flatten();
        (name, typed.unwrap_or(Value::String(value)))
    })
}

/// Percent-decoding of `application/x-www-form-urlencoded` (WHATWG URL, 5.1); what is no escape stays as it is.
fn decode(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match (byte, digit(bytes.get(at)), digit(bytes.get(at + 1))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', ..) => decoded.push(b' '),
            _ => decoded.push(*byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_known_numbers_and_booleans_typed() {
        let pairs: Vec<_> = form_pairs("page=2&return_full_object=True&key=sk-1%2B2+3&user_id=7&bad=%zz&x").collect();
        let text = |text: &str| Value::String(text.into());
        assert_eq!(
            pairs,
            [
                ("page".into(), Value::from(2)),
                ("return_full_object".into(), Value::Bool(true)),
                ("key".into(), text("sk-1+2 3")),
                ("user_id".into(), text("7")),
                ("bad".into(), text("%zz")),
                ("x".into(), text("")),
            ]
        );
    }
}
