//! Whether a request asks for a stream.

use super::RequestView;

/// Ends of paths that ask for one, whatever the body says.
const STREAMS: [&str; 3] = [":streamGenerateContent", "/converse-stream", "/invoke-with-response-stream"];

impl RequestView<'_> {
    /// By its body or by its path.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        let by_body = self.body.as_ref().is_ok_and(|body| body.stream == Some(true));
        by_body || STREAMS.iter().any(|end| self.route.path.ends_with(end))
    }
}
