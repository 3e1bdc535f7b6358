//! Forms: `multipart/form-data` (RFC 7578) and `application/x-www-form-urlencoded`. They say what a JSON body says, so
//! their members go the same way; a member that is read and stands twice is refused, and so is what some readers of forms
//! take for the end of a part, of a member or of a name, and others do not.

use std::borrow::Cow;

use memchr::memmem;

use super::super::query::form_decode;
use super::extract::{Extract, MISSPELT, Scalar};
use super::json::{self, Fault};
use super::place::Place;
use super::{BodyView, caps};
use crate::domain::{Api, PromptSize};

/// Members a form may have.
const MAX_MEMBERS: usize = 512;
/// Longest boundary (RFC 2046, section 5.1.1).
const MAX_BOUNDARY: usize = 70;
/// Bytes a part's header fields may have.
const MAX_PART_HEADERS: usize = 8 * 1024;

/// Reads an `application/x-www-form-urlencoded` body.
///
/// # Errors
/// A [`Fault`] where a member cannot be decoded or stands twice, or where the body looks like JSON: a server that does
/// not look at the content type would read another request.
pub fn urlencoded(bytes: &[u8], api: Api, max_depth: usize) -> Result<BodyView<'static>, Fault> {
    let mut form = Form::new(bytes.len());
    let mut extract = Extract::form(api, max_depth);
    let pairs = pairs(bytes)?;
    for (name, value) in &pairs {
        form.member(&mut extract, name, value)?;
    }
    Ok(extract.finish(form.size).into_owned())
}

/// Whether a member of this name stands in the object `object` of an `application/x-www-form-urlencoded` body.
pub fn urlencoded_holds(bytes: &[u8], object: &str, member: &str) -> bool {
    pairs(bytes).is_ok_and(|pairs| pairs.iter().any(|(name, value)| holds(name, value, object, member)))
}

/// The members of an `application/x-www-form-urlencoded` body, decoded.
fn pairs(bytes: &[u8]) -> Result<Vec<(Cow<'_, str>, Cow<'_, str>)>, Fault> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| Fault::Syntax("bytes that are not UTF-8", error.valid_up_to()))?;
    if let Some(b'{' | b'[') = text.trim_start().as_bytes().first() {
        return Err(Fault::Unfit("it says it is a form and looks like JSON"));
    }
    // Between members, too, to older readers; browsers write `%3B`.
    if text.contains(';') {
        return Err(Fault::Unfit("a form holds a semicolon that is not percent-encoded"));
    }
    let mut decoded = Vec::new();
    for member in text.split('&').filter(|member| !member.is_empty()) {
        let (name, value) = member.split_once('=').unwrap_or((member, ""));
        let pair =
            form_decode(name).zip(form_decode(value)).ok_or(Fault::Unfit("a member of the form is not decodable"))?;
        if decoded.len() >= MAX_MEMBERS {
            return Err(Fault::Unfit("the form has too many members"));
        }
        decoded.push(pair);
    }
    Ok(decoded)
}

/// Reads a `multipart/form-data` body with the parameters of its content type.
///
/// # Errors
/// A [`Fault`] where the boundary is missing or the body does not begin and end with it, a part has no name, or a member
/// stands twice.
pub fn multipart<'a>(bytes: &'a [u8], content_type: &str, api: Api, max_depth: usize) -> Result<BodyView<'a>, Fault> {
    let mut form = Form::new(bytes.len());
    let mut extract = Extract::form(api, max_depth);
    parts(bytes, content_type, |part| form.part(&mut extract, &part))?;
    Ok(extract.finish(form.size))
}

/// Whether a member of this name stands in the object `object` of a `multipart/form-data` body.
pub fn multipart_holds(bytes: &[u8], content_type: &str, object: &str, member: &str) -> bool {
    let mut found = false;
    let read = parts(bytes, content_type, |part| {
        let text = std::str::from_utf8(part.content).unwrap_or_default();
        found |= part.file.is_none() && holds(part.name, text, object, member);
        Ok(())
    });
    read.is_ok() && found
}

/// Gives each part of a multipart form in turn.
fn parts<'a>(
    bytes: &'a [u8],
    content_type: &str,
    mut each: impl FnMut(Part<'a>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let boundary = boundary(content_type).ok_or(Fault::Unfit("the form has no boundary"))?;
    let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
    let finder = memmem::Finder::new(&delimiter);
    let within = memmem::Finder::new(delimiter.get(2..).unwrap_or_default());
    // Nothing may stand before the first boundary: a reader of JSON would take it for the body.
    let mut rest = bytes
        .strip_prefix(delimiter.get(2..).unwrap_or_default())
        .ok_or(Fault::Unfit("the form does not begin with its boundary"))?;
    let mut members = 0;
    loop {
        if let Some(epilogue) = rest.strip_prefix(b"--") {
            if epilogue.trim_ascii().is_empty() {
                return Ok(());
            }
            return Err(Fault::Unfit("text follows the form"));
        }
        rest = rest.strip_prefix(b"\r\n").ok_or(Fault::Unfit("a boundary of the form is broken"))?;
        members += 1;
        if members > MAX_MEMBERS {
            return Err(Fault::Unfit("the form has too many members"));
        }
        let end = finder.find(rest).ok_or(Fault::Cut)?;
        let (part, after) = rest.split_at(end);
        // Some readers need no line break before a boundary, or are content with half of one. Nobody who chooses a
        // boundary chooses one that stands in a part (RFC 2046, section 5.1.1).
        if within.find(part).is_some() {
            return Err(Fault::Unfit("a part of the form holds the boundary"));
        }
        rest = after.get(delimiter.len()..).unwrap_or_default();
        each(Part::read(part)?)?;
    }
}

/// Whether a text member says that the object holds this member: `object[member]`, or an object in JSON.
fn holds(name: &str, value: &str, object: &str, member: &str) -> bool {
    match bracketed(name.trim_end_matches("[]")) {
        Some((outer, inner)) => outer == object && inner == member,
        None => name == object && json::holds_key(value, member),
    }
}

/// `object[member]`.
fn bracketed(name: &str) -> Option<(&str, &str)> {
    let (object, member) = name.split_once('[')?;
    Some((object, member.strip_suffix(']')?))
}

/// One part of a multipart form.
struct Part<'a> {
    name: &'a str,
    file: Option<&'a str>,
    media: &'a str,
    content: &'a [u8],
}

/// A form as it is read.
struct Form {
    size: PromptSize,
    /// Names of the members seen.
    names: Vec<String>,
}

impl Form {
    fn new(len: usize) -> Self {
        Form { size: PromptSize { body_bytes: len as u64, ..PromptSize::default() }, names: Vec::new() }
    }

    /// Takes a member that is text.
    fn member<'a>(&mut self, extract: &mut Extract<'a>, name: &'a str, value: &'a str) -> Result<(), Fault> {
        self.size.text_bytes = self.size.text_bytes.saturating_add(value.len() as u64);
        // `name[]` is a list, of which each member is one.
        if name.ends_with("[]") {
            let list = name.trim_end_matches("[]");
            return if Place::Body.is_model(list) { Err(Fault::Duplicate) } else { self.listed(extract, list, value) };
        }
        if self.names.iter().any(|seen| seen == name) {
            return Err(Fault::Duplicate);
        }
        self.names.push(name.to_owned());
        if let Some((object, inner)) = bracketed(name) {
            extract.note(object);
            return match Place::Body.within(object, true) {
                Some(place) => extract.member(place, inner, scalar(value)),
                None if Place::Body.meant(object).is_some() => Err(MISSPELT),
                None => Ok(()),
            };
        }
        extract.member(Place::Body, name, scalar(value))
    }

    fn listed<'a>(&mut self, extract: &mut Extract<'a>, list: &'a str, value: &'a str) -> Result<(), Fault> {
        extract.note(bracketed(list).map_or(list, |(object, _)| object));
        let (place, name) = match bracketed(list) {
            Some((object, inner)) => match Place::Body.within(object, true) {
                Some(place) => (place, inner),
                None => return Ok(()),
            },
            None => (Place::Body, list),
        };
        match place.within(name, false) {
            Some(list) => extract.member(list, "", Scalar::Text(Cow::Borrowed(value))),
            None => Ok(()),
        }
    }

    fn part<'a>(&mut self, extract: &mut Extract<'a>, part: &Part<'a>) -> Result<(), Fault> {
        let Some(file) = part.file else {
            let text = std::str::from_utf8(part.content)
                .map_err(|_| Fault::Unfit("a member of the form is text and not UTF-8"))?;
            return self.member(extract, part.name, text);
        };
        if is_read(part.name) {
            return Err(Fault::Unfit("a member of the form that is a parameter is sent as a file"));
        }
        let len = part.content.len() as u64;
        let size = &mut self.size;
        size.media_bytes = size.media_bytes.saturating_add(len);
        let extension = file.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        const AUDIO: &[&str] =
            &["mp3", "mp4", "mpeg", "mpga", "m4a", "wav", "webm", "ogg", "oga", "opus", "flac", "aac", "aiff", "amr"];
        if part.media.starts_with("image/") || matches!(part.name, "image" | "image[]" | "mask") {
            size.images = size.images.saturating_add(1);
        } else if part.media.starts_with("audio/")
            || part.media.starts_with("video/")
            || AUDIO.contains(&extension.as_str())
        {
            size.audio_bytes = size.audio_bytes.saturating_add(len);
        } else {
            size.file_bytes = size.file_bytes.saturating_add(len);
        }
        Ok(())
    }
}

/// Whether a member of this name would be read if it were text.
fn is_read(name: &str) -> bool {
    let name = name.split('[').next().unwrap_or_default();
    Place::Body.reads(name) || caps::is_cap(name) || Place::Body.meant(name).is_some()
}

fn scalar(value: &str) -> Scalar<'_> {
    match value {
        "true" | "True" => Scalar::Bool(true),
        "false" | "False" => Scalar::Bool(false),
        _ => Scalar::Text(Cow::Borrowed(value)),
    }
}

/// The boundary a content type names, of the characters that RFC 2046 gives it but for the space.
fn boundary(content_type: &str) -> Option<&str> {
    // With `boundary*` and `boundary*0` (RFC 2231), which some readers know and take first.
    let mut found = content_type.split(';').skip(1).filter_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        let (name, extension) = name.trim().split_once('*').map_or((name.trim(), None), |(name, of)| (name, Some(of)));
        name.eq_ignore_ascii_case("boundary").then_some((value.trim(), extension))
    });
    let (value, None) = found.next()? else { return None };
    let boundary = match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"')?,
        None => value,
    };
    let is_usable = !boundary.is_empty()
        && boundary.len() <= MAX_BOUNDARY
        && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte))
        && found.next().is_none();
    is_usable.then_some(boundary)
}

impl<'a> Part<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        const BROKEN: Fault = Fault::Unfit("a part of the form has no readable header");
        let end = memmem::find(bytes, b"\r\n\r\n").filter(|end| *end <= MAX_PART_HEADERS).ok_or(BROKEN)?;
        let (head, content) = bytes.split_at(end);
        let head = std::str::from_utf8(head).map_err(|_| BROKEN)?;
        // A reader that is content with one of the two would see more fields, or more of the content.
        if head.replace("\r\n", "").contains(['\r', '\n']) {
            return Err(BROKEN);
        }
        let mut disposition = None;
        let mut media = "";
        for field in head.split("\r\n") {
            let (name, value) = field.split_once(':').ok_or(BROKEN)?;
            // What begins with a space goes on with the line before it.
            if name.contains([' ', '\t']) {
                return Err(BROKEN);
            }
            if name.eq_ignore_ascii_case("content-disposition") {
                if disposition.replace(value.trim()).is_some() {
                    return Err(BROKEN);
                }
            } else if name.eq_ignore_ascii_case("content-type") {
                media = value.trim();
            } else if name.eq_ignore_ascii_case("content-transfer-encoding")
                && !["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain))
            {
                return Err(Fault::Unfit("a part of the form has a transfer encoding"));
            }
        }
        let disposition = disposition.ok_or(BROKEN)?;
        let mut name = None;
        let mut file = None;
        for (parameter, value) in parameters(disposition).ok_or(BROKEN)? {
            let slot = match () {
                () if parameter.eq_ignore_ascii_case("name") => &mut name,
                () if parameter.eq_ignore_ascii_case("filename") => &mut file,
                () if parameter.eq_ignore_ascii_case("filename*") => {
                    file = file.or(Some(value));
                    continue;
                }
                // RFC 7578, section 4.2: no extended form of `name`, nor one in pieces (`name*0`, RFC 2231); a reader
                // that knows them sees another member, or a file.
                () if parameter.contains('*') => return Err(BROKEN),
                () => continue,
            };
            if slot.replace(value).is_some() {
                return Err(BROKEN);
            }
        }
        Ok(Part { name: name.ok_or(BROKEN)?, file, media, content: content.get(4..).unwrap_or_default() })
    }
}

/// The parameters of a `content-disposition: form-data`. A name with an escape is refused: browsers percent-encode.
fn parameters(disposition: &str) -> Option<Vec<(&str, &str)>> {
    let (kind, mut rest) = disposition.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(found);
        }
        let (name, value) = rest.split_once('=')?;
        let name = name.trim();
        if let Some(quoted) = value.trim_start().strip_prefix('"') {
            let end = quoted.find('"')?;
            let text = quoted.get(..end)?;
            if text.contains('\\') && !name.to_ascii_lowercase().starts_with("filename") {
                return None;
            }
            found.push((name, text));
            rest = quoted.get(end + 1..)?.trim_start();
            match rest.strip_prefix(';') {
                Some(more) => rest = more,
                None if rest.is_empty() => {}
                None => return None,
            }
        } else {
            let (text, more) = value.split_once(';').unwrap_or((value, ""));
            found.push((name, text.trim()));
            rest = more;
        }
    }
}
