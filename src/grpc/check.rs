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
use super::framing::{self, Delivery, PREFIX, UnaryBody};
use crate::domain::{Decision, HoldId};
use crate::request::HttpRequest;
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
        let message = framing::read_message(body, self.max_message_size).await?;
        let subject = reader::read(&message, gateway)
            .map_err(|problem| Status::invalid_argument(format!("not a CheckRequest: {problem}")))?;
        let mut out = BytesMut::with_capacity(3072);
        out.put_bytes(0, PREFIX);
        let reader::Subject::Http(request) = subject else {
            writer::write_connection_refused(&mut out);
            self.metrics.check.refused_connections.inc();
            return Ok(UnaryBody::response(frame(out)?, None));
        };
        let decision = self.gate.decide(&request).await;
        let guard = match &decision {
            Decision::Allow(allow) => allow.hold.map(|hold| HoldGuard { gate: self.gate.clone(), hold: Some(hold) }),
            Decision::Deny(_) => None,
        };
        let settings = self.gate.settings();
        self.metrics.check.decided(&decision);
        log(&decision, &request, &settings);
        match writer::write(&decision, settings.on_error, &mut out) {
            writer::Answer::Message => Ok(UnaryBody::response(frame(out)?, guard)),
            writer::Answer::Unavailable(message) => Err(Status::unavailable(message)),
        }
    }
}

/// Writes the prefix into the room left for it.
fn frame(mut message: BytesMut) -> Result<bytes::Bytes, Status> {
    let length = u32::try_from(message.len().saturating_sub(PREFIX))
        .map_err(|_| Status::internal("the answer is larger than a gRPC message can be"))?;
    message[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(message.freeze())
}

fn log(decision: &Decision, request: &HttpRequest<'_>, settings: &super::EdgeSettings) {
    if let Decision::Allow(allow) = decision
        && let Some(denial) = &allow.shadow
    {
        return shadow::log(denial, request.path);
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
