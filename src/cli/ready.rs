//! `tollward ready`: asks a running server whether it is ready. For health checks where there is neither a shell nor
//! curl; needs no configuration when the address is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::configuration;
use super::output::Output;

/// Longest wait for the whole answer, and bytes of it that are read.
const PATIENCE: Duration = Duration::from_secs(5);
const MAX_ANSWER: u64 = 64 * 1024;

/// Succeeds when `/readyz` answers 200.
pub(super) fn run(file: Option<PathBuf>, address: Option<SocketAddr>, output: &Output) -> anyhow::Result<()> {
    let address = match address {
        Some(address) => address,
        None => here(configuration::load(file)?.listen.ops),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(address)).await });
    let answer = answer.map_err(|_| anyhow::anyhow!("no answer within {PATIENCE:?}")).flatten();
    let (status, body) = answer.with_context(|| format!("http://{address}/readyz"))?;
    if status != 200 {
        bail!("http://{address}/readyz answers {status}: {}", body.trim());
    }
    let document = serde_json::from_str(&body).unwrap_or(Value::String(body));
    output.document(&document, |document| {
        let parts = document["parts"].as_object().into_iter().flatten();
        let parts: Vec<String> =
            parts.map(|(name, state)| format!("{name}: {}", state.as_str().unwrap_or("?"))).collect();
        if parts.is_empty() { "ready".to_owned() } else { format!("ready ({})", parts.join(", ")) }
    })
}

/// An address that listens everywhere is asked on loopback.
fn here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}

/// Status and body. HTTP/1.0: the server closes the connection behind its answer.
async fn ask(address: SocketAddr) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("not an HTTP answer")?;
    Ok((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        for (listens, asked) in
            [("0.0.0.0:9003", "127.0.0.1:9003"), ("[::]:9003", "[::1]:9003"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(here(listens.parse().unwrap()), asked.parse().unwrap(), "{listens}");
        }
    }
}
