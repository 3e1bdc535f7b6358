//! The facts that rules are about. They are borrowed from the request and its caller, and turned into values of the
//! language only where a rule asks for them; what costs more than a pointer is kept for the rules after it.

mod request;

use std::sync::{Arc, OnceLock};

use serde_json::{Map, Value as Json};

pub use request::{KnownRequest, RequestFacts};

use crate::domain::{Caller, Timestamp};
use crate::expression::{Found, Values, Variables, json_map, kept, list, map, text, timestamp};

/// What rules may know of a request and its caller.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub request: RequestFacts<'a>,
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

/// The facts of one request and its caller, with what was made of them.
pub struct Known<'a> {
    facts: &'a Facts<'a>,
    request: KnownRequest<'a>,
    metadata: Kept<'a>,
    team_metadata: Kept<'a>,
    claims: Kept<'a>,
}

impl<'a> Known<'a> {
    pub fn new(facts: &'a Facts<'a>) -> Self {
        Known {
            facts,
            request: KnownRequest::new(facts.request),
            metadata: Kept::new(),
            team_metadata: Kept::new(),
            claims: Kept::new(),
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
            ("request", field) => self.known.request.get(field),
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

fn optional(value: Option<&Arc<str>>) -> Option<Found<'_>> {
    Some(text(value.map_or("", |value| value)))
}

/// A map that may be absent, which is an empty one.
fn json(map: Option<&Map<String, Json>>) -> Option<Values<'_>> {
    match map {
        Some(map) => json_map(map),
        None => Some(self::map(std::iter::empty())),
    }
}
