//! Content codings undone as bytes pass: gzip, deflate (zlib and raw), br, zstd. Output comes in small pieces and never
//! exceeds the cap, however much a few bytes expand to; windows are bounded too.

use std::io::Write;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

/// Bytes fed to a deflate decoder at once: what it makes of them stays below 600 kB.
const SLICE: usize = 512;
const PIECE: usize = 16 * 1024;
/// RFC 9659: a zstd window over HTTP is 8 MiB at most.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The body cannot be decoded: an unknown coding, broken data, or more than the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// Undoes one content coding.
pub struct Decoder {
    coding: Coding,
    /// Bytes that may still come out of a coding.
    left: u64,
}

enum Coding {
    Identity,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// `deflate` is zlib by the standard and raw in practice: the first two bytes tell.
    Deflate(Vec<u8>),
    Zlib(Box<ZlibDecoder<Vec<u8>>>),
    Raw(Box<DeflateDecoder<Vec<u8>>>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Zstd(Box<ZstdDecoder<'static>>),
    /// The coded data ended; what follows is nothing.
    Over,
    Failed,
}

impl Decoder {
    /// For the value of `content-encoding`; at most `cap` bytes come out of a coded body.
    #[must_use]
    pub fn new(content_encoding: Option<&str>, cap: u64) -> Decoder {
        let mut codings = content_encoding.unwrap_or_default().split(',').map(str::trim);
        let mut codings =
            codings.by_ref().filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"));
        let coding = match (codings.next(), codings.next()) {
            (None, _) => Coding::Identity,
            (Some(name), None) => Coding::named(&name.to_ascii_lowercase()),
            _ => Coding::Failed,
        };
        Decoder { coding, left: cap }
    }

    /// Hands on what the bytes decode to, in pieces.
    ///
    /// # Errors
    /// [`Undecodable`], now and for all bytes to come.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) -> Result<(), Undecodable> {
        let left = &mut self.left;
        let mut bounded = |piece: &[u8]| {
            let fits = usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len());
            *left -= fits as u64;
            if fits > 0 {
                each(&piece[..fits]);
            }
            if fits == piece.len() { Ok(()) } else { Err(Undecodable) }
        };
        if let Coding::Identity = self.coding {
            each(bytes);
            return Ok(());
        }
        let decided;
        let bytes = match self.coding.decide(bytes) {
            Some(held) => {
                decided = held;
                decided.as_slice()
            }
            None => bytes,
        };
        let result = match &mut self.coding {
            Coding::Identity | Coding::Deflate(_) | Coding::Over => Ok(Progress::More),
            Coding::Failed => Err(Undecodable),
            Coding::Gzip(decoder) => inflate(decoder.as_mut(), MultiGzDecoder::get_mut, bytes, &mut bounded),
            Coding::Zlib(decoder) => inflate(decoder.as_mut(), ZlibDecoder::get_mut, bytes, &mut bounded),
            Coding::Raw(decoder) => inflate(decoder.as_mut(), DeflateDecoder::get_mut, bytes, &mut bounded),
            Coding::Brotli(state) => unbrotli(state, bytes, &mut bounded),
            Coding::Zstd(decoder) => unzstd(decoder, bytes, &mut bounded),
        };
        match result {
            Ok(Progress::More) => Ok(()),
            Ok(Progress::Over) => {
                self.coding = Coding::Over;
                Ok(())
            }
            Err(error) => {
                self.coding = Coding::Failed;
                Err(error)
            }
        }
    }
}

impl Coding {
    fn named(name: &str) -> Coding {
        match name {
            "gzip" | "x-gzip" => Coding::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            "deflate" => Coding::Deflate(Vec::new()),
            "br" => {
                let alloc = StandardAlloc::default;
                Coding::Brotli(Box::new(BrotliState::new(alloc(), alloc(), alloc())))
            }
            "zstd" => {
                let decoder = ZstdDecoder::new().and_then(|mut decoder| {
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
                    Ok(Coding::Zstd(Box::new(decoder)))
                });
                decoder.unwrap_or(Coding::Failed)
            }
            _ => Coding::Failed,
        }
    }

    /// Tells zlib from raw deflate once two bytes are there, and gives back all bytes so far.
    fn decide(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Coding::Deflate(held) = self else { return None };
        held.extend_from_slice(bytes);
        let [first, second, ..] = held[..] else { return None };
        let held = std::mem::take(held);
        let is_zlib = first & 0x0f == 8 && first >> 4 <= 7 && (u16::from(first) << 8 | u16::from(second)) % 31 == 0;
        *self = if is_zlib {
            Coding::Zlib(Box::new(ZlibDecoder::new(Vec::new())))
        } else {
            Coding::Raw(Box::new(DeflateDecoder::new(Vec::new())))
        };
        Some(held)
    }
}

enum Progress {
    More,
    Over,
}

fn inflate<D: Write>(
    decoder: &mut D,
    output: impl Fn(&mut D) -> &mut Vec<u8>,
    bytes: &[u8],
    each: &mut impl FnMut(&[u8]) -> Result<(), Undecodable>,
) -> Result<Progress, Undecodable> {
    for mut slice in bytes.chunks(SLICE) {
        while !slice.is_empty() {
            let taken = decoder.write(slice).map_err(|_| Undecodable)?;
            decoder.flush().map_err(|_| Undecodable)?;
            let output = output(decoder);
            let given = each(output);
            output.clear();
            given?;
            if taken == 0 {
                return Ok(Progress::Over);
            }
            slice = &slice[taken..];
        }
    }
    Ok(Progress::More)
}

fn unbrotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    bytes: &[u8],
    each: &mut impl FnMut(&[u8]) -> Result<(), Undecodable>,
) -> Result<Progress, Undecodable> {
    let mut piece = [0; PIECE];
    let (mut available_in, mut input_offset, mut total_out) = (bytes.len(), 0, 0);
    loop {
        let (mut available_out, mut output_offset) = (PIECE, 0);
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut input_offset,
            bytes,
            &mut available_out,
            &mut output_offset,
            &mut piece,
            &mut total_out,
            state,
        );
        each(&piece[..output_offset])?;
        match result {
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput => return Ok(Progress::More),
            BrotliResult::ResultSuccess => return Ok(Progress::Over),
            BrotliResult::ResultFailure => return Err(Undecodable),
        }
    }
}

fn unzstd(
    decoder: &mut ZstdDecoder<'static>,
    bytes: &[u8],
    each: &mut impl FnMut(&[u8]) -> Result<(), Undecodable>,
) -> Result<Progress, Undecodable> {
    let mut piece = [0; PIECE];
    let mut input = InBuffer::around(bytes);
    loop {
        let mut output = OutBuffer::around(&mut piece[..]);
        let before = input.pos();
        decoder.run(&mut input, &mut output).map_err(|_| Undecodable)?;
        each(output.as_slice())?;
        let is_full = output.pos() == PIECE;
        let is_stuck = input.pos() == before && output.pos() == 0;
        if !is_full && (input.pos() == bytes.len() || is_stuck) {
            return Ok(Progress::More);
        }
    }
}

#[cfg(test)]
mod tests;
