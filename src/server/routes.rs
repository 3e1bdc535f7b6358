//! The methods of the gRPC port: Check on its own short way, everything else through tonic.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;
use tower::Service;

use crate::grpc::check::{self, Check, CheckBody};
use crate::grpc::process::{Processor, Streams};
use crate::grpc::{Decide, Gateway};
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessorServer;
use crate::telemetry::Metrics;

/// Full names of the services, as health knows them.
pub const SERVICES: [&str; 3] =
    ["", "envoy.service.auth.v3.Authorization", "envoy.service.ext_proc.v3.ExternalProcessor"];

/// The gRPC port's methods. Cheap to clone.
#[derive(Debug)]
pub struct Methods<D> {
    check: Check<D>,
    others: Routes,
}

impl<D> Clone for Methods<D> {
    fn clone(&self) -> Self {
        Methods { check: self.check.clone(), others: self.others.clone() }
    }
}

impl<D: Decide> Methods<D> {
    /// Every method; the reporter turns health to `NOT_SERVING` when the end begins.
    pub fn new(
        gate: &Arc<D>,
        metrics: &Arc<Metrics>,
        streams: Streams,
        max_message_size: usize,
    ) -> Result<(Self, HealthReporter), tonic_reflection::server::Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let processor = ExternalProcessorServer::new(Processor::new(gate.clone(), metrics.clone(), streams))
            .max_decoding_message_size(max_message_size);
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let others = Routes::new(processor)
            .add_service(health)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        let check = Check::new(gate.clone(), metrics.clone(), max_message_size);
        Ok((Methods { check, others }, reporter))
    }

    /// Answers one call of the Envoy at `gateway`.
    pub async fn call(mut self, mut request: Request<Incoming>, gateway: IpAddr) -> Response<EdgeBody<D>> {
        if request.uri().path() == check::PATH {
            return self.check.call(request, gateway).await.map(EdgeBody::Check);
        }
        request.extensions_mut().insert(Gateway(gateway));
        match self.others.call(request.map(tonic::body::Body::new)).await {
            Ok(response) => response.map(EdgeBody::Other),
        }
    }
}

/// The body of a response.
pub enum EdgeBody<D: Decide> {
    Check(CheckBody<D>),
    Other(tonic::body::Body),
}

impl<D: Decide> Body for EdgeBody<D> {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            EdgeBody::Check(body) => Pin::new(body).poll_frame(context),
            EdgeBody::Other(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            EdgeBody::Check(body) => body.is_end_stream(),
            EdgeBody::Other(body) => body.is_end_stream(),
        }
    }
}
