//! `Authorization/Check`: reads the request in place, asks the gate, writes the answer. A hold whose answer never reached
//! Envoy is given back; trouble of our own is never told as a refusal of the caller unless configuration says so.

mod reader;
mod shadow;
mod wire;
mod writer;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use tonic::Status;

use super::Decide;
use super::framing::{self, Delivery, PREFIX, UnaryBody, Unread};
use crate::domain::{Decision, Denial, ErrorType, HoldId};
use crate::telemetry::Metrics;

/// `:path` of the method.
pub const PATH: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The method and what it needs. Cheap to clone.
#[derive(Debug)]
pub struct Check<D> {
    gate: Arc<D>,
    metrics: Arc<Metrics>,
    max_message_size: usize,
}

impl<D> Clone for Check<D> {
    fn clone(&self) -> Self {
        Check { gate: self.gate.clone(), metrics: self.metrics.clone(), max_message_size: self.max_message_size }
    }
}

/// The response's body.
pub type CheckBody<D> = UnaryBody<HoldGuard<D>>;

impl<D: Decide> Check<D> {
    /// `max_message_size` is in bytes.
    pub fn new(gate: Arc<D>, metrics: Arc<Metrics>, max_message_size: usize) -> Self {
        Check { gate, metrics, max_message_size }
    }

    /// Answers one call of the Envoy at `gateway`.
    pub async fn call(self, request: Request<Incoming>, gateway: IpAddr) -> Response<CheckBody<D>> {
        if let Some(status) = framing::refusal(&request) {
            return UnaryBody::plain(status);
        }
        let began = Instant::now();
        let deadline = framing::timeout(request.headers());
        let answer = self.answer(request.into_body(), gateway);
        let answer = match deadline {
            None => answer.await,
            Some(deadline) => tokio::time::timeout(deadline, answer)
                .await
                .unwrap_or_else(|_| Err(Status::deadline_exceeded("the deadline of the check has passed"))),
        };
        self.metrics.check.seconds.observe(began.elapsed());
        answer.unwrap_or_else(|status| {
            self.metrics.check.failed(status.code());
            UnaryBody::error(status)
        })
    }

    async fn answer(&self, body: Incoming, gateway: IpAddr) -> Result<Response<CheckBody<D>>, Status> {
        let message = match framing::read_message(body, self.max_message_size).await {
            Ok(message) => message,
            Err(Unread::Broken(status)) => return Err(status),
            Err(Unread::TooLong(length)) => return self.refuse(too_long(), || too_long_status(length)),
        };
        let request = match reader::read(&message, gateway) {
            Ok(reader::Subject::Http(request)) => request,
            Ok(reader::Subject::Connection) => {
                let mut out = message_buffer();
                writer::write_connection_refused(&mut out);
                self.metrics.check.refused_connections.inc();
                return Ok(UnaryBody::response(frame(out)?, None));
            }
            Err(problem) => {
                let status = || Status::invalid_argument(format!("not a CheckRequest: {problem}"));
                if problem.is_of_the_request() {
                    return self.refuse(unreadable(problem), status);
                }
                return Err(status());
            }
        };
        let decision = self.gate.decide(&request).await;
        self.write(&decision, request.path)
    }

    /// Refuses in writing what cannot be shown to the gate, where the client chose to make it so: Envoy would let it in on
    /// an error where `failure_mode_allow` is on. In shadow mode nothing is refused, and Envoy gets the error.
    fn refuse(&self, denial: Denial, error: impl FnOnce() -> Status) -> Result<Response<CheckBody<D>>, Status> {
        if self.gate.settings().shadow { Err(error()) } else { self.write(&Decision::Deny(Box::new(denial)), "") }
    }

    fn write(&self, decision: &Decision, path: &str) -> Result<Response<CheckBody<D>>, Status> {
        let guard = match decision {
            Decision::Allow(allow) => allow.hold.map(|hold| HoldGuard { gate: self.gate.clone(), hold: Some(hold) }),
            Decision::Deny(_) => None,
        };
        let settings = self.gate.settings();
        self.metrics.check.decided(decision);
        log(decision, path, &settings);
        let mut out = message_buffer();
        match writer::write(decision, settings.on_error, &mut out) {
            writer::Answer::Message => Ok(UnaryBody::response(frame(out)?, guard)),
            writer::Answer::Unavailable(message) => Err(Status::unavailable(message)),
        }
    }
}

fn too_long() -> Denial {
    let message = "The request is larger than the gate is shown.";
    Denial::new(ErrorType::RequestTooLarge, "check.too_large", message)
}

fn too_long_status(length: usize) -> Status {
    Status::resource_exhausted(format!("a message of {length} bytes is longer than listen.max_message_size"))
}

fn unreadable(problem: reader::Malformed) -> Denial {
    Denial::new(ErrorType::BadRequest, "check.unreadable", format!("The request cannot be read: {problem}."))
}

/// Where a message is written, with room for its prefix.
fn message_buffer() -> BytesMut {
    let mut out = BytesMut::with_capacity(3072);
    out.put_bytes(0, PREFIX);
    out
}

/// Writes the prefix into the room left for it.
fn frame(mut message: BytesMut) -> Result<bytes::Bytes, Status> {
    let length = u32::try_from(message.len().saturating_sub(PREFIX))
        .map_err(|_| Status::internal("the answer is larger than a gRPC message can be"))?;
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(message.freeze())
}

fn log(decision: &Decision, path: &str, settings: &super::EdgeSettings) {
    if let Decision::Allow(allow) = decision
        && let Some(denial) = &allow.shadow
    {
        return shadow::log(denial, path);
    }
    match decision {
        Decision::Deny(denial) if settings.log_denials => tracing::info!(
            decision = "deny",
            reason = %denial.reason,
            status = denial.status,
            key = denial.caller.as_ref().and_then(|caller| caller.identity.key.as_ref()).map(|key| tracing::field::display(key.token)),
            "{}", denial.message
        ),
        Decision::Allow(allow) if settings.log_allows => tracing::info!(
            decision = "allow",
            method = allow.caller.method.as_str(),
            key = allow.caller.identity.key.as_ref().map(|key| tracing::field::display(key.token)),
            hold = allow.hold.map(tracing::field::display),
            "allowed"
        ),
        _ => {}
    }
}

/// Gives a hold back unless its answer was delivered: a stream that was reset, a connection that broke, a write that
/// failed.
pub struct HoldGuard<D: Decide> {
    gate: Arc<D>,
    hold: Option<HoldId>,
}

impl<D: Decide> Delivery for HoldGuard<D> {
    fn delivered(&mut self) {
        self.hold = None;
    }
}

impl<D: Decide> Drop for HoldGuard<D> {
    fn drop(&mut self) {
        if let Some(hold) = self.hold {
            self.gate.release(hold);
        }
    }
}
