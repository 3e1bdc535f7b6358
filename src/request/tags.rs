//! The tags a client puts on a request: those of its body, then those of `x-litellm-tags`; the first of two equal ones
//! stays.

use std::borrow::Cow;

use super::RequestView;

/// A comma-separated list of tags.
const HEADER: &str = "x-litellm-tags";
/// A longer one is no tag of ours.
const MAX_TAG: usize = 256;
/// Tags one request may carry; each is a scope to charge, so further ones of the header are dropped.
const MAX_TAGS: usize = 128;

impl<'a> RequestView<'a> {
    /// The tags the client chose, in order of appearance.
    #[must_use]
    pub fn tags(&self) -> Vec<Cow<'_, str>> {
        let mut tags: Vec<Cow<'_, str>> = Vec::new();
        let of_body = self.body.iter().flat_map(|body| &body.tags).map(|tag| Cow::Borrowed(&**tag));
        let of_header = self.http.headers.all(HEADER).filter_map(|value| std::str::from_utf8(value).ok());
        let of_header = of_header.flat_map(|value| value.split(',')).map(|tag| Cow::Borrowed(tag.trim()));
        for tag in of_body.chain(of_header) {
            if !tag.is_empty() && tag.len() <= MAX_TAG && tags.len() < MAX_TAGS && !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        tags
    }
}
