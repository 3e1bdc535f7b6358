//! The servers that Tollward is measured against. All answer every Check with OK and three headers; `naive` and `tuned`
//! look at the credential and the path first, as any gate must.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use http::{HeaderMap, HeaderValue as HttpValue, Response};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::{Request, Status};

use super::request::framed;

pub fn serve(name: &str, port: u16) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match name {
        // What `#[tokio::main]` makes.
        "naive" => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(tonic(address)),
        "tuned" => current_thread().block_on(tonic(address)),
        "limit" => current_thread().block_on(bare(address)),
        other => panic!("no reference server {other}"),
    }
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// tonic with Envoy's full types.
async fn tonic(address: SocketAddr) {
    let service = AuthorizationServer::new(Gate);
    Server::builder().add_service(service).serve(address).await.expect("it serves");
}

struct Gate;

#[tonic::async_trait]
impl Authorization for Gate {
    async fn check(&self, request: Request<CheckRequest>) -> Result<tonic::Response<CheckResponse>, Status> {
        let http =
            request.into_inner().attributes.and_then(|attributes| attributes.request).and_then(|request| request.http);
        let http = http.ok_or_else(|| Status::invalid_argument("no HTTP request"))?;
        let known = http.headers.get("authorization").is_some_and(|value| value.starts_with("Bearer "));
        if !known || !http.path.starts_with("/v1/") {
            return Err(Status::permission_denied("no"));
        }
        Ok(tonic::Response::new(answer()))
    }
}

fn answer() -> CheckResponse {
    let header = |name: &str, value: &str| HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..HeaderValue::default() }),
        ..HeaderValueOption::default()
    };
    let ok = OkHttpResponse {
        headers: vec![
            header("x-tollward-user-id", "user-1"),
            header("x-tollward-team-id", "team-1"),
            header("x-tollward-key-alias", "benchmark"),
        ],
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(RpcStatus::default()),
        http_response: Some(HttpResponse::OkResponse(ok)),
        ..CheckResponse::default()
    }
}

/// HTTP/2 and nothing else: the floor of any server on this library.
async fn bare(address: SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("a free port");
    let data = framed(&answer());
    loop {
        let (socket, _) = listener.accept().await.expect("a connection");
        socket.set_nodelay(true).expect("a TCP socket");
        let data = data.clone();
        tokio::spawn(async move {
            // A probe of the port closes without a word.
            let Ok(mut connection) = h2::server::handshake(socket).await else { return };
            while let Some(Ok((request, respond))) = connection.accept().await {
                tokio::spawn(constant(request.into_body(), respond, data.clone()));
            }
        });
    }
}

/// Reads the request to its end and answers; a connection that closes meanwhile is nobody's trouble.
async fn constant(mut body: h2::RecvStream, mut respond: h2::server::SendResponse<Bytes>, data: Bytes) {
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HttpValue::from_static("application/grpc"));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HttpValue::from_static("0"));
    if let Ok(mut stream) = respond.send_response(head, false) {
        let _ = stream.send_data(data, false);
        let _ = stream.send_trailers(trailers);
    }
}
