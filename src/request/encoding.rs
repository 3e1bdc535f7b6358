//! Content encodings of request bodies (RFC 9110, section 8.4): decoded within a bound, or refused. A body that cannot
//! be read is never passed on unread.

use std::io::{self, Read};

use crate::domain::{Denial, ErrorType};

/// Encodings one body may be wrapped in.
const MAX_LAYERS: usize = 2;
/// Zstandard windows above 8 MiB are not for HTTP (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Decodes a body by its `content-encoding`; `None` where it is not encoded.
///
/// # Errors
/// 415 where an encoding is unknown or the bytes are not of it, 413 where more than `max` bytes come out.
pub fn decode(body: &[u8], content_encoding: &str, max: usize) -> Result<Option<Vec<u8>>, Denial> {
    let mut decoded: Option<Vec<u8>> = None;
    let names = content_encoding.split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<&str> = names.filter(|name| !name.eq_ignore_ascii_case("identity")).take(MAX_LAYERS + 1).collect();
    if names.len() > MAX_LAYERS {
        return Err(unsupported("The request body has too many content encodings."));
    }
    for name in names.iter().rev() {
        decoded = Some(layer(decoded.as_deref().unwrap_or(body), name, max)?);
    }
    Ok(decoded)
}

fn layer(bytes: &[u8], name: &str, max: usize) -> Result<Vec<u8>, Denial> {
    let result = match name.to_ascii_lowercase().as_str() {
        "gzip" | "x-gzip" => read(flate2::read::MultiGzDecoder::new(bytes), max),
        // Both readings of "deflate" are in use: zlib (RFC 1950), as specified, and the bare stream (RFC 1951).
        "deflate" => read(flate2::read::ZlibDecoder::new(bytes), max)
            .or_else(|_| read(flate2::read::DeflateDecoder::new(bytes), max)),
        "br" => read(brotli_decompressor::Decompressor::new(bytes, 4096), max),
        "zstd" => zstd::stream::read::Decoder::new(bytes).and_then(|mut decoder| {
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            read(decoder, max)
        }),
        _ => return Err(unsupported("The request body has an unknown content encoding.")),
    };
    match result {
        Ok(Some(decoded)) => Ok(decoded),
        Ok(None) => Err(Denial::new(
            ErrorType::RequestTooLarge,
            "body.too_large",
            format!("The request body decodes to more than {max} bytes."),
        )),
        Err(_) => Err(unsupported("The request body is not of its content encoding.")),
    }
}

/// All that comes out; `None` beyond the bound.
fn read(source: impl Read, max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    source.take((max as u64).saturating_add(1)).read_to_end(&mut out)?;
    Ok((out.len() <= max).then_some(out))
}

fn unsupported(message: &'static str) -> Denial {
    Denial::new(ErrorType::UnsupportedEncoding, "body.encoding", message).param("content-encoding")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &[u8] =
        br#"{"model":"gpt-4o","input":"a text that is long enough to be worth packing, packing, packing"}"#;
    // Made by the reference tool: brotli -c, of `{"model":"m"}` stored as it is.
    const BROTLI: &[u8] = b"\x0b\x06\x80{\"model\":\"m\"}\x03";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn every_known_encoding_is_decoded() {
        let cases = [
            ("gzip", gzip(TEXT)),
            ("X-GZIP", gzip(TEXT)),
            ("deflate", zlib(TEXT)),
            ("deflate", deflate(TEXT)),
            ("zstd", zstd::encode_all(TEXT, 1).unwrap()),
            ("identity, gzip", gzip(TEXT)),
            ("deflate, gzip", gzip(&zlib(TEXT))),
        ];
        for (name, bytes) in cases {
            assert_eq!(decode(&bytes, name, 1024).unwrap().as_deref(), Some(TEXT), "{name}");
        }
        assert_eq!(decode(BROTLI, "br", 1024).unwrap().as_deref(), Some(&br#"{"model":"m"}"#[..]));
        assert_eq!(decode(TEXT, "identity", 1024).unwrap(), None);
    }

    #[test]
    fn what_cannot_be_decoded_is_refused_with_415() {
        for name in ["gzip", "deflate", "br", "zstd", "snappy", "gzip, gzip, gzip"] {
            assert_eq!(decode(b"{\"model\":1}", name, 1024).unwrap_err().status, 415, "{name}");
        }
        let mut cut = gzip(TEXT);
        cut.truncate(cut.len() / 2);
        assert_eq!(decode(&cut, "gzip", 1024).unwrap_err().status, 415);
    }

    #[test]
    fn a_body_that_decodes_beyond_the_bound_is_refused_with_413() {
        let bomb = vec![b' '; 1 << 20];
        for (name, bytes) in [("gzip", gzip(&bomb)), ("zstd", zstd::encode_all(&bomb[..], 1).unwrap())] {
            assert_eq!(decode(&bytes, name, 1000).unwrap_err().status, 413, "{name}");
        }
        assert!(decode(&gzip(TEXT), "gzip", TEXT.len()).is_ok(), "the bound itself is allowed");
    }
}
