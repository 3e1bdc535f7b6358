//! A call to the model through Envoy, and what came of it.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::manage::Key;
use super::stack::Stack;
use super::unique;
use super::upstream::Received;

/// The header that marks a call, so that the upstream's records tell which ones are its.
const CASE: &str = "x-case";

/// A request, made step by step.
#[derive(Clone)]
pub struct Call {
    /// One of its own where it is not given.
    http: Option<reqwest::Client>,
    base: String,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Vec<u8>,
    upstream: super::upstream::Recorder,
}

impl Call {
    pub fn new(stack: &Stack, method: &str, path: &str) -> Self {
        Call {
            http: None,
            base: format!("http://127.0.0.1:{}", stack.ports.gate),
            method: method.parse().expect("a method"),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            upstream: stack.upstream.clone(),
        }
    }

    /// Sends through this client: its connections are used again.
    pub fn through(mut self, http: &reqwest::Client) -> Self {
        self.http = Some(http.clone());
        self
    }

    /// Adds a header; several of one name are all sent.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let mut call = self;
        let value = HeaderValue::from_bytes(value.as_ref()).expect("a header value");
        call.headers.append(HeaderName::from_bytes(name.as_bytes()).expect("a header name"), value);
        call
    }

    pub fn bearer(self, secret: &str) -> Self {
        self.header("authorization", format!("Bearer {secret}"))
    }

    pub fn key(self, key: &Key) -> Self {
        self.bearer(&key.secret)
    }

    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self.headers.insert("content-type", HeaderValue::from_static("application/json"));
        self
    }

    /// A body as it is; its `content-type` must be given.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Bytes of the body.
    pub fn body_length(&self) -> u64 {
        self.body.len() as u64
    }

    /// What the upstream is to report.
    pub fn usage(self, input: u64, output: u64) -> Self {
        self.header("x-upstream-usage", format!("{input},{output}"))
    }

    /// The answer waits at the upstream until [`super::upstream::Recorder::release`].
    pub fn held_back(self, gate: &str) -> Self {
        self.header("x-upstream-hold", gate)
    }

    /// Sends it and reads the whole answer.
    pub async fn send(self) -> Answer {
        let (case, upstream) = (unique("case"), self.upstream.clone());
        let response = self.start_as(&case).await.expect("Envoy answers");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let (body, complete) = read(response).await;
        Answer { status, headers, body, complete, case, upstream }
    }

    /// Sends it and returns when the head of the answer is there.
    pub async fn start(self) -> reqwest::Response {
        self.start_as(&unique("case")).await.expect("Envoy answers")
    }

    async fn start_as(self, case: &str) -> reqwest::Result<reqwest::Response> {
        self.http
            .unwrap_or_else(client)
            .request(self.method, format!("{}{}", self.base, self.path))
            .headers(self.headers)
            .header(CASE, case)
            .body(self.body)
            .send()
            .await
    }
}

/// A client of its own connections: those of a finished test's runtime are of no use to the next.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// The body, and whether it came to its proper end.
async fn read(mut response: reqwest::Response) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend(chunk),
            Ok(None) => return (body, true),
            Err(_) => return (body, false),
        }
    }
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub complete: bool,
    case: String,
    upstream: super::upstream::Recorder,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// `error.type` of a denial.
    pub fn kind(&self) -> String {
        self.json()["error"]["type"].as_str().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// What reached the upstream of this call.
    pub fn received(&self) -> Option<Received> {
        self.upstream.with_header(CASE, &self.case).into_iter().next()
    }

    /// The request as the upstream got it.
    #[track_caller]
    pub fn allowed(&self) -> Received {
        assert_eq!(self.status, 200, "{}", self.text());
        self.received().expect("the upstream was reached")
    }

    /// A denial: status and type as given, in the error shape of OpenAI, and nothing reached the upstream.
    #[track_caller]
    pub fn denied(&self, status: u16, kind: &str) {
        assert_eq!((self.status, self.kind().as_str()), (status, kind), "{}", self.text());
        let error = &self.json()["error"];
        assert!(error["message"].is_string() && error["code"].is_string(), "the error shape: {error}");
        assert!(error.as_object().is_some_and(|error| error.contains_key("param")), "the error shape: {error}");
        assert!(self.received().is_none(), "a denied request reached the upstream");
    }
}

impl Stack {
    /// Any call, without a credential.
    pub fn call(&self, method: &str, path: &str) -> Call {
        Call::new(self, method, path)
    }

    /// A chat with `gpt-4o-mini` of at most twenty tokens.
    pub fn chat(&self, key: &Key) -> Call {
        self.chat_with(key, "gpt-4o-mini")
    }

    pub fn chat_with(&self, key: &Key, model: &str) -> Call {
        self.call("POST", "/v1/chat/completions").key(key).json(&chat_body(model))
    }
}

/// The body of a short chat.
pub fn chat_body(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20})
}
