//! What goes upstream: identity headers, a provider key where the route leads to that provider, and nothing the client
//! made up.

use std::borrow::Cow;
use std::sync::Arc;

use ahash::AHashMap;

use crate::authn::IdentityHeaders;
use crate::config::{ModelEntry, UpstreamIdentity};
use crate::domain::decision::Header;
use crate::domain::{Caller, Fields, Secret, Standing, glob};
use crate::request::{
    Credential, CredentialRead, CredentialSettings, CredentialSource, HttpRequest, RequestView, Rest, begins_alike,
    cookie, credential, subprotocol,
};

/// The prefix of our own headers; client copies of them are always removed, and so is what a server may take for them.
const OURS: &str = "x-tollward-";
/// The one of them that every upstream and every client gets.
pub const REQUEST_ID: &str = "x-tollward-request-id";

/// The facts identity headers and metadata are made of, but for the request's own id.
pub struct Facts<'a> {
    pub caller: &'a Caller,
    pub model: Option<&'a str>,
    pub end_user: Option<&'a str>,
    pub tags: &'a [Arc<str>],
}

/// What all requests with these facts get: the identity headers, and metadata for access logs.
#[must_use]
pub fn standing(facts: &Facts<'_>, which: UpstreamIdentity) -> Standing {
    let mut metadata = Fields::with_capacity(5, 128);
    metadata.push("decision", "allow");
    let identity = &*facts.caller.identity;
    let alias = identity.key.as_ref().and_then(|key| key.key_alias.as_deref());
    let (user_id, team_id) = (facts.caller.user_id().map(|id| &**id), facts.caller.team_id().map(|id| &**id));
    for (name, value) in [("user_id", user_id), ("team_id", team_id), ("key_alias", alias), ("model", facts.model)] {
        if let Some(value) = value {
            metadata.push(name, value);
        }
    }
    Standing { upstream_headers: identity_headers(facts, which), metadata, ..Standing::default() }
}

/// The identity headers of an allowed request.
fn identity_headers(facts: &Facts<'_>, which: UpstreamIdentity) -> Fields {
    if which == UpstreamIdentity::None {
        return Fields::default();
    }
    let names = which == UpstreamIdentity::All;
    let identity = &*facts.caller.identity;
    let mut headers = Fields::with_capacity(12, 512);
    let mut add = |name: &'static str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            headers.push_with(name, |out| push_header_safe(value, out));
        }
    };
    if let Some(key) = &identity.key {
        add("x-tollward-key-id", Some(&key.token.to_string()));
        add("x-tollward-key-alias", key.key_alias.as_deref().filter(|_| names));
    }
    add("x-tollward-user-id", facts.caller.user_id().map(|id| &**id));
    if let Some(user) = &identity.user {
        add("x-tollward-user-email", user.user_email.as_deref().filter(|_| names));
    }
    add("x-tollward-role", Some(facts.caller.role.as_str()));
    add("x-tollward-team-id", facts.caller.team_id().map(|id| &**id));
    if let Some(team) = &identity.team {
        add("x-tollward-team-alias", team.team_alias.as_deref().filter(|_| names));
    }
    add("x-tollward-org-id", facts.caller.organization_id().map(|id| &**id));
    add("x-tollward-end-user-id", facts.end_user);
    add("x-tollward-model", facts.model);
    add("x-tollward-auth-method", Some(facts.caller.method.as_str()));
    if !facts.tags.is_empty() {
        add("x-tollward-tags", Some(&facts.tags.join(",")));
    }
    headers
}

/// Header values hold visible ASCII, spaces and tabs (RFC 9110, section 5.5); all else is percent-encoded.
fn push_header_safe(value: &str, out: &mut String) {
    if value.bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return out.push_str(value);
    }
    for byte in value.bytes() {
        if (0x20..0x7f).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// Client copies of our headers, but for those that are set anyway, and headers by which a proxy says who calls.
#[must_use]
pub fn client_copies(
    http: &HttpRequest<'_>,
    identity: Option<&IdentityHeaders>,
    is_set: impl Fn(&str) -> bool,
) -> Vec<Cow<'static, str>> {
    let is_ours = |name: &str| begins_alike(OURS, name) && !is_set(name);
    let is_identity = |name: &str| identity.is_some_and(|headers| headers.holds(name));
    let mut copies: Vec<Cow<'static, str>> = Vec::new();
    for (name, _) in &http.headers.0 {
        if (is_ours(name) || is_identity(name)) && !copies.iter().any(|copy| copy == name) {
            copies.push(Cow::Owned((*name).to_owned()));
        }
    }
    copies
}

/// Takes the credential out of what goes upstream, wherever the request shows it: clients send one key in several places.
/// Where a provider's key is put into the header `injected`, no other credential header goes on, whatever it holds. A
/// session cookie is taken out of every request.
pub fn take_credentials(
    view: &RequestView<'_>,
    settings: &CredentialSettings,
    injected: Option<&str>,
    set: &mut Fields,
    remove: &mut Vec<Cow<'static, str>>,
    remove_query: &mut Vec<Cow<'static, str>>,
) {
    let found = if let CredentialRead::Found(found) = &view.credential { Some(found) } else { None };
    let all = injected.is_some();
    let shown = |name: &str, value: &[u8]| {
        let is_read = |found: &Credential<'_>| matches!(&found.source, CredentialSource::Header(read) if read == name);
        all || found.is_some_and(|found| is_read(found) || credential::shows(value, &found.secret))
    };
    let headers = credential::places(view.http, settings, shown).into_iter().filter(|name| Some(*name) != injected);
    remove.extend(headers.map(|name| Cow::Owned(name.to_owned())));
    if let Some(found) = found {
        let mut parameters: Vec<&str> = credential::parameters(view.route.query, &found.secret).collect();
        // By its own name too, where it is written with escapes.
        parameters.extend((found.source == CredentialSource::Query).then_some("key"));
        parameters.sort_unstable();
        parameters.dedup();
        remove_query.extend(parameters.into_iter().map(|name| Cow::Owned(name.to_owned())));
    }
    let is_shown = |key: &[u8]| all || found.is_some_and(|found| key == found.secret.as_bytes());
    put(subprotocol::FIELD, subprotocol::without(view.http, is_shown), set, remove);
}

/// Takes the session cookie out of what goes upstream, whoever's credential the request shows: other cookies stay.
pub fn take_session_cookie(
    http: &HttpRequest<'_>,
    name: Option<&str>,
    set: &mut Fields,
    remove: &mut Vec<Cow<'static, str>>,
) {
    put("cookie", name.and_then(|name| cookie::without(http, name)), set, remove);
}

/// Puts what is left of a list in the place of it.
fn put(name: &'static str, rest: Option<Rest>, set: &mut Fields, remove: &mut Vec<Cow<'static, str>>) {
    match rest {
        Some(Rest::Field(rest)) => set.push(name, &rest),
        Some(Rest::Nothing) => remove.push(Cow::Borrowed(name)),
        None => {}
    }
}

/// Keys of providers, by public model name.
#[derive(Default)]
pub struct ProviderKeys {
    exact: AHashMap<String, ProviderKey>,
    patterns: Vec<(String, ProviderKey)>,
}

#[derive(Clone)]
struct ProviderKey {
    provider: String,
    secret: Secret,
}

impl ProviderKeys {
    #[must_use]
    pub fn of(models: &[ModelEntry]) -> Self {
        let mut keys = ProviderKeys::default();
        for entry in models {
            let Some(secret) = entry.litellm_params.api_key.clone().filter(|key| !key.is_empty()) else { continue };
            let model = entry.litellm_params.model.as_deref().unwrap_or(&entry.model_name);
            let provider = model.split_once('/').map_or("openai", |(provider, _)| provider).to_owned();
            let key = ProviderKey { provider, secret };
            if glob::is_pattern(&entry.model_name) {
                keys.patterns.push((entry.model_name.clone(), key));
            } else {
                keys.exact.entry(entry.model_name.clone()).or_insert(key);
            }
        }
        keys.patterns.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        keys
    }

    /// The provider's credential for this model, only where the route says that it leads to that provider
    /// (`context_extensions.tollward_provider`), and the credential headers it stands in for.
    #[must_use]
    pub fn header(&self, model: &str, http: &HttpRequest<'_>) -> Option<Header> {
        if self.exact.is_empty() && self.patterns.is_empty() {
            return None;
        }
        let leads_to =
            http.extensions.iter().find(|(name, _)| *name == "tollward_provider").map(|(_, value)| *value)?;
        let key = self
            .exact
            .get(model)
            .or_else(|| self.patterns.iter().find(|(pattern, _)| glob::matches(pattern, model)).map(|(_, key)| key))?;
        if key.provider != leads_to {
            return None;
        }
        let secret = key.secret.expose();
        Some(match leads_to {
            "anthropic" => (Cow::Borrowed("x-api-key"), secret.to_owned()),
            "azure" | "azure_ai" => (Cow::Borrowed("api-key"), secret.to_owned()),
            "gemini" | "google" => (Cow::Borrowed("x-goog-api-key"), secret.to_owned()),
            _ => (Cow::Borrowed("authorization"), format!("Bearer {secret}")),
        })
    }
}

#[cfg(test)]
mod tests;
