//! What an authoriser is asked: one request, owned, since a question outlives the request that brought it about.

use std::net::IpAddr;

use super::super::Ask;
use crate::domain::{Denial, ErrorType, Secret};

/// The largest body that is sent on, in bytes: what is cut off cannot be judged.
pub(super) const MAX_BODY: usize = 1024 * 1024;

/// See the module. It holds credentials: it cannot be printed.
pub(super) struct Question {
    pub method: String,
    /// With its query.
    pub path: String,
    pub host: String,
    /// In order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The peer of Envoy's connection.
    pub source: Option<IpAddr>,
    /// The client, as far as proxies are believed.
    pub client: Option<IpAddr>,
    pub principal: String,
    pub extensions: Vec<(String, String)>,
    /// The credential the gate found.
    pub credential: Option<Secret>,
    pub body: Option<Vec<u8>>,
}

impl Question {
    /// # Errors
    /// 413 where the body is to be sent and is too large for that.
    pub(super) fn of(ask: &Ask<'_>, client: Option<IpAddr>, with_body: bool) -> Result<Question, Denial> {
        let http = ask.view.http;
        let body = http.body.filter(|_| with_body);
        if body.is_some_and(|body| body.len() > MAX_BODY) {
            let message = format!("the body is larger than the {MAX_BODY} bytes that the authoriser can be shown");
            return Err(Denial::new(ErrorType::RequestTooLarge, "custom_auth.body", message));
        }
        let own = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
        Ok(Question {
            method: http.method.to_owned(),
            path: http.path.to_owned(),
            host: host(ask).to_owned(),
            headers: http.headers.0.iter().map(own).collect(),
            source: http.source,
            client,
            principal: http.source_principal.to_owned(),
            extensions: http.extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            credential: ask.credential().map(|credential| Secret::new(&*credential.secret)),
            body: body.map(<[u8]>::to_vec),
        })
    }

    /// Each header once: values of one name joined by commas, as Envoy does it (RFC 9110, section 5.3), cookies by
    /// semicolons (RFC 6265, section 5.4). `None` where one is not UTF-8.
    pub(super) fn joined(&self) -> Option<Vec<(&str, String)>> {
        self.join(|value| std::str::from_utf8(value).ok().map(str::to_owned))
    }

    /// The same, with replacement characters for what is not UTF-8.
    pub(super) fn joined_lossily(&self) -> Vec<(&str, String)> {
        self.join(|value| Some(String::from_utf8_lossy(value).into_owned())).unwrap_or_default()
    }

    fn join(&self, read: impl Fn(&[u8]) -> Option<String>) -> Option<Vec<(&str, String)>> {
        let mut joined: Vec<(&str, String)> = Vec::with_capacity(self.headers.len());
        let mut places = ahash::AHashMap::with_capacity(self.headers.len());
        for (name, value) in &self.headers {
            let value = read(value)?;
            let place = *places.entry(name.as_str()).or_insert(joined.len());
            match joined.get_mut(place) {
                Some((_, before)) => {
                    before.push_str(if name == "cookie" { "; " } else { "," });
                    before.push_str(&value);
                }
                None => joined.push((name, value)),
            }
        }
        Some(joined)
    }
}

/// The authority a request names.
pub(super) fn host<'a>(ask: &Ask<'a>) -> &'a str {
    let headers = &ask.view.http.headers;
    headers.text(":authority").or_else(|| headers.text("host")).unwrap_or_default()
}
