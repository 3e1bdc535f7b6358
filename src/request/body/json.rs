//! A JSON tokeniser over bytes in memory (RFC 8259). It checks the whole grammar, builds nothing and keeps its own
//! stack, so that neither depth nor size of a document can hurt; what it refuses, it refuses with a [`Fault`].

use std::borrow::Cow;

use memchr::memchr2;
use smallvec::SmallVec;

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends before it is complete. The only fault that a cut body has.
    Cut,
    /// It breaks the grammar: what was found, and at which byte.
    Syntax(&'static str, usize),
    /// It is nested deeper than allowed.
    Depth(usize),
    /// An object that is read holds a key twice.
    Duplicate,
    /// It is valid JSON, but not what a request can say.
    Unfit(&'static str),
}

/// A string between its quotes, escapes not yet resolved.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    pub raw: &'a str,
    escaped: bool,
    /// Length in UTF-8 once escapes are resolved.
    pub len: usize,
}

/// One step through a document.
#[derive(Clone, Copy, Debug)]
pub enum Token<'a> {
    Object,
    Array,
    /// The end of the innermost object or array.
    Close,
    Key(Text<'a>),
    Text(Text<'a>),
    Number(&'a str),
    Bool(bool),
    Null,
}

/// Reads a document token by token.
pub struct Tokens<'a> {
    text: &'a str,
    at: usize,
    start: usize,
    expect: Expect,
    /// One entry an open container: whether it is an object.
    open: SmallVec<[bool; 64]>,
    max_depth: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    CommaOrClose,
    Nothing,
}

impl<'a> Text<'a> {
    /// The string itself. An unpaired surrogate is a fault: readers disagree about what it means.
    pub fn decode(&self) -> Result<Cow<'a, str>, Fault> {
        if !self.escaped {
            return Ok(Cow::Borrowed(self.raw));
        }
        let mut out = String::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(slash) = rest.find('\\') {
            out.push_str(&rest[..slash]);
            let (character, used) = escape(rest.get(slash + 1..).unwrap_or_default())?;
            out.push(character);
            rest = rest.get(slash + 1 + used..).unwrap_or_default();
        }
        out.push_str(rest);
        Ok(Cow::Owned(out))
    }

    /// The string where it holds no escapes; what no ASCII word equals otherwise.
    pub fn plain(&self) -> &'a str {
        if self.escaped { "" } else { self.raw }
    }

    pub fn is_escaped(&self) -> bool {
        self.escaped
    }
}

/// The character an escape stands for, and the bytes it takes after its backslash.
fn escape(rest: &str) -> Result<(char, usize), Fault> {
    const LONE: Fault = Fault::Unfit("a string holds an unpaired surrogate");
    let bytes = rest.as_bytes();
    let simple = match bytes.first() {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let high = hex4(bytes, 1).ok_or(LONE)?;
            return match high {
                0xd800..=0xdbff => {
                    let low = if bytes.get(5..7) == Some(b"\\u") { hex4(bytes, 7) } else { None };
                    let low = low.filter(|low| (0xdc00..=0xdfff).contains(low)).ok_or(LONE)?;
                    let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                    Ok((char::from_u32(code).ok_or(LONE)?, 11))
                }
                _ => Ok((char::from_u32(high).ok_or(LONE)?, 5)),
            };
        }
        _ => return Err(LONE),
    };
    Ok((simple, 1))
}

fn hex4(bytes: &[u8], from: usize) -> Option<u32> {
    let digits = bytes.get(from..from + 4)?;
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

impl<'a> Tokens<'a> {
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        Tokens { text, at: 0, start: 0, expect: Expect::Value, open: SmallVec::new(), max_depth }
    }

    /// Offset of the first byte of the last token.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Offset behind the last token (behind the colon after a key).
    pub fn end(&self) -> usize {
        self.at
    }

    /// How many containers are open.
    pub fn depth(&self) -> usize {
        self.open.len()
    }

    /// The next token; `None` behind a complete document.
    pub fn next(&mut self) -> Result<Option<Token<'a>>, Fault> {
        loop {
            self.skip_space();
            self.start = self.at;
            let Some(byte) = self.peek() else {
                return if self.expect == Expect::Nothing { Ok(None) } else { Err(Fault::Cut) };
            };
            return match (self.expect, byte) {
                (Expect::KeyOrClose, b'}') | (Expect::ValueOrClose, b']') => self.close(),
                (Expect::CommaOrClose, b'}') if self.open.last() == Some(&true) => self.close(),
                (Expect::CommaOrClose, b']') if self.open.last() == Some(&false) => self.close(),
                (Expect::CommaOrClose, b',') => {
                    self.at += 1;
                    self.expect = if self.open.last() == Some(&true) { Expect::Key } else { Expect::Value };
                    continue;
                }
                (Expect::Key | Expect::KeyOrClose, b'"') => {
                    let key = self.string()?;
                    self.skip_space();
                    match self.peek() {
                        Some(b':') => self.at += 1,
                        Some(_) => return Err(Fault::Syntax("a key without a colon", self.at)),
                        None => return Err(Fault::Cut),
                    }
                    self.expect = Expect::Value;
                    Ok(Some(Token::Key(key)))
                }
                (Expect::Value | Expect::ValueOrClose, byte) => self.value(byte).map(Some),
                (Expect::Nothing, _) => Err(Fault::Syntax("text behind the document", self.at)),
                _ => Err(Fault::Syntax("an unexpected character", self.at)),
            };
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn close(&mut self) -> Result<Option<Token<'a>>, Fault> {
        self.at += 1;
        self.open.pop();
        self.after_value();
        Ok(Some(Token::Close))
    }

    fn after_value(&mut self) {
        self.expect = if self.open.is_empty() { Expect::Nothing } else { Expect::CommaOrClose };
    }

    fn value(&mut self, byte: u8) -> Result<Token<'a>, Fault> {
        let token = match byte {
            b'{' | b'[' => {
                if self.open.len() >= self.max_depth {
                    return Err(Fault::Depth(self.max_depth));
                }
                self.at += 1;
                self.open.push(byte == b'{');
                let (expect, token) = if byte == b'{' {
                    (Expect::KeyOrClose, Token::Object)
                } else {
                    (Expect::ValueOrClose, Token::Array)
                };
                self.expect = expect;
                return Ok(token);
            }
            b'"' => Token::Text(self.string()?),
            b't' => self.word("true", Token::Bool(true))?,
            b'f' => self.word("false", Token::Bool(false))?,
            b'n' => self.word("null", Token::Null)?,
            b'-' | b'0'..=b'9' => Token::Number(self.number()?),
            _ => return Err(Fault::Syntax("an unexpected character", self.at)),
        };
        self.after_value();
        Ok(token)
    }

    fn word(&mut self, word: &'static str, token: Token<'a>) -> Result<Token<'a>, Fault> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(token)
        } else if word.as_bytes().starts_with(rest) {
            Err(Fault::Cut)
        } else {
            Err(Fault::Syntax("an unexpected word", self.at))
        }
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        match self.peek() {
            _ if self.at > from => Ok(()),
            None => Err(Fault::Cut),
            Some(_) => Err(Fault::Syntax("a number without digits", self.at)),
        }
    }

    fn number(&mut self) -> Result<&'a str, Fault> {
        let from = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return Err(Fault::Syntax("a number with a leading zero", self.at));
            }
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        // More digits may stand behind the cut.
        if self.peek().is_none() && !self.open.is_empty() {
            return Err(Fault::Cut);
        }
        Ok(self.text.get(from..self.at).unwrap_or_default())
    }

    fn string(&mut self) -> Result<Text<'a>, Fault> {
        let bytes = self.text.as_bytes();
        let from = self.at + 1;
        if let Some(length) = short_plain(bytes.get(from..).unwrap_or_default()) {
            self.at = from + length + 1;
            let raw = self.text.get(from..from + length).unwrap_or_default();
            return Ok(Text { raw, escaped: false, len: length });
        }
        let mut at = from;
        let mut saved = 0;
        let mut escaped = false;
        loop {
            let Some(found) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) else {
                return Err(Fault::Cut);
            };
            at += found;
            if bytes.get(at) == Some(&b'"') {
                break;
            }
            escaped = true;
            match bytes.get(at + 1) {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                    saved += 1;
                    at += 2;
                }
                Some(b'u') => {
                    let Some(code) = hex4(bytes, at + 2) else {
                        return Err(if bytes.len() < at + 6 && bytes[at + 2..].iter().all(u8::is_ascii_hexdigit) {
                            Fault::Cut
                        } else {
                            Fault::Syntax("an unknown escape", at)
                        });
                    };
                    // Half of a surrogate pair stands for two of the four bytes of its character.
                    saved += match code {
                        0..0x80 => 5,
                        0x80..0x800 | 0xd800..0xe000 => 4,
                        _ => 3,
                    };
                    at += 6;
                }
                Some(_) => return Err(Fault::Syntax("an unknown escape", at)),
                None => return Err(Fault::Cut),
            }
        }
        let raw = self.text.get(from..at).ok_or(Fault::Syntax("a broken character", at))?;
        // One pass without branches, which compilers turn into vector instructions.
        if raw.as_bytes().iter().fold(false, |found, byte| found | (*byte < 0x20)) {
            return Err(Fault::Syntax("a control character in a string", from));
        }
        self.at = at + 1;
        Ok(Text { raw, escaped, len: raw.len().saturating_sub(saved) })
    }
}

/// Whether the object `object` of a document, or one that is written in a string there, holds this member. What is no JSON
/// holds nothing; a document that is cut off, what stands before the cut.
pub fn holds_member(text: &str, object: &str, member: &str) -> bool {
    let mut tokens = Tokens::new(text, usize::MAX);
    let mut is_inside = false;
    while let Ok(Some(token)) = tokens.next() {
        match token {
            Token::Key(key) if tokens.depth() == 1 => is_inside = key.decode().is_ok_and(|key| key == object),
            Token::Key(key) if tokens.depth() == 2 && is_inside && key.decode().is_ok_and(|key| key == member) => {
                return true;
            }
            Token::Text(text) if tokens.depth() == 1 && is_inside => {
                return text.decode().is_ok_and(|text| holds_key(&text, member));
            }
            _ => {}
        }
    }
    false
}

/// Whether a document is an object that holds this key.
pub fn holds_key(text: &str, member: &str) -> bool {
    let mut tokens = Tokens::new(text, usize::MAX);
    let mut found = false;
    loop {
        match tokens.next() {
            Ok(Some(Token::Key(key))) if tokens.depth() == 1 => {
                found |= key.decode().is_ok_and(|key| key == member);
            }
            Ok(Some(_)) => {}
            Ok(None) => return found,
            Err(_) => return false,
        }
    }
}

/// The length of a string that ends within the first 32 bytes and holds neither escapes nor control characters, as keys
/// and names are: eight bytes are looked at at once.
fn short_plain(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    for (at, chunk) in bytes.as_chunks::<8>().0.iter().take(4).enumerate() {
        let word = u64::from_le_bytes(*chunk);
        // The highest bit of the first byte that is the wanted one; bytes above it may be marked wrongly.
        let equal = |byte: u8| {
            let differs = word ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs & HIGH
        };
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let quote = equal(b'"');
        let stop = quote | equal(b'\\') | control;
        if stop != 0 {
            let first = stop.trailing_zeros();
            return (quote >> first & 1 == 1).then_some(at * 8 + first as usize / 8);
        }
    }
    None
}
