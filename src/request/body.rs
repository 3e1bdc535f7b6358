//! The body of a request, read by a scanner over its bytes: every top-level key is seen, values nobody asks for are
//! skipped, and nothing is built into a tree. What two readers could understand differently (a key that stands twice,
//! a name in another case, text behind the document, over-deep nesting) is refused.

mod banned;
mod caps;
mod extract;
mod form;
mod json;
mod place;
mod size;
mod spelling;
#[cfg(test)]
mod tests;

pub(super) use caps::{CONFIGS, binds, count, is_cap};
pub(super) use form::{multipart, multipart_holds, urlencoded, urlencoded_holds};
pub use json::Fault;
pub(super) use json::{Token, Tokens, holds_member};

use std::borrow::Cow;

use extract::Extract;
use size::Sizer;

use super::BodyView;
use crate::domain::{Api, Denial, ErrorType, PromptSize};

/// Whether the whole body is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    Whole,
    /// Envoy cut it off; what is there is read.
    Cut,
}

/// Reads a JSON body.
///
/// # Errors
/// A [`Fault`] where it is not one JSON object of the depth allowed, or says one thing twice. A body that is known to be
/// cut may end anywhere, but must have named its model before.
pub fn json<'a>(bytes: &'a [u8], api: Api, max_depth: usize, extent: Extent) -> Result<BodyView<'a>, Fault> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if extent == Extent::Cut && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default()
        }
        Err(error) => return Err(Fault::Syntax("bytes that are not UTF-8", error.valid_up_to())),
    };
    let mut tokens = Tokens::new(text, max_depth);
    let mut extract = Extract::new(api, max_depth);
    let mut sizer = Sizer::default();
    loop {
        match tokens.next() {
            Ok(Some(token)) => {
                sizer.see(&token);
                extract.see(token)?;
            }
            Ok(None) => break,
            Err(Fault::Cut) if extent == Extent::Cut => break,
            Err(fault) => return Err(fault),
        }
    }
    let prompt = PromptSize { body_bytes: bytes.len() as u64, ..sizer.finish() };
    let view = extract.finish(prompt);
    if extent == Extent::Cut && view.model.is_none() && view.other_models.is_empty() {
        return Err(Fault::Cut);
    }
    Ok(view)
}

impl Fault {
    /// The answer to a body with this fault.
    #[must_use]
    pub fn denial(self) -> Denial {
        let (reason, message): (_, Cow<'static, str>) = match self {
            Fault::Cut => ("body.cut", "The body ends before its JSON is complete.".into()),
            Fault::Syntax(what, at) => ("body.syntax", format!("The body is not valid: {what} at byte {at}.").into()),
            Fault::Depth(max) => ("body.depth", format!("The body is nested more than {max} levels deep.").into()),
            Fault::Duplicate => ("body.duplicate_key", "The body holds a key twice.".into()),
            Fault::Unfit(what) => ("body.unfit", format!("The body cannot be read: {what}.").into()),
        };
        Denial::new(ErrorType::BadRequest, reason, message).param("request_body")
    }
}
