use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

/// Certificates of the ports; files are read again when they change.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The gRPC port; without it the port speaks plain HTTP/2.
    pub grpc: Option<ServerTls>,
    /// The management port.
    pub http: Option<ServerTls>,
}

/// One port's certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTls {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Certificate authorities, PEM: clients must show a certificate of one of them (mTLS).
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
}
