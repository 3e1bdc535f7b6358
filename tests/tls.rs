//! TLS on Tollward's own ports: who may connect, what is spoken, and certificates that change in place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use support::certificates::{Authority, Identity, Tls, connect};
use support::{Filters, Options, Stack, eventually, json};

/// Lays a certificate where the server reads it, in place of an older one.
fn write(identity: &Identity, folder: &Path) {
    for (name, text) in [("cert.pem", &identity.certificate), ("key.pem", &identity.key)] {
        let fresh = folder.join(format!("{name}.new"));
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(&fresh, folder.join(name)).unwrap();
    }
}

/// Sends the preface of HTTP/2; whether the server answers with its settings.
fn speaks_http2(stream: &mut Tls) -> std::io::Result<()> {
    // The preface and an empty SETTINGS frame (RFC 9113, section 3.4).
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    assert_eq!(head[3], 4, "a SETTINGS frame first: {head:?}");
    Ok(())
}

/// A stack without Envoy, its certificates in a folder of their own.
fn start(authority: &Authority, section: &str, client_ca: Option<&Authority>) -> (Stack, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    write(&authority.sign("localhost"), folder.path());
    let mut tls = json!({"cert": folder.path().join("cert.pem"), "key": folder.path().join("key.pem")});
    if let Some(client_ca) = client_ca {
        let path = folder.path().join("clients.pem");
        std::fs::write(&path, &client_ca.certificate).unwrap();
        tls["client_ca"] = json!(path);
    }
    let options = Options { filters: Filters::NoEnvoy, config: json!({"tls": {section: tls}}), ..Options::default() };
    (Stack::start(options), folder)
}

#[test]
fn the_grpc_port_speaks_http2_over_tls() {
    let authority = Authority::new();
    let (stack, _folder) = start(&authority, "grpc", None);
    let mut stream = connect(stack.ports.grpc, authority.client(None, &["h2"])).unwrap();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    speaks_http2(&mut stream).unwrap();
    let stranger = Authority::new();
    assert!(connect(stack.ports.grpc, stranger.client(None, &["h2"])).is_err(), "signed by who says it");
    // Plain text gets nothing.
    let answer = support::raw::exchange(stack.ports.grpc, b"GET / HTTP/1.1\r\n\r\n").unwrap_or_default();
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn with_mutual_tls_only_known_clients_are_heard() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (stack, _folder) = start(&authority, "grpc", Some(&clients));
    let known = clients.sign("gateway");
    let mut stream = connect(stack.ports.grpc, authority.client(Some(&known), &["h2"])).unwrap();
    speaks_http2(&mut stream).unwrap();
    let unknown = Authority::new().sign("gateway");
    for identity in [None, Some(&unknown)] {
        let heard = connect(stack.ports.grpc, authority.client(identity, &["h2"]))
            .and_then(|mut stream| speaks_http2(&mut stream));
        assert!(heard.is_err(), "no or another's certificate");
    }
}

#[test]
fn the_management_port_speaks_https() {
    let authority = Authority::new();
    let (stack, _folder) = start(&authority, "http", None);
    let mut stream = connect(stack.ports.http, authority.client(None, &["http/1.1"])).unwrap();
    stream.write_all(b"GET /key/info HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 401");
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart() {
    let authority = Authority::new();
    let (stack, folder) = start(&authority, "grpc", None);
    let shown = || {
        let stream = connect(stack.ports.grpc, authority.client(None, &["h2"])).unwrap();
        stream.conn.peer_certificates().unwrap()[0].clone().into_owned()
    };
    let before = shown();
    write(&authority.sign("localhost"), folder.path());
    eventually("the new certificate", || async {
        if shown() == before { Err("still the old one".to_owned()) } else { Ok(()) }
    })
    .await;
    // A file that is no certificate leaves the old one in force.
    std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    let renewed = shown();
    for _ in 0..20 {
        assert_eq!(shown(), renewed);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
