//! For whom a caller asks: the end user named by a header or by the body. The name is the caller's word and proves
//! nothing.

use std::borrow::Cow;

use super::RequestView;

/// Headers that name the end user before any other.
const HEADERS: [&str; 2] = ["x-litellm-customer-id", "x-litellm-end-user-id"];
/// Bytes of an end user's id; longer ones are not ids.
const MAX_ID: usize = 1024;

/// Headers that the operator lets name the end user.
#[derive(Clone, Debug, Default)]
pub struct EndUserSettings {
    /// Names in lower case, in order: those of `user_header_mappings` for customers, else `user_header_name`.
    pub headers: Vec<String>,
}

impl<'a> RequestView<'a> {
    /// The end user of this request, where one is named.
    #[must_use]
    pub fn end_user(&self, settings: &EndUserSettings) -> Option<Cow<'_, str>> {
        let headers = &self.http.headers;
        let of_headers = HEADERS
            .into_iter()
            .chain(settings.headers.iter().map(String::as_str))
            .find_map(|name| headers.text(name).map(str::trim).filter(|value| !value.is_empty()))
            .map(Cow::Borrowed);
        let of_body = || self.body.as_ref().ok().and_then(|body| body.end_user.as_deref()).map(Cow::Borrowed);
        of_headers.or_else(of_body).filter(|id| id.len() <= MAX_ID)
    }
}
