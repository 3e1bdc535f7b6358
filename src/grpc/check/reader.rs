//! Reads a `CheckRequest` in place: one walk over its bytes yields an [`HttpRequest`] that borrows from them, without maps
//! and without copies. What is not protobuf of this shape is refused; no length is trusted, nothing is unbounded.

mod names;

use std::net::{IpAddr, Ipv4Addr};

use crate::request::{Headers, HttpRequest};

/// Header fields one request may have; Envoy's own default is 100.
const MAX_HEADERS: usize = 1_024;
/// Entries `context_extensions` may have.
const MAX_EXTENSIONS: usize = 256;

/// What a check asks about.
#[derive(Debug)]
pub enum Subject<'a> {
    Http(Box<HttpRequest<'a>>),
    /// A bare connection (Envoy's network filter): there is no `request.http`.
    Connection,
}

/// Why a message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("the message ends in the middle of a field")]
    Truncated,
    #[error("a number is longer than 64 bits")]
    Varint,
    #[error("a field has number 0 or a wire type that does not exist")]
    Tag,
    #[error("field {0} does not have the wire type of its definition")]
    WireType(u32),
    #[error("field {0} is not UTF-8")]
    Utf8(u32),
    #[error("header names must be lower case, as HTTP/2 has them")]
    HeaderName,
    #[error("more than {MAX_HEADERS} header fields")]
    TooManyHeaders,
    #[error("more than {MAX_EXTENSIONS} context extensions")]
    TooManyExtensions,
}

impl Malformed {
    /// Whether a client can bring it about through an Envoy that is in order: by the bytes of its path, or by many headers.
    pub fn is_of_the_request(self) -> bool {
        matches!(self, Malformed::Utf8(_) | Malformed::TooManyHeaders)
    }
}

type Result<T> = std::result::Result<T, Malformed>;

/// Reads one message; `gateway` is the peer that sent it.
pub fn read(message: &[u8], gateway: IpAddr) -> Result<Subject<'_>> {
    let mut found = Found::default();
    for field in Fields(message) {
        if let (1, value) = field? {
            found.attributes(value.message(1)?)?;
        }
    }
    if !found.has_http {
        return Ok(Subject::Connection);
    }
    Ok(Subject::Http(Box::new(HttpRequest {
        method: found.method,
        path: found.path,
        headers: Headers(if found.has_header_map { found.header_map } else { found.headers }),
        body: Some(if found.raw_body.is_empty() { found.body } else { found.raw_body }).filter(|body| !body.is_empty()),
        source: address(found.source),
        source_principal: found.principal,
        extensions: found.extensions,
        gateway,
    })))
}

type HeaderFields<'a> = Vec<(&'a str, &'a [u8])>;

/// What was met so far. A message field that occurs twice is merged, a value that occurs twice is the last, as protobuf
/// has it. A map written by a protobuf library has no key twice; where a sender writes one so, both stay.
#[derive(Default)]
struct Found<'a> {
    has_http: bool,
    has_header_map: bool,
    method: &'a str,
    path: &'a str,
    headers: HeaderFields<'a>,
    header_map: HeaderFields<'a>,
    body: &'a [u8],
    raw_body: &'a [u8],
    source: &'a str,
    principal: &'a str,
    extensions: Vec<(&'a str, &'a str)>,
}

impl<'a> Found<'a> {
    fn attributes(&mut self, message: &'a [u8]) -> Result<()> {
        for field in Fields(message) {
            match field? {
                (1, value) => self.source(value.message(1)?)?,
                (4, value) => self.request(value.message(4)?)?,
                (10, value) => {
                    let (key, entry) = entry(value.message(10)?, |key| text(1, key))?;
                    if self.extensions.len() >= MAX_EXTENSIONS {
                        return Err(Malformed::TooManyExtensions);
                    }
                    self.extensions.push((key, text(2, entry)?));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// `AttributeContext.Peer`.
    fn source(&mut self, message: &'a [u8]) -> Result<()> {
        for field in Fields(message) {
            match field? {
                (1, value) => self.address(value.message(1)?)?,
                (4, value) => self.principal = value.text(4)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `Address`, of which only `socket_address.address` is of interest.
    fn address(&mut self, message: &'a [u8]) -> Result<()> {
        for field in Fields(message) {
            match field? {
                (1, value) => {
                    for field in Fields(value.message(1)?) {
                        if let (2, value) = field? {
                            self.source = value.text(2)?;
                        }
                    }
                }
                // Another kind of address in the same `oneof` takes the place of the first.
                (2 | 3, _) => self.source = "",
                _ => {}
            }
        }
        Ok(())
    }

    fn request(&mut self, message: &'a [u8]) -> Result<()> {
        for field in Fields(message) {
            if let (2, value) = field? {
                self.has_http = true;
                self.http(value.message(2)?)?;
            }
        }
        Ok(())
    }

    fn http(&mut self, message: &'a [u8]) -> Result<()> {
        for field in Fields(message) {
            match field? {
                (2, value) => self.method = value.text(2)?,
                (3, value) => {
                    let (name, value) = entry(value.message(3)?, header_name)?;
                    push_header(&mut self.headers, name, value)?;
                }
                (4, value) => self.path = value.text(4)?,
                (11, value) => self.body = value.message(11)?,
                (12, value) => self.raw_body = value.message(12)?,
                (13, value) => {
                    self.has_header_map = true;
                    self.header_map(value.message(13)?)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn header_map(&mut self, message: &'a [u8]) -> Result<()> {
        for field in Fields(message) {
            if let (1, value) = field? {
                let (mut name, mut plain, mut raw) = ("", &[][..], &[][..]);
                for field in Fields(value.message(1)?) {
                    match field? {
                        (1, value) => name = header_name(value.message(1)?)?,
                        (2, value) => plain = value.message(2)?,
                        (3, value) => raw = value.message(3)?,
                        _ => {}
                    }
                }
                push_header(&mut self.header_map, name, if raw.is_empty() { plain } else { raw })?;
            }
        }
        Ok(())
    }
}

fn push_header<'a>(headers: &mut HeaderFields<'a>, name: &'a str, value: &'a [u8]) -> Result<()> {
    if headers.len() >= MAX_HEADERS {
        return Err(Malformed::TooManyHeaders);
    }
    if headers.is_empty() {
        headers.reserve(24);
    }
    headers.push((name, value));
    Ok(())
}

fn header_name(bytes: &[u8]) -> Result<&str> {
    if let Some(known) = names::known(bytes) {
        return Ok(known);
    }
    let name = text(1, bytes)?;
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { Err(Malformed::HeaderName) } else { Ok(name) }
}

/// An entry of a `map<string, string>`; the value is not checked for UTF-8.
fn entry<'a>(message: &'a [u8], read_key: impl Fn(&'a [u8]) -> Result<&'a str>) -> Result<(&'a str, &'a [u8])> {
    let (mut key, mut value) = ("", &[][..]);
    for field in Fields(message) {
        match field? {
            (1, found) => key = read_key(found.message(1)?)?,
            (2, found) => value = found.message(2)?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// An address without its zone (`fe80::1%eth0`); IPv4 inside IPv6 is IPv4.
fn address(found: &str) -> Option<IpAddr> {
    let bare = found.split_once('%').map_or(found, |(bare, _)| bare);
    match bare.parse::<IpAddr>().ok()? {
        IpAddr::V6(v6) => Some(v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), |v4: Ipv4Addr| IpAddr::V4(v4))),
        v4 => Some(v4),
    }
}

fn text(number: u32, bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Utf8(number))
}

/// The value of one field.
#[derive(Clone, Copy)]
enum Value<'a> {
    Bytes(&'a [u8]),
    Number,
}

impl<'a> Value<'a> {
    fn message(self, number: u32) -> Result<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Number => Err(Malformed::WireType(number)),
        }
    }

    fn text(self, number: u32) -> Result<&'a str> {
        text(number, self.message(number)?)
    }
}

/// The fields of one message, in order. After an error it yields nothing more.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// A number. Tags and lengths are one byte nearly always.
    #[inline]
    fn varint(&mut self) -> Result<u64> {
        match self.0 {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[cold]
    fn long_varint(&mut self) -> Result<u64> {
        let mut number = 0u64;
        for (index, &byte) in self.0.iter().take(10).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if index == 9 && bits > 1 {
                return Err(Malformed::Varint);
            }
            number |= bits << (7 * index);
            if byte < 0x80 {
                self.0 = &self.0[index + 1..];
                return Ok(number);
            }
        }
        Err(if self.0.len() < 10 { Malformed::Truncated } else { Malformed::Varint })
    }

    #[inline]
    fn take(&mut self, length: u64) -> Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| Malformed::Truncated)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Value<'a>)> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed::Tag)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Malformed::Tag);
        }
        let value = match tag & 7 {
            0 => {
                self.varint()?;
                Value::Number
            }
            1 => {
                self.take(8)?;
                Value::Number
            }
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Number
            }
            // Groups (3 and 4) do not exist in proto3.
            _ => return Err(Malformed::Tag),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests;
