//! Request headers that tell the upstream how to behave. An unusable value is refused with 400, so that a test with a
//! slip fails.
//!
//! | header | effect |
//! |---|---|
//! | `x-upstream-delay-ms: N` | waits before it answers |
//! | `x-upstream-hold: NAME` | waits until `POST /_upstream/release/NAME` |
//! | `x-upstream-status: S` | answers with that status and an error body without usage |
//! | `x-upstream-usage: none` or `IN,OUT` | reports no usage, or this one |
//! | `x-upstream-chunks: N` | pieces of text in a stream (5) |
//! | `x-upstream-chunk-delay-ms: N` | waits between chunks |
//! | `x-upstream-abort-after: N` | cuts the connection after N chunks |
//! | `x-upstream-encoding: E` | encodes the body: `gzip`, `deflate`, `br`, `zstd` |

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};

/// What the upstream reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// What a model would: some prompt tokens, and the output cap up to twenty.
    Default,
    /// None at all.
    Missing,
    /// Exactly this.
    Exact { input: u64, output: u64 },
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Encoding {
    /// The name in `content-encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Brotli => "br",
            Encoding::Zstd => "zstd",
        }
    }
}

/// All that one request asks for.
#[derive(Clone, Debug)]
pub struct Steering {
    pub delay: Duration,
    pub hold: Option<String>,
    pub status: Option<StatusCode>,
    pub usage: Usage,
    pub chunks: usize,
    pub chunk_delay: Duration,
    pub abort_after: Option<usize>,
    pub encoding: Option<Encoding>,
}

impl Steering {
    pub fn read(headers: &HeaderMap) -> Result<Self, String> {
        Ok(Steering {
            delay: millis(headers, "x-upstream-delay-ms")?,
            hold: text(headers, "x-upstream-hold")?.map(str::to_owned),
            status: parsed(headers, "x-upstream-status")?,
            usage: usage(headers)?,
            chunks: parsed(headers, "x-upstream-chunks")?.unwrap_or(5),
            chunk_delay: millis(headers, "x-upstream-chunk-delay-ms")?,
            abort_after: parsed(headers, "x-upstream-abort-after")?,
            encoding: encoding(headers)?,
        })
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, String> {
    headers.get(name).map(|value| value.to_str().map_err(|_| format!("{name} is not text"))).transpose()
}

fn parsed<T: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<T>, String> {
    text(headers, name)?
        .map(|value| value.trim().parse().map_err(|_| format!("{name}: {value} cannot be read")))
        .transpose()
}

fn millis(headers: &HeaderMap, name: &str) -> Result<Duration, String> {
    Ok(Duration::from_millis(parsed(headers, name)?.unwrap_or(0)))
}

fn usage(headers: &HeaderMap) -> Result<Usage, String> {
    let name = "x-upstream-usage";
    match text(headers, name)? {
        None => Ok(Usage::Default),
        Some("none") => Ok(Usage::Missing),
        Some(value) => {
            let pair = value.split_once(',').and_then(|(input, output)| {
                Some(Usage::Exact { input: input.trim().parse().ok()?, output: output.trim().parse().ok()? })
            });
            pair.ok_or_else(|| format!("{name}: {value} is neither `none` nor `IN,OUT`"))
        }
    }
}

fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, String> {
    let name = "x-upstream-encoding";
    text(headers, name)?
        .map(|value| match value {
            "gzip" => Ok(Encoding::Gzip),
            "deflate" => Ok(Encoding::Deflate),
            "br" => Ok(Encoding::Brotli),
            "zstd" => Ok(Encoding::Zstd),
            other => Err(format!("{name}: {other} is not gzip, deflate, br or zstd")),
        })
        .transpose()
}
