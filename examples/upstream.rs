//! A sample upstream: a model provider without a model. It speaks the chat, completions, responses, embeddings, images,
//! audio and models APIs of OpenAI, Anthropic's messages, Gemini's generateContent and Bedrock's Converse, as JSON and
//! as streams, with usage. Request headers steer it (see `upstream/steering.rs`), and it tells what reached it at
//! `GET /_upstream/requests`.
//!
//! `cargo run --example upstream -- --port 10001`; `--address 0.0.0.0:10001` listens beyond loopback, and with `--ready`
//! it does not serve but asks the one that does whether it answers.

#[path = "upstream/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_001));
    let mut asks = false;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--port" => address.set_port(arguments.next().ok_or("--port needs a number")?.parse()?),
            "--address" => address = arguments.next().ok_or("--address needs ADDRESS:PORT")?.parse()?,
            "--ready" => asks = true,
            other => {
                return Err(format!("unknown argument {other}: --port, --address and --ready are all there is").into());
            }
        }
    }
    if asks {
        return ask(address);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let upstream = server::Upstream::bind(address).await?;
        upstream.serve().await
    })?;
    Ok(())
}

/// For health checks where there is no curl. Asks for what is not written down among the requests.
fn ask(address: SocketAddr) -> Result<(), Failure> {
    let patience = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(format!("HEAD /_upstream/requests HTTP/1.0\r\nhost: {address}\r\n\r\n").as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    if start.ends_with(b" 200") { Ok(()) } else { Err("it does not answer 200".into()) }
}
