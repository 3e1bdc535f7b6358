//! `ExternalProcessor/Process`: shows an exchange to the meter as it passes, one stream for each request and filter.
//!
//! A filter can be set up in three ways, and each is told from what Envoy sends:
//! * **Observing** (`observability_mode`): nobody waits for answers, so none is sent. It meters.
//! * **Answering, responses included** (`protocol_config.response_body_mode` is not `NONE`): every part is answered once;
//!   the body of the request may be rewritten. It meters.
//! * **Answering, requests only** (response parts skipped): rewrites bodies. It never starts, settles or ends a hold: that
//!   belongs to the filter that sees the response, which may end long after this one.
//!
//! Releases that do not send `protocol_config` leave open which of the last two it is; such a stream meters from the first
//! part of a response it sees. The exchange is settled when the response ends, not when Envoy closes the stream (5 s later
//! in observability mode), and also when the stream breaks off: the task that reads it outlives both directions.

mod answer;
mod exchange;

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::{Decide, Gateway};
use crate::proto::envoy::service::ext_proc::v3 as pb;
use crate::proto::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use crate::telemetry::Metrics;
use exchange::Exchange;

/// Where Check's answer stands in Envoy's dynamic metadata, and the field of it that holds the signed token.
pub const NAMESPACE: &str = "envoy.filters.http.ext_authz";
pub const TOKEN: &str = "tollward_hold";

/// The service.
#[derive(Debug)]
pub struct Processor<D> {
    gate: Arc<D>,
    metrics: Arc<Metrics>,
    streams: Streams,
}

/// The streams that are open: what shutdown ends and waits for.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Streams {
    /// Settles what is open as broken off, and waits until all is settled.
    pub async fn finish(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl<D: Decide> Processor<D> {
    pub fn new(gate: Arc<D>, metrics: Arc<Metrics>, streams: Streams) -> Self {
        Processor { gate, metrics, streams }
    }
}

#[async_trait::async_trait]
impl<D: Decide> ExternalProcessor for Processor<D> {
    type ProcessStream = ReceiverStream<Result<pb::ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: Request<Streaming<pb::ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let gateway = *request
            .extensions()
            .get::<Gateway>()
            .ok_or_else(|| Status::internal("the peer's address is not known"))?;
        // One answer at a time: Envoy sends the next part after it.
        let (answers, receiver) = mpsc::channel(1);
        let stream = Stream {
            parts: request.into_inner(),
            answers,
            gate: self.gate.clone(),
            metrics: self.metrics.clone(),
            gateway,
        };
        self.streams.tasks.spawn(stream.run(self.streams.stop.clone()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// One stream, and all it needs to be read to its end.
struct Stream<D> {
    parts: Streaming<pb::ProcessingRequest>,
    answers: mpsc::Sender<Result<pb::ProcessingResponse, Status>>,
    gate: Arc<D>,
    metrics: Arc<Metrics>,
    gateway: Gateway,
}

impl<D: Decide> Stream<D> {
    async fn run(mut self, stop: CancellationToken) {
        self.metrics.meter.open.inc();
        let mut exchange: Option<Exchange> = None;
        loop {
            let part = tokio::select! {
                part = self.parts.next() => part,
                () = stop.cancelled() => None,
            };
            // A reset or an unreadable message ends the exchange as much as an orderly end does.
            let Some(Ok(part)) = part else { break };
            let exchange = match &mut exchange {
                Some(exchange) => exchange,
                none => none.insert(self.open(&part)),
            };
            let Some(answer) = exchange.part(part).await else { continue };
            let sent = tokio::select! {
                sent = self.answers.send(Ok(answer)) => sent.is_ok(),
                () = stop.cancelled() => false,
            };
            if !sent {
                break;
            }
        }
        if let Some(exchange) = exchange {
            exchange.broke_off().await;
        }
        self.metrics.meter.open.dec();
    }

    fn open(&self, first: &pb::ProcessingRequest) -> Exchange {
        let session = token(first).and_then(|token| self.gate.meter(token, self.gateway.0));
        if session.is_none() {
            self.metrics.meter.unsigned.inc();
        }
        Exchange::new(first, session, self.metrics.clone())
    }
}

/// The signed hold token that Check put into the dynamic metadata.
fn token(part: &pb::ProcessingRequest) -> Option<&str> {
    let fields = &part.metadata_context.as_ref()?.filter_metadata.get(NAMESPACE)?.fields;
    match fields.get(TOKEN)?.kind.as_ref()? {
        prost_types::value::Kind::StringValue(token) => Some(token),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
