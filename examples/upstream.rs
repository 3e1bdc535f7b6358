//! A sample upstream: a model provider without a model. It speaks the chat, completions, responses, embeddings, images,
//! audio and models APIs of OpenAI, Anthropic's messages, Gemini's generateContent and Bedrock's Converse, as JSON and
//! as streams, with usage. Request headers steer it (see `upstream/steering.rs`), and it tells what reached it at
//! `GET /_upstream/requests`.
//!
//! `cargo run --example upstream -- --port 10001`

#[path = "upstream/server.rs"]
mod server;

use std::net::{Ipv4Addr, SocketAddr};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut port = 10_001_u16;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--port" => port = arguments.next().ok_or("--port needs a number")?.parse()?,
            other => return Err(format!("unknown argument {other}: --port PORT is all there is").into()),
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let upstream = server::Upstream::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        upstream.serve().await
    })?;
    Ok(())
}
