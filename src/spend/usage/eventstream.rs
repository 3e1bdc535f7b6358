//! `application/vnd.amazon.eventstream`: frames of headers and payload, each with two CRCs. A frame that is too large
//! is passed over; one whose checks fail ends the reading, since nothing after it can be trusted to begin a frame.

/// Bytes of one frame that are held at most. The format allows 16 MiB.
const MAX_FRAME: usize = 1024 * 1024;
const PRELUDE: usize = 12;
const TRAILER: usize = 4;

/// One message: its type headers and its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// `:event-type`, or `:exception-type` of an exception.
    pub(super) name: &'a str,
    pub(super) is_exception: bool,
    pub(super) payload: &'a [u8],
}

#[derive(Debug, Default)]
pub(super) struct Frames {
    held: Vec<u8>,
    /// Bytes of a frame too large to hold that are still to come.
    skipping: usize,
    broken: bool,
}

impl Frames {
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Message<'_>)) {
        while !self.broken && !bytes.is_empty() {
            if self.skipping > 0 {
                let skipped = self.skipping.min(bytes.len());
                self.skipping -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = if self.held.len() < PRELUDE { PRELUDE } else { total_length(&self.held) };
            let taken = (wanted - self.held.len()).min(bytes.len());
            self.held.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.held.len() < wanted {
                return;
            }
            if wanted > PRELUDE {
                self.broken = !self.message(&mut each);
                self.held.clear();
                continue;
            }
            let (total, headers) = (total_length(&self.held), headers_length(&self.held));
            let fits = headers.checked_add(PRELUDE + TRAILER).is_some_and(|least| least <= total);
            if !fits || number(&self.held, 8) != crc32fast::hash(&self.held[..8]) {
                self.broken = true;
            } else if total > MAX_FRAME {
                self.held.clear();
                self.skipping = total - PRELUDE;
            }
        }
    }

    fn message(&self, each: &mut impl FnMut(Message<'_>)) -> bool {
        let (body, trailer) = self.held.split_at(self.held.len() - TRAILER);
        if number(trailer, 0) != crc32fast::hash(body) {
            return false;
        }
        let (headers, payload) = body[PRELUDE..].split_at(headers_length(&self.held));
        let Some(names) = Names::read(headers) else { return false };
        let is_exception = names.exception.is_some();
        each(Message { name: names.exception.or(names.event).unwrap_or_default(), is_exception, payload });
        true
    }
}

#[derive(Default)]
struct Names<'a> {
    event: Option<&'a str>,
    exception: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// Reads the headers; `None` where one does not hold together.
    fn read(mut headers: &'a [u8]) -> Option<Names<'a>> {
        let mut names = Names::default();
        while !headers.is_empty() {
            let name = take_counted(&mut headers, 1)?;
            let kind = take(&mut headers, 1)?[0];
            let value = match kind {
                0 | 1 => &[],
                2 => take(&mut headers, 1)?,
                3 => take(&mut headers, 2)?,
                4 => take(&mut headers, 4)?,
                5 | 8 => take(&mut headers, 8)?,
                6 | 7 => take_counted(&mut headers, 2)?,
                9 => take(&mut headers, 16)?,
                _ => return None,
            };
            let text = (kind == 7).then(|| std::str::from_utf8(value).ok()).flatten();
            match name {
                b":event-type" => names.event = text,
                b":exception-type" | b":error-code" => names.exception = text,
                _ => {}
            }
        }
        Some(names)
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

/// Takes what a big-endian length of `width` bytes counts.
fn take_counted<'a>(bytes: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = take(bytes, width)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    take(bytes, length)
}

fn number(bytes: &[u8], at: usize) -> u32 {
    bytes.iter().skip(at).take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn total_length(frame: &[u8]) -> usize {
    number(frame, 0) as usize
}

fn headers_length(frame: &[u8]) -> usize {
    number(frame, 4) as usize
}
