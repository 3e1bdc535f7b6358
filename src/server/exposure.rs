//! Refuses to open the gRPC port to everyone: whoever may ask Check can read the provider keys it injects.

use std::net::SocketAddr;

use crate::config::Config;

/// The port would be open beyond this machine to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "listen.grpc is {0}, which others can reach, and whoever asks this port can read injected provider keys: set \
     tls.grpc.client_ca (mutual TLS), or listen.grpc_clients to the networks of your gateways, or, if the network is \
     closed by other means, listen.insecure: true"
)]
pub struct Exposed(pub SocketAddr);

/// Checks the address of the gRPC port against what guards it.
pub fn check(config: &Config) -> Result<(), Exposed> {
    let listen = &config.listen;
    let mutual_tls = config.tls.grpc.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let guarded = listen.grpc.ip().is_loopback() || mutual_tls || !listen.grpc_clients.is_empty() || listen.insecure;
    if guarded { Ok(()) } else { Err(Exposed(listen.grpc)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerTls;

    #[test]
    fn an_open_port_needs_a_guard_and_the_error_says_which() {
        let open = || {
            let mut config = Config::default();
            config.listen.grpc = "0.0.0.0:9001".parse().unwrap();
            config
        };
        let tls = |client_ca: Option<&str>| ServerTls {
            cert: "cert.pem".into(),
            key: "key.pem".into(),
            client_ca: client_ca.map(Into::into),
        };
        let error = check(&open()).unwrap_err().to_string();
        for hint in ["tls.grpc.client_ca", "listen.grpc_clients", "listen.insecure: true"] {
            assert!(error.contains(hint), "{error}");
        }
        let mut server_only = open();
        server_only.tls.grpc = Some(tls(None));
        assert!(check(&server_only).is_err());

        let mut mutual = open();
        mutual.tls.grpc = Some(tls(Some("ca.pem")));
        let mut clients = open();
        clients.listen.grpc_clients = vec!["10.0.0.0/8".parse().unwrap()];
        let mut insecure = open();
        insecure.listen.insecure = true;
        for guarded in [Config::default(), mutual, clients, insecure] {
            assert_eq!(check(&guarded), Ok(()));
        }
    }
}
