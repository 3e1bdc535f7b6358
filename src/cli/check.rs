//! `tollward check`: what the gate would decide about a request, and each step that led there.

use std::io::Read;
use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::output::Output;
use crate::config::Config;

/// The largest body read.
const BODY_LIMIT: u64 = 16 * 1024 * 1024;

/// A request as Envoy would describe it.
#[derive(Debug, Args)]
pub(super) struct Request {
    /// The method
    #[arg(long, default_value = "POST")]
    pub method: String,
    /// The path, with its query
    #[arg(long, default_value = "/v1/chat/completions")]
    pub path: String,
    /// A header as `name: value`; repeatable
    #[arg(long = "header", short = 'H', value_name = "NAME:VALUE", value_parser = header)]
    pub headers: Vec<(String, String)>,
    /// A file with the body; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// The client's address
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub source: IpAddr,
}

impl Request {
    /// Reads the body, where there is one.
    pub fn read_body(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = &self.body else { return Ok(None) };
        let mut body = Vec::new();
        let read = if path.as_os_str() == "-" {
            std::io::stdin().lock().take(BODY_LIMIT + 1).read_to_end(&mut body)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(BODY_LIMIT + 1).read_to_end(&mut body))
        };
        read.with_context(|| format!("cannot read the body from {}", path.display()))?;
        anyhow::ensure!(body.len() as u64 <= BODY_LIMIT, "the body is larger than 16 MiB");
        Ok(Some(body))
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write a header as NAME:VALUE")?;
    let name = name.trim().to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{name:?} is no name of a header"));
    }
    Ok((name, value.trim().to_owned()))
}

/// Asks the gate and prints its decision. Nothing is charged.
pub(super) fn run(_config: Config, request: &Request, _output: &Output) -> anyhow::Result<()> {
    let _body = request.read_body()?;
    anyhow::bail!("this build has no gate to ask")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_name_and_value() {
        assert_eq!(header("Authorization: Bearer sk-1:2"), Ok(("authorization".into(), "Bearer sk-1:2".into())));
        for text in ["no colon", ": x", "a b: x"] {
            assert!(header(text).is_err(), "{text}");
        }
    }
}
