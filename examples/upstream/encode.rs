//! Content encodings, incrementally: each chunk can be decoded as soon as it arrives, as a provider's stream can.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::steering::Encoding;

/// An encoder of one body.
pub enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub fn new(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            // In HTTP `deflate` is the zlib format (RFC 9110, section 8.4.1.2).
            Encoding::Deflate => Encoder::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Brotli => Encoder::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 1, 20))),
            Encoding::Zstd => match zstd::stream::write::Encoder::new(Vec::new(), 1) {
                Ok(encoder) => Encoder::Zstd(encoder),
                Err(problem) => unreachable!("zstd level 1 exists: {problem}"),
            },
        }
    }

    /// Encodes a chunk and returns all that is ready, flushed.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        fn through(writer: &mut impl Write, chunk: &[u8]) {
            // Writing to memory does not fail.
            let _ = writer.write_all(chunk).and_then(|()| writer.flush());
        }
        match self {
            Encoder::Gzip(encoder) => {
                through(encoder, chunk);
                std::mem::take(encoder.get_mut())
            }
            Encoder::Deflate(encoder) => {
                through(encoder, chunk);
                std::mem::take(encoder.get_mut())
            }
            Encoder::Brotli(encoder) => {
                through(encoder.as_mut(), chunk);
                std::mem::take(encoder.get_mut())
            }
            Encoder::Zstd(encoder) => {
                through(encoder, chunk);
                std::mem::take(encoder.get_mut())
            }
        }
    }

    /// The end of the body.
    pub fn finish(self) -> Vec<u8> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish().unwrap_or_default(),
            Encoder::Deflate(encoder) => encoder.finish().unwrap_or_default(),
            Encoder::Brotli(encoder) => encoder.into_inner(),
            Encoder::Zstd(encoder) => encoder.finish().unwrap_or_default(),
        }
    }
}

/// A whole body at once.
pub fn whole(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    let mut encoder = Encoder::new(encoding);
    let mut encoded = encoder.push(bytes);
    encoded.extend(encoder.finish());
    encoded
}
