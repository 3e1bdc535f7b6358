//! Answers: JSON, and errors in OpenAI's shape.

use std::any::Any;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::{Value, json};

use crate::domain::{Denial, ErrorType};
use crate::manage::ManageError;

/// Seconds after which a caller may try again when the trouble is ours.
const RETRY_AFTER_TROUBLE: u64 = 1;

/// What a handler answers.
pub(super) type Answer = Result<Json, Failure>;

/// A document. Never cached: rows hold spend, and some answers a secret.
pub(super) struct Json(pub Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        respond(StatusCode::OK, self.0.to_string())
    }
}

/// A refused request.
pub(super) enum Failure {
    Manage(ManageError),
    Denied(Box<Denial>),
}

impl From<ManageError> for Failure {
    fn from(error: ManageError) -> Self {
        Failure::Manage(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Failure::Manage(error) => {
                let mut response = respond(status(error.status), error.body().to_string());
                if error.is_infrastructure() {
                    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_TROUBLE));
                }
                response
            }
            Failure::Denied(denial) => denied(&denial),
        }
    }
}

/// What the gate refused, with the headers it asks for.
fn denied(denial: &Denial) -> Response {
    let mut response = respond(status(denial.status), denial.body());
    let headers = response.headers_mut();
    for (name, value) in &denial.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_ref()), HeaderValue::try_from(value.as_str())) {
            headers.append(name, value);
        }
    }
    if let Some(wait) = denial.retry_after {
        // Rounded up: a client that waits this long is let in.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(retry) = denial.should_retry {
        headers.insert("x-should-retry", HeaderValue::from_static(if retry { "true" } else { "false" }));
    }
    if denial.status == 401 && !headers.contains_key(WWW_AUTHENTICATE) {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn respond(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(super) fn error(status: StatusCode, kind: ErrorType, message: &str) -> Response {
    let body = json!({"error": {
        "message": message,
        "type": kind.as_str(),
        "param": null,
        "code": status.as_str(),
    }});
    respond(status, body.to_string())
}

pub(super) async fn unknown_route(method: Method, uri: Uri) -> Response {
    let message = format!("{method} {} is not a route of this API; GET /routes lists them", uri.path());
    error(StatusCode::NOT_FOUND, ErrorType::NotFound, &message)
}

pub(super) async fn wrong_method(method: Method, uri: Uri) -> Response {
    let message = format!("{} does not answer {method}; GET /routes lists what does", uri.path());
    error(StatusCode::METHOD_NOT_ALLOWED, ErrorType::BadRequest, &message)
}

pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    error(StatusCode::INTERNAL_SERVER_ERROR, ErrorType::Internal, "an internal error; the log says more")
}
