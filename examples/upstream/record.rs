//! What reached the upstream: the latest requests with headers and bodies, and gates that hold answers back until they
//! are opened.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use axum::http::request::Parts;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Requests that are remembered, and bytes of each body.
const KEPT_REQUESTS: usize = 8_192;
const KEPT_BODY: usize = 64 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "the example and the tests each use a part")]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Names in lower case, in the order they came; a repeated header is there repeatedly.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB.
    pub body: Vec<u8>,
    pub body_length: usize,
}

#[allow(dead_code, reason = "the example and the tests each use a part")]
impl Received {
    pub fn new(head: &Parts, body: &[u8]) -> Self {
        Received {
            method: head.method.to_string(),
            path: head.uri.path_and_query().map_or_else(|| head.uri.path().to_owned(), ToString::to_string),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body: body[..body.len().min(KEPT_BODY)].to_vec(),
            body_length: body.len(),
        }
    }

    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// How often a header of that name came.
    pub fn count(&self, name: &str) -> usize {
        self.headers.iter().filter(|(header, _)| header == name).count()
    }

    /// The body as JSON; `null` where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// All that was received, and the gates.
#[derive(Default)]
pub struct Records {
    list: Mutex<(u64, VecDeque<Received>)>,
    gates: Gates,
    /// Requests that are being answered, and the most there were at once.
    running: Mutex<(usize, usize)>,
}

/// One request that is being answered, until it is dropped.
pub struct Running<'r>(&'r Records);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.lock().0 -= 1;
    }
}

impl Records {
    pub fn add(&self, received: Received) {
        let mut list = self.list.lock();
        list.0 += 1;
        if list.1.len() == KEPT_REQUESTS {
            list.1.pop_front();
        }
        list.1.push_back(received);
    }

    pub fn begin(&self) -> Running<'_> {
        let mut running = self.running.lock();
        running.0 += 1;
        running.1 = running.1.max(running.0);
        Running(self)
    }

    pub fn clear(&self) {
        *self.list.lock() = (0, VecDeque::new());
    }

    pub fn gates(&self) -> &Gates {
        &self.gates
    }

    pub fn as_json(&self) -> Value {
        let list = self.list.lock();
        let requests: Vec<Value> = list
            .1
            .iter()
            .map(|received| {
                json!({
                    "method": received.method,
                    "path": received.path,
                    "headers": received.headers,
                    "body": String::from_utf8_lossy(&received.body),
                    "body_length": received.body_length,
                })
            })
            .collect();
        json!({"count": list.0, "requests": requests})
    }
}

/// Named gates: an answer waits at one until it is opened, once and for good.
#[derive(Default)]
pub struct Gates {
    open: Mutex<HashSet<String>>,
    opened: Notify,
}

impl Gates {
    pub fn open(&self, name: &str) {
        self.open.lock().insert(name.to_owned());
        self.opened.notify_waiters();
    }

    pub async fn wait(&self, name: &str) {
        loop {
            let opened = self.opened.notified();
            if self.open.lock().contains(name) {
                return;
            }
            opened.await;
        }
    }
}

/// The view of the process that runs the upstream.
#[derive(Clone)]
#[allow(dead_code, reason = "the example and the tests each use a part")]
pub struct Recorder(Arc<Records>);

#[allow(dead_code, reason = "the example and the tests each use a part")]
impl Recorder {
    pub fn new(records: Arc<Records>) -> Self {
        Recorder(records)
    }

    /// Requests that carried this header and value, oldest first.
    pub fn with_header(&self, name: &str, value: &str) -> Vec<Received> {
        self.0.list.lock().1.iter().filter(|received| received.header(name) == Some(value)).cloned().collect()
    }

    /// Requests that came, those no longer remembered too.
    pub fn count(&self) -> u64 {
        self.0.list.lock().0
    }

    /// Requests that are being answered.
    pub fn running(&self) -> usize {
        self.0.running.lock().0
    }

    /// The most requests that were being answered at once.
    pub fn most_at_once(&self) -> usize {
        self.0.running.lock().1
    }

    /// Lets the answers go that wait for this name, now and later.
    pub fn release(&self, name: &str) {
        self.0.gates.open(name);
    }
}
