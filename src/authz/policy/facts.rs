//! The facts that rules are about. They are borrowed from the request and its caller, and turned into values of the
//! language only where a rule asks for them; what costs more than a pointer is kept for the rules after it.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};

use crate::domain::{Api, Caller, Timestamp};
use crate::expression::{Found, Values, Variables, flag, json_map, kept, list, map, number, text, timestamp};
use crate::request::{CREDENTIAL_HEADERS, Headers};

/// What rules may know of a request.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub method: &'a str,
    /// Normalised.
    pub path: &'a str,
    pub api: Api,
    pub headers: &'a Headers<'a>,
    /// A header that credentials are read from besides the usual ones.
    pub credential_header: Option<&'a str>,
    pub client: Option<IpAddr>,
    pub stream: bool,
    pub max_tokens: Option<u64>,
    pub end_user: Option<&'a str>,
    pub tags: &'a [Arc<str>],
    pub extensions: &'a [(&'a str, &'a str)],
    /// Names of the body's top-level keys.
    pub parameters: &'a [std::borrow::Cow<'a, str>],
    pub body_bytes: u64,
    pub caller: &'a Caller,
    /// Of the caller's token, where it has one.
    pub claims: Option<&'a Map<String, Json>>,
    pub now: Timestamp,
}

/// A model that a request may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelFacts<'a> {
    /// As asked, and what aliases made of it; empty where the request names none.
    pub name: &'a str,
    pub target: &'a str,
    pub access_groups: &'a [Arc<str>],
}

type Kept<'a> = OnceLock<Option<Values<'a>>>;

/// The facts of one request, with what was made of them.
pub struct Known<'a> {
    facts: &'a Facts<'a>,
    client: OnceLock<String>,
    headers: Kept<'a>,
    tags: Kept<'a>,
    extensions: Kept<'a>,
    parameters: Kept<'a>,
    metadata: Kept<'a>,
    team_metadata: Kept<'a>,
    claims: Kept<'a>,
}

impl<'a> Known<'a> {
    pub fn new(facts: &'a Facts<'a>) -> Self {
        Known {
            facts,
            client: OnceLock::new(),
            headers: Kept::new(),
            tags: Kept::new(),
            extensions: Kept::new(),
            parameters: Kept::new(),
            metadata: Kept::new(),
            team_metadata: Kept::new(),
            claims: Kept::new(),
        }
    }

    fn request(&self, field: &str) -> Option<Found<'_>> {
        let facts = self.facts;
        match field {
            "method" => Some(text(facts.method)),
            "path" => Some(text(facts.path)),
            "api" => Some(text(facts.api.as_str())),
            "headers" => kept(&self.headers, || Some(map(shown_headers(facts)))),
            "client_ip" => {
                let shown = || facts.client.map(|client| client.to_canonical().to_string()).unwrap_or_default();
                Some(text(self.client.get_or_init(shown)))
            }
            "stream" => Some(flag(facts.stream)),
            "max_tokens" => Some(number(facts.max_tokens.map_or(-1, whole))),
            "end_user" => Some(text(facts.end_user.unwrap_or_default())),
            "tags" => kept(&self.tags, || Some(list(facts.tags.iter().map(AsRef::as_ref)))),
            "extensions" => kept(&self.extensions, || Some(map(facts.extensions.iter().copied()))),
            "parameters" => kept(&self.parameters, || Some(list(facts.parameters.iter().map(AsRef::as_ref)))),
            "body_bytes" => Some(number(whole(facts.body_bytes))),
            _ => None,
        }
    }

    fn caller(&self, field: &str) -> Option<Found<'_>> {
        let caller = self.facts.caller;
        let identity = &*caller.identity;
        let (key, user, team) = (identity.key.as_ref(), identity.user.as_deref(), identity.team.as_deref());
        match field {
            "method" => Some(text(caller.method.as_str())),
            "role" => Some(text(caller.role.as_str())),
            "user_id" => optional(caller.user_id()),
            "user_email" => optional(user.and_then(|user| user.user_email.as_ref())),
            "team_id" => optional(caller.team_id()),
            "team_alias" => optional(team.and_then(|team| team.team_alias.as_ref())),
            "organization_id" => optional(caller.organization_id()),
            "key_alias" => optional(key.and_then(|key| key.key_alias.as_ref())),
            "metadata" => kept(&self.metadata, || json(key.map(|key| &key.metadata))),
            "team_metadata" => kept(&self.team_metadata, || json(team.map(|team| &team.metadata))),
            "claims" => kept(&self.claims, || json(self.facts.claims)),
            _ => None,
        }
    }
}

/// The facts of a request and of one of its models.
pub struct Of<'k, 'a> {
    known: &'k Known<'a>,
    model: ModelFacts<'k>,
    access_groups: Kept<'k>,
}

impl<'k, 'a> Of<'k, 'a> {
    pub fn new(known: &'k Known<'a>, model: ModelFacts<'k>) -> Self {
        Of { known, model, access_groups: Kept::new() }
    }
}

impl Variables for Of<'_, '_> {
    fn get(&self, name: &str) -> Option<Found<'_>> {
        let Some((variable, field)) = name.split_once('.') else {
            let seconds = self.known.facts.now.as_millis().div_euclid(1_000);
            return (name == "now").then(|| timestamp(seconds))?;
        };
        match (variable, field) {
            ("request", field) => self.known.request(field),
            ("caller", field) => self.known.caller(field),
            ("model", "name") => Some(text(self.model.name)),
            ("model", "target") => Some(text(self.model.target)),
            ("model", "access_groups") => {
                let groups = self.model.access_groups;
                kept(&self.access_groups, || Some(list(groups.iter().map(AsRef::as_ref))))
            }
            _ => None,
        }
    }
}

/// What rules may read of the headers: no credential, and nothing that is no text.
fn shown_headers<'a>(facts: &'a Facts<'a>) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_secret = |name: &str| {
        CREDENTIAL_HEADERS.contains(&name)
            || matches!(name, "cookie" | "proxy-authorization" | "sec-websocket-protocol")
            || facts.credential_header == Some(name)
    };
    let shown = facts.headers.0.iter().filter(move |(name, _)| !is_secret(name));
    shown.filter_map(|(name, value)| Some((*name, std::str::from_utf8(value).ok()?)))
}

fn optional(value: Option<&Arc<str>>) -> Option<Found<'_>> {
    Some(text(value.map_or("", |value| value)))
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A map that may be absent, which is an empty one.
fn json(map: Option<&Map<String, Json>>) -> Option<Values<'_>> {
    match map {
        Some(map) => json_map(map),
        None => Some(self::map(std::iter::empty())),
    }
}
