//! A skimmer of JSON: follows the structure of a document as its bytes pass, tells its sink where it is, and keeps only
//! the values the sink wants. Strings are never looked into for structure, so text that looks like JSON stays text. What
//! is no JSON ends the skimming; nothing fails.

use serde_json::Value;

/// Bytes of one wanted value at most; larger ones are passed over.
const MAX_KEPT: usize = 64 * 1024;
/// Containers in containers at most; what is deeper ends the skimming.
const MAX_DEPTH: usize = 64;
/// Bytes of an object's key that are compared; longer keys are nobody's.
const MAX_KEY: usize = 64;

/// What is to be done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// Pass over it.
    Skip,
    /// Ask about each value in it.
    Walk,
    /// Hand it over when it is complete.
    Keep,
    /// Count its bytes: those of a string's text, or of a container as written.
    Measure,
}

/// Who reads the document. Paths look like `.choices[].delta.content`.
pub(super) trait Sink {
    fn interest(&mut self, path: &str) -> Interest;
    fn keep(&mut self, path: &str, value: Value);
    fn measure(&mut self, bytes: u64);
}

#[derive(Debug, Default)]
pub(super) struct Skimmer {
    path: String,
    levels: Vec<Level>,
    lexeme: Lexeme,
    /// What happens to the value the bytes are in, where that is not walked.
    within: Option<Within>,
    key: Vec<u8>,
    kept: Vec<u8>,
    /// Whether the document ended, well or not.
    over: bool,
}

/// One open container that is walked.
#[derive(Debug)]
struct Level {
    is_object: bool,
    /// Whether an object's key comes next.
    wants_key: bool,
    /// Length of the container's own path.
    path: usize,
}

/// A value that is passed over, kept or measured as a whole.
#[derive(Debug)]
struct Within {
    interest: Interest,
    /// Containers open in it.
    depth: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lexeme {
    #[default]
    Structure,
    Key(Text),
    String(Text),
    Scalar,
}

/// Where in a string the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Plain,
    Escape,
    /// So many hexadecimal digits of `\u` to come.
    Hex(u8),
}

impl Skimmer {
    /// Reads on. Every cut of a document into pieces gives the sink the same.
    pub(super) fn push(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let mut at = 0;
        while at < bytes.len() && !self.over {
            at += match self.lexeme {
                Lexeme::Structure => self.structure(bytes[at], sink),
                Lexeme::Scalar => self.scalar(&bytes[at..], sink),
                Lexeme::Key(text) => self.key(text, bytes[at]),
                Lexeme::String(text) => self.string(text, &bytes[at..], sink),
            };
        }
    }

    /// Forgets the document, ready for the next; buffers are kept.
    pub(super) fn reset(&mut self) {
        let Skimmer { path, levels, lexeme, within, key, kept, over } = self;
        path.clear();
        levels.clear();
        key.clear();
        kept.clear();
        (*lexeme, *within, *over) = (Lexeme::Structure, None, false);
    }

    fn structure(&mut self, byte: u8, sink: &mut impl Sink) -> usize {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {
                self.retain(&[byte], sink);
            }
            b'"' if self.within.is_none() && self.levels.last().is_some_and(|level| level.wants_key) => {
                self.key.clear();
                self.lexeme = Lexeme::Key(Text::Plain);
            }
            b'"' => {
                self.begin(sink);
                if self.is_measured_container() {
                    sink.measure(1);
                }
                self.retain_only(&[byte]);
                self.lexeme = Lexeme::String(Text::Plain);
            }
            b'{' | b'[' => self.open(byte, sink),
            b'}' | b']' => self.close(byte, sink),
            b',' | b':' => self.separate(byte, sink),
            _ => {
                self.begin(sink);
                self.lexeme = Lexeme::Scalar;
                return 0;
            }
        }
        1
    }

    /// A value begins: finds its path and asks what to do with it.
    fn begin(&mut self, sink: &mut impl Sink) {
        if self.within.is_some() {
            return;
        }
        if let Some(level) = self.levels.last()
            && !level.is_object
        {
            self.path.truncate(level.path);
            self.path.push_str("[]");
        }
        self.kept.clear();
        self.within = Some(Within { interest: sink.interest(&self.path), depth: 0 });
    }

    fn open(&mut self, byte: u8, sink: &mut impl Sink) {
        self.begin(sink);
        self.retain(&[byte], sink);
        let Some(within) = &mut self.within else { return };
        if within.interest != Interest::Walk {
            within.depth += 1;
            if within.depth == 1 && within.interest == Interest::Measure {
                sink.measure(1);
            }
            return;
        }
        self.within = None;
        if self.levels.len() == MAX_DEPTH {
            self.over = true;
            return;
        }
        let is_object = byte == b'{';
        self.levels.push(Level { is_object, wants_key: is_object, path: self.path.len() });
    }

    fn close(&mut self, byte: u8, sink: &mut impl Sink) {
        self.retain(&[byte], sink);
        if let Some(within) = &mut self.within {
            within.depth = within.depth.saturating_sub(1);
            if within.depth == 0 {
                self.end(sink);
            }
            return;
        }
        match self.levels.pop() {
            Some(level) if level.is_object == (byte == b'}') => {
                self.path.truncate(level.path);
                self.over = self.levels.is_empty();
            }
            _ => self.over = true,
        }
    }

    fn separate(&mut self, byte: u8, sink: &mut impl Sink) {
        if self.within.is_some() {
            self.retain(&[byte], sink);
        } else if let Some(level) = self.levels.last_mut() {
            level.wants_key = level.is_object && byte == b',';
        } else {
            self.over = true;
        }
    }

    /// The value the bytes are in is complete.
    fn end(&mut self, sink: &mut impl Sink) {
        let Some(within) = self.within.take() else { return };
        if within.interest == Interest::Keep
            && let Ok(value) = serde_json::from_slice(&self.kept)
        {
            sink.keep(&self.path, value);
        }
        self.kept.clear();
        self.over = self.levels.is_empty();
    }

    fn scalar(&mut self, bytes: &[u8], sink: &mut impl Sink) -> usize {
        let ends =
            |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b',' | b':' | b']' | b'}' | b'[' | b'{' | b'"');
        let length = bytes.iter().position(ends).unwrap_or(bytes.len());
        self.retain(&bytes[..length], sink);
        if length < bytes.len() {
            self.lexeme = Lexeme::Structure;
            if self.within.as_ref().is_some_and(|within| within.depth == 0) {
                self.end(sink);
            }
        }
        length
    }

    fn key(&mut self, text: Text, byte: u8) -> usize {
        let next = match (text, byte) {
            (Text::Plain, b'"') => {
                if let Some(level) = self.levels.last_mut() {
                    level.wants_key = false;
                    self.path.truncate(level.path);
                    self.path.push('.');
                    self.path.push_str(own_word(&self.key));
                }
                Lexeme::Structure
            }
            (Text::Plain, b'\\') => Lexeme::Key(Text::Escape),
            _ => Lexeme::Key(Text::Plain),
        };
        if self.key.len() <= MAX_KEY {
            self.key.push(byte);
        }
        self.lexeme = next;
        1
    }

    fn string(&mut self, text: Text, bytes: &[u8], sink: &mut impl Sink) -> usize {
        let (length, measured, next) = match text {
            Text::Plain => match memchr::memchr2(b'"', b'\\', bytes) {
                Some(0) if bytes[0] == b'"' => (1, 0, Lexeme::Structure),
                Some(0) => (1, 0, Lexeme::String(Text::Escape)),
                Some(length) => (length, length as u64, Lexeme::String(Text::Plain)),
                None => (bytes.len(), bytes.len() as u64, Lexeme::String(Text::Plain)),
            },
            // Escaped characters beyond ASCII are three bytes in most scripts that are written so.
            Text::Escape if bytes[0] == b'u' => (1, 3, Lexeme::String(Text::Hex(4))),
            Text::Escape => (1, 1, Lexeme::String(Text::Plain)),
            Text::Hex(1) => (1, 0, Lexeme::String(Text::Plain)),
            Text::Hex(digits) => (1, 0, Lexeme::String(Text::Hex(digits - 1))),
        };
        self.lexeme = next;
        self.retain_only(&bytes[..length]);
        let is_whole_value = self.within.as_ref().is_some_and(|within| within.depth == 0);
        if self.is_measured_container() {
            sink.measure(length as u64);
        } else if is_whole_value && self.is(Interest::Measure) {
            sink.measure(measured);
        }
        if next == Lexeme::Structure && is_whole_value {
            self.end(sink);
        }
        length
    }

    fn is(&self, interest: Interest) -> bool {
        self.within.as_ref().is_some_and(|within| within.interest == interest)
    }

    fn is_measured_container(&self) -> bool {
        self.is(Interest::Measure) && self.within.as_ref().is_some_and(|within| within.depth > 0)
    }

    /// Keeps or counts bytes outside strings, as the value they are in wants it.
    fn retain(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        if self.is_measured_container() {
            sink.measure(bytes.len() as u64);
        }
        self.retain_only(bytes);
    }

    fn retain_only(&mut self, bytes: &[u8]) {
        if !self.is(Interest::Keep) {
            return;
        }
        if self.kept.len() + bytes.len() <= MAX_KEPT {
            self.kept.extend_from_slice(bytes);
        } else if let Some(within) = &mut self.within {
            within.interest = Interest::Skip;
        }
    }
}

/// A key as part of a path. Keys that could be taken for more than one step of a path, escaped ones among them, are
/// nobody's.
fn own_word(key: &[u8]) -> &str {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    match std::str::from_utf8(key) {
        Ok(word) if word.len() <= MAX_KEY && key.iter().all(is_plain) => word,
        _ => "?",
    }
}
