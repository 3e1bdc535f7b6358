//! `tollward check`: what the gate would decide about a request, and each step that led there.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::output::Output;
use crate::config::Config;
use crate::gate::Explanation;
use crate::request::{Headers, HttpRequest};

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
    /// A virtual key, sent as `authorization: Bearer`
    #[arg(long, value_name = "SECRET")]
    pub key: Option<String>,
    /// A model, asked for in a short JSON body
    #[arg(long, value_name = "NAME", conflicts_with = "body")]
    pub model: Option<String>,
    /// A file with the body; `-` is standard input
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// The address of Envoy's peer: the client, or the proxy before Envoy
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub source: IpAddr,
    /// The principal of the client's certificate, as spiffe://cluster.local/ns/default/sa/agent
    #[arg(long, value_name = "PRINCIPAL", default_value = "")]
    pub principal: String,
}

impl Request {
    /// Reads the body, where there is one.
    pub fn read_body(&self) -> anyhow::Result<Option<Vec<u8>>> {
        if let Some(model) = &self.model {
            let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": "Hello"}]});
            return Ok(Some(body.to_string().into_bytes()));
        }
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

impl Request {
    /// All headers: those named, and those the flags stand for.
    fn all_headers(&self) -> Vec<(String, String)> {
        let mut headers = self.headers.clone();
        if let Some(key) = &self.key {
            headers.push(("authorization".to_owned(), format!("Bearer {key}")));
        }
        if self.model.is_some() && !headers.iter().any(|(name, _)| name == "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        headers
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

/// Asks the gate and prints its decision. Nothing is charged; exits with 1 where it would refuse.
pub(super) fn run(config: Config, request: &Request, output: &Output) -> anyhow::Result<()> {
    let body = request.read_body()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let explanation = runtime.block_on(explain(config, request, body.as_deref()))?;
    let color = output.colors_stdout();
    output.document(&serde_json::to_value(&explanation)?, |_| report(&explanation, color))?;
    if explanation.allowed { Ok(()) } else { Err(super::output::Refused.into()) }
}

async fn explain(config: Config, request: &Request, body: Option<&[u8]>) -> anyhow::Result<Explanation> {
    let gate = crate::server::start::gate_to_ask(Arc::new(config)).await?;
    let headers = request.all_headers();
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let http = HttpRequest {
        method: &request.method,
        path: &request.path,
        headers: Headers(headers.collect()),
        body,
        source: Some(request.source),
        source_principal: &request.principal,
        extensions: Vec::new(),
        gateway: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Ok(gate.explain(&http).await)
}

fn report(explanation: &Explanation, color: bool) -> String {
    let width = explanation.steps.iter().map(|step| step.check.len()).max().unwrap_or_default();
    let steps = explanation.steps.iter().map(|step| format!("{:width$}  {}", step.check, step.found));
    let headers =
        explanation.upstream_headers.iter().map(|(name, value)| format!("{:width$}  {name}: {value}", "header"));
    let message = explanation.error.as_ref().and_then(|error| error["error"]["message"].as_str());
    let message = message.map(|message| format!("{:width$}  {message}", "message"));
    let (verdict, colour) = match (explanation.allowed, explanation.shadow) {
        (true, false) => ("allowed", 32),
        (true, true) => ("would be refused", 33),
        (false, _) => ("refused", 31),
    };
    let verdict = if color { format!("\x1b[1;{colour}m{verdict}\x1b[0m") } else { verdict.to_owned() };
    let status = explanation.status.map(|status| format!(" with status {status}")).unwrap_or_default();
    let passes = if explanation.shadow { ", passes: shadow" } else { "" };
    let last = format!("{verdict}{status}{passes}");
    let lines = steps.chain(headers).chain(message).map(|line| super::table::printable(&line));
    lines.chain([last]).collect::<Vec<_>>().join("\n")
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
