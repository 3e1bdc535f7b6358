//! What tests of this room share.

use std::sync::Arc;

use super::super::{Ask, Assertion};
use super::verdict::{Source, Told};
use crate::config::Config;
use crate::domain::{AuthMethod, Timestamp};
use crate::request::{Headers, HttpRequest, ReadSettings, RequestView};

/// A request as Envoy shows it.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: Option<&'a [u8]>,
    pub client: &'a str,
    pub principal: &'a str,
    pub extensions: &'a [(&'a str, &'a str)],
}

impl Default for Shown<'_> {
    fn default() -> Self {
        Shown {
            method: "POST",
            path: "/v1/chat/completions",
            headers: &[],
            body: None,
            client: "10.0.0.1",
            principal: "",
            extensions: &[],
        }
    }
}

impl<'a> Shown<'a> {
    pub(crate) fn bearer(headers: &'a [(&'a str, &'a [u8])]) -> Self {
        Shown { headers, ..Shown::default() }
    }

    pub(crate) fn http(&self) -> HttpRequest<'a> {
        HttpRequest {
            method: self.method,
            path: self.path,
            headers: Headers(self.headers.to_vec()),
            body: self.body,
            source: self.client.parse().ok(),
            source_principal: self.principal,
            extensions: self.extensions.to_vec(),
            gateway: [127, 0, 0, 1].into(),
        }
    }
}

/// Does something with a request as authenticators see it.
pub(crate) fn ask<T>(shown: &Shown<'_>, see: impl FnOnce(&Ask<'_>) -> T) -> T {
    let http = shown.http();
    let view = RequestView::read(&http, &ReadSettings::new(&Config::default())).unwrap();
    see(&Ask { view: &view, now: Timestamp::now() })
}

pub(super) fn told(user: &str) -> Arc<Told> {
    let assertion = Assertion { user_id: Some(user.into()), ..Assertion::new(AuthMethod::Custom) };
    Arc::new(Told { assertion: Arc::new(assertion), fields: vec![("user_id", Source::Answer)] })
}
