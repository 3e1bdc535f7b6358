//! Server-sent events (WHATWG HTML, section 9.2.6), cut into the data of one event after the other as bytes pass. No
//! line and no event is ever held: data goes on as it comes, so its size needs no bound here. Event types are ignored:
//! every format read here names its events in the data.

/// A piece of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// More of the event's data.
    Data(&'a [u8]),
    /// The event is complete.
    End,
}

#[derive(Debug, Default)]
pub(super) struct Events {
    line: Line,
    /// The last byte ended a line as CR: a LF that follows belongs to it.
    after_return: bool,
    begun: bool,
    has_data: bool,
    /// Data lines so far; the second begins with a line feed.
    lines: u64,
}

/// How much of a line was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// So many bytes of a byte order mark, at the very beginning.
    Mark(usize),
    /// So many bytes of `data`.
    Name(usize),
    /// `data` is read, nothing else: a colon, or the end of the line, makes it the field.
    Named,
    /// The colon is read; one space may follow.
    Colon,
    Data,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Line::Name(0)
    }
}

const MARK: &[u8] = b"\xef\xbb\xbf";
const NAME: &[u8] = b"data";

impl Events {
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            if !self.begun {
                self.begun = true;
                self.line = if byte == MARK[0] { Line::Mark(0) } else { Line::Name(0) };
            }
            if std::mem::take(&mut self.after_return) && byte == b'\n' {
                at += 1;
                continue;
            }
            if byte == b'\r' || byte == b'\n' {
                self.after_return = byte == b'\r';
                self.end_line(&mut each);
                at += 1;
                continue;
            }
            match self.line {
                Line::Mark(read) if byte == MARK[read] => {
                    self.line = if read + 1 == MARK.len() { Line::Name(0) } else { Line::Mark(read + 1) };
                }
                Line::Name(read) if byte == NAME[read] => {
                    self.line = if read + 1 == NAME.len() { Line::Named } else { Line::Name(read + 1) };
                }
                Line::Named if byte == b':' => {
                    self.begin_data(&mut each);
                    self.line = Line::Colon;
                }
                Line::Colon if byte == b' ' => self.line = Line::Data,
                Line::Colon | Line::Data => {
                    self.line = Line::Data;
                    let length = memchr::memchr2(b'\r', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
                    each(Piece::Data(&bytes[at..at + length]));
                    at += length;
                    continue;
                }
                Line::Other => {
                    at += memchr::memchr2(b'\r', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
                    continue;
                }
                Line::Mark(_) | Line::Name(_) | Line::Named => self.line = Line::Other,
            }
            at += 1;
        }
    }

    /// The stream ended. The standard drops an event without its blank line; a usage that was told counts all the same.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        if self.line == Line::Named {
            self.begin_data(&mut each);
        }
        if std::mem::take(&mut self.has_data) {
            each(Piece::End);
        }
    }

    fn begin_data(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        self.has_data = true;
        if self.lines > 0 {
            each(Piece::Data(b"\n"));
        }
        self.lines += 1;
    }

    fn end_line(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        match std::mem::take(&mut self.line) {
            Line::Name(0) => {
                self.lines = 0;
                if std::mem::take(&mut self.has_data) {
                    each(Piece::End);
                }
            }
            Line::Named => self.begin_data(each),
            _ => {}
        }
    }
}
