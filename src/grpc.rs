//! The Envoy edge: protobuf in, our types out, and back. Nothing is decided here: the gate stands behind [`Decide`], and
//! what it answers is written out as Envoy wants it.

pub mod check;
pub mod framing;
pub mod process;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::config::OnError;
use crate::domain::{Decision, HoldId};
use crate::request::HttpRequest;

/// The gate as the edge sees it.
pub trait Decide: Send + Sync + 'static {
    /// Decides on one request. Where the future is dropped before it ends (the client hung up, the deadline passed), the
    /// gate gives back by itself what it may have held; the edge cannot know of it yet.
    fn decide(&self, request: &HttpRequest<'_>) -> impl Future<Output = Decision> + Send;

    /// Gives back a hold whose answer never reached Envoy. Never waits: it may be called while a connection is torn down.
    fn release(&self, hold: HoldId);

    /// The settings in force.
    fn settings(&self) -> Arc<EdgeSettings>;

    /// Opens the meter of the request that a signed hold token names. `None` where the token is forged or not ours: the
    /// exchange then passes unmetered.
    fn meter(&self, token: &str, gateway: IpAddr) -> Option<Box<dyn MeterSession>>;
}

/// The meter of one request.
#[async_trait]
pub trait MeterSession: Send {
    /// A new body for the request where one is needed (usage asked for, output capped); `None` leaves it as it is.
    fn rewrite_request(&mut self, body: &[u8]) -> Option<Vec<u8>>;
    /// The request is on its way to the upstream, and this stream will see the response.
    async fn started(&mut self);
    fn response_headers(&mut self, status: u16, content_type: Option<&str>, content_encoding: Option<&str>);
    fn response_body(&mut self, chunk: &[u8]);
    /// The response ended, or (`complete` false) the exchange broke off. Settles now; called once for each `started`.
    async fn finished(&mut self, complete: bool);
}

/// What the edge needs of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSettings {
    /// How trouble of our own is told to Envoy.
    pub on_error: OnError,
    /// Nothing is refused: what cannot be read is Envoy's to pass or not.
    pub shadow: bool,
    /// A log line for each denial, and for each allowed request.
    pub log_denials: bool,
    pub log_allows: bool,
}

/// The address of the Envoy that asks, put on every request by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gateway(pub IpAddr);
