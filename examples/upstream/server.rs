//! The server: takes a request, writes it down, answers as the path and the steering headers say. Used by the example
//! `upstream` and, in process, by the tests.

mod answers;
mod encode;
mod record;
mod steering;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use answers::Asked;
use record::Records;
pub use record::{Received, Recorder};
use steering::Steering;

/// Largest request body that is read.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// A bound, not yet serving upstream.
pub struct Upstream {
    listener: TcpListener,
    records: Arc<Records>,
}

#[allow(dead_code, reason = "the example and the tests each use a part")]
impl Upstream {
    /// Binds the address; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Upstream { listener: TcpListener::bind(address).await?, records: Arc::default() })
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What reached it, for the process that runs it.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.records.clone())
    }

    /// Serves until the process or the runtime ends.
    pub async fn serve(self) -> io::Result<()> {
        let router = Router::new()
            .route("/_upstream/requests", get(tell).delete(forget))
            .route("/_upstream/release/{name}", post(release))
            .fallback(answer)
            .with_state(self.records);
        axum::serve(self.listener, router).await
    }
}

async fn tell(State(records): State<Arc<Records>>) -> impl IntoResponse {
    axum::Json(records.as_json())
}

async fn forget(State(records): State<Arc<Records>>) -> StatusCode {
    records.clear();
    StatusCode::NO_CONTENT
}

async fn release(
    State(records): State<Arc<Records>>,
    axum::extract::Path(name): axum::extract::Path<String>,
) -> StatusCode {
    records.gates().open(&name);
    StatusCode::NO_CONTENT
}

async fn answer(State(records): State<Arc<Records>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let steering = match Steering::read(&head.headers) {
        Ok(steering) => steering,
        Err(problem) => return (StatusCode::BAD_REQUEST, problem).into_response(),
    };
    let path = head.uri.path().to_owned();
    records.add(Received::new(&head, &body));
    let _running = records.begin();
    if let Some(gate) = &steering.hold {
        records.gates().wait(gate).await;
    }
    if !steering.delay.is_zero() {
        tokio::time::sleep(steering.delay).await;
    }
    if let Some(status) = steering.status {
        return failure(status);
    }
    let asked = Asked::read(&path, head.uri.query().unwrap_or_default(), &body, &steering);
    if head.method == Method::GET && path.ends_with("/models") {
        return json_answer(&steering, &answers::models());
    }
    if let Some(chunks) = streams::of(&asked) {
        return stream_answer(&steering, asked.stream_type(), chunks);
    }
    match answers::of(&asked) {
        Some(answers::Answer::Json(value)) => json_answer(&steering, &value),
        Some(answers::Answer::Bytes(kind, bytes)) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], bytes).into_response()
        }
        None => (StatusCode::NOT_FOUND, axum::Json(json!({"error": {"message": "no such path", "type": "not_found"}})))
            .into_response(),
    }
}

fn failure(status: StatusCode) -> Response {
    let body = json!({"error": {"message": "as asked by x-upstream-status", "type": "upstream_error"}});
    (status, [("x-ratelimit-limit-requests", "7"), ("retry-after", "3")], axum::Json(body)).into_response()
}

fn json_answer(steering: &Steering, value: &Value) -> Response {
    let mut response = Response::new(Body::empty());
    let mut bytes = value.to_string().into_bytes();
    if let Some(encoding) = steering.encoding {
        bytes = encode::whole(encoding, &bytes);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-request-id", HeaderValue::from_static("upstream-1"));
    // A provider's own rate-limit headers, which Tollward's must replace.
    headers.insert("x-ratelimit-limit-requests", HeaderValue::from_static("7"));
    *response.body_mut() = Body::from(bytes);
    response
}

/// Sends the chunks one by one, each after its delay. `x-upstream-abort-after: N` cuts the connection after N of them.
fn stream_answer(steering: &Steering, kind: &'static str, chunks: Vec<Bytes>) -> Response {
    let delay = steering.chunk_delay;
    let abort_after = steering.abort_after;
    let encoder = steering.encoding.map(encode::Encoder::new);
    let encoding = steering.encoding;
    let state = (chunks.into_iter().enumerate(), encoder);
    let body = stream::unfold(state, move |(mut chunks, mut encoder)| async move {
        let Some((index, chunk)) = chunks.next() else {
            let tail = encoder.take().map(encode::Encoder::finish).filter(|tail| !tail.is_empty())?;
            return Some((Ok(Bytes::from(tail)), (chunks, None)));
        };
        // Lets what was sent so far leave before the next chunk is made, as a model does.
        tokio::task::yield_now().await;
        if abort_after.is_some_and(|after| index >= after) {
            return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), (chunks, encoder)));
        }
        if index > 0 && !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let bytes = match &mut encoder {
            Some(encoder) => Bytes::from(encoder.push(&chunk)),
            None => chunk,
        };
        Some((Ok::<_, io::Error>(bytes), (chunks, encoder)))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Some(encoding) = encoding {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    }
    response
}
