use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::domain::BudgetDuration;

/// Addresses of the three ports, and the bounds of their connections.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// Envoy's port: ext_authz, ext_proc, health, reflection. Beyond loopback it needs `tls.grpc.client_ca`,
    /// `grpc_clients` or `insecure: true`, since whoever can ask may read injected provider keys.
    pub grpc: SocketAddr,
    /// The management API.
    pub http: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`.
    pub ops: SocketAddr,
    /// Networks that may connect to the gRPC port; others are cut off before a byte is read.
    #[schemars(with = "Vec<String>")]
    pub grpc_clients: Vec<IpNet>,
    /// Lets the gRPC port listen beyond loopback without mTLS or `grpc_clients`.
    pub insecure: bool,
    /// Runtimes that serve the gRPC port, each on a thread and a listener of its own; 0 is one a core.
    pub workers: usize,
    /// Streams one HTTP/2 connection may have open.
    pub max_concurrent_streams: u32,
    /// Bytes of one request's header list.
    pub max_header_list_size: u32,
    /// Bytes of one gRPC message.
    pub max_message_size: usize,
    /// Streams a client may open and reset before its connection is closed (rapid reset).
    pub max_pending_accept_reset_streams: usize,
    /// Connections are told to go away after this long, so that replicas behind a plain Service share the load.
    pub max_connection_age: BudgetDuration,
    /// Requests on a connection that was told to go away may finish for this long.
    pub max_connection_age_grace: BudgetDuration,
    /// How often idle connections are pinged (HTTP/2 PING).
    pub keepalive_interval: BudgetDuration,
    /// How long a ping may go unanswered before the connection is closed.
    pub keepalive_timeout: BudgetDuration,
    /// At shutdown, how long readiness fails before the ports close.
    pub drain_delay: BudgetDuration,
    /// At shutdown, how long requests may finish after the ports closed.
    pub drain_timeout: BudgetDuration,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Listen {
            grpc: loopback(9001),
            http: loopback(9002),
            ops: loopback(9003),
            grpc_clients: Vec::new(),
            insecure: false,
            workers: 0,
            max_concurrent_streams: 1_024,
            max_header_list_size: 64 * 1024,
            max_message_size: 16 * 1024 * 1024,
            max_pending_accept_reset_streams: 100,
            max_connection_age: BudgetDuration::seconds(1_800),
            max_connection_age_grace: BudgetDuration::seconds(600),
            keepalive_interval: BudgetDuration::seconds(60),
            keepalive_timeout: BudgetDuration::seconds(20),
            drain_delay: BudgetDuration::seconds(0),
            drain_timeout: BudgetDuration::seconds(30),
        }
    }
}

impl Listen {
    #[must_use]
    pub fn max_connection_age(&self) -> Duration {
        self.max_connection_age.as_duration()
    }
}
