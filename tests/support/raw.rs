//! Requests byte by byte: what a well-behaved client library would not send.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A connection to a port of this machine.
pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Raw { stream })
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads until the bytes seen so far contain `wanted`; what was read. An end of the stream before is an error.
    pub fn read_until(&mut self, wanted: &str) -> io::Result<String> {
        let mut seen = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self.stream.read(&mut buffer)?;
            if count == 0 {
                let text = String::from_utf8_lossy(&seen).into_owned();
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            seen.extend(&buffer[..count]);
            let text = String::from_utf8_lossy(&seen);
            if text.contains(wanted) {
                return Ok(text.into_owned());
            }
        }
    }

    /// Reads to the end of the stream. A reset counts as an end.
    pub fn read_all(&mut self) -> String {
        let mut seen = Vec::new();
        let _ = self.stream.read_to_end(&mut seen);
        String::from_utf8_lossy(&seen).into_owned()
    }

    /// Closes it, in mid-request or mid-response.
    pub fn hang_up(self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

/// One request whose connection closes behind the answer; the whole answer.
pub fn exchange(port: u16, request: &[u8]) -> io::Result<String> {
    let mut raw = Raw::connect(port)?;
    // A server may answer and close before it has read everything.
    let sent = raw.send(request);
    let answer = raw.read_all();
    if answer.is_empty() { sent.map(|()| answer) } else { Ok(answer) }
}

pub fn get(port: u16, path: &str) -> io::Result<String> {
    exchange(port, format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n").as_bytes())
}

/// The status of an answer; 0 where there is none.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0)
}

/// A chat request as bytes, with these header lines besides.
pub fn chat(key: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}
