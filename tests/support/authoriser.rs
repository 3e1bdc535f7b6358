//! An authoriser of the operator's own, in both protocols: it knows callers by their credentials, and answers as its
//! table says.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// How Tollward asks it.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    Grpc,
    Webhook,
}

/// What it says of the bearers of credentials; it refuses those it does not know with 401.
#[derive(Clone)]
pub struct Authoriser {
    callers: Arc<Mutex<HashMap<String, Value>>>,
    /// The credentials it was asked about, in order.
    asked: Arc<Mutex<Vec<String>>>,
    pub endpoint: String,
}

impl Authoriser {
    /// On a runtime and a thread of its own, for the rest of the process: tests may block theirs.
    pub fn start(protocol: Protocol) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("it does not block");
        let port = listener.local_addr().expect("its address").port();
        let endpoint = match protocol {
            Protocol::Grpc => format!("grpc://127.0.0.1:{port}"),
            Protocol::Webhook => format!("http://127.0.0.1:{port}/check"),
        };
        let authoriser = Authoriser { callers: Arc::default(), asked: Arc::default(), endpoint };
        let served = authoriser.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                match protocol {
                    Protocol::Grpc => {
                        let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(served));
                        server.serve_with_incoming(TcpListenerStream::new(listener)).await.expect("it serves");
                    }
                    Protocol::Webhook => {
                        let answer = move |body: String| async move { served.answer_json(&body) };
                        let routes = axum::Router::new().route("/check", axum::routing::post(answer));
                        axum::serve(listener, routes).await.expect("it serves");
                    }
                }
            });
        });
        authoriser
    }

    /// From now on the bearer of this credential is that one.
    pub fn knows(&self, credential: &str, caller: Value) {
        self.callers.lock().expect("a lock").insert(credential.to_owned(), caller);
    }

    /// How often it was asked about a credential.
    pub fn asked_about(&self, credential: &str) -> usize {
        self.asked.lock().expect("a lock").iter().filter(|asked| *asked == credential).count()
    }

    fn look_up(&self, credential: &str) -> Option<Value> {
        self.asked.lock().expect("a lock").push(credential.to_owned());
        self.callers.lock().expect("a lock").get(credential).cloned()
    }

    fn answer_json(&self, body: &str) -> (axum::http::StatusCode, String) {
        let asked: Value = serde_json::from_str(body).expect("JSON");
        match self.look_up(asked["api_key"].as_str().unwrap_or_default()) {
            Some(caller) => (axum::http::StatusCode::OK, caller.to_string()),
            None => (axum::http::StatusCode::UNAUTHORIZED, json!({"message": "never heard of you"}).to_string()),
        }
    }
}

#[tonic::async_trait]
impl Authorization for Authoriser {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let attributes = request.into_inner().attributes.expect("attributes");
        let http = attributes.request.and_then(|request| request.http).expect("an HTTP request");
        let shown = http.headers.get("authorization").map(String::as_str).unwrap_or_default();
        let answer = match self.look_up(shown.strip_prefix("Bearer ").unwrap_or_default()) {
            Some(Value::Object(caller)) => CheckResponse {
                http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
                dynamic_metadata: Some(Struct {
                    fields: caller.into_iter().map(|(name, value)| (name, proto(value))).collect(),
                }),
                ..CheckResponse::default()
            },
            _ => CheckResponse {
                status: Some(RpcStatus { code: 16, ..RpcStatus::default() }),
                http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
                    status: Some(HttpStatus { code: 401 }),
                    body: "never heard of you".to_owned(),
                    ..DeniedHttpResponse::default()
                })),
                ..CheckResponse::default()
            },
        };
        Ok(Response::new(answer))
    }
}

fn proto(value: Value) -> ProtoValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(value),
        Value::Number(number) => Kind::NumberValue(number.as_f64().expect("a number")),
        Value::String(text) => Kind::StringValue(text),
        Value::Array(list) => Kind::ListValue(ListValue { values: list.into_iter().map(proto).collect() }),
        Value::Object(object) => {
            Kind::StructValue(Struct { fields: object.into_iter().map(|(name, value)| (name, proto(value))).collect() })
        }
    };
    ProtoValue { kind: Some(kind) }
}
