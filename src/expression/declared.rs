//! The variables that expressions may name: the claims of a token, and the facts of a request.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use super::run::Variables;
use super::types::{BOOL, INT, Kind, Shape, TEXT, TIME, Type, Variable};
use super::value::{Found, Values, json_map, kept};

/// Of `custom_validate`.
pub const CLAIMS: [Variable; 1] = [Variable { name: "claims", shape: Shape::Value(Type::Map(Kind::Any)) }];

const OF_REQUEST: Variable = Variable {
    name: "request",
    shape: Shape::Record(&[
        ("method", TEXT),
        ("path", TEXT),
        ("api", TEXT),
        ("headers", Type::Map(Kind::Text)),
        ("client_ip", TEXT),
        ("stream", BOOL),
        ("max_tokens", INT),
        ("end_user", TEXT),
        ("tags", Type::List(Kind::Text)),
        ("extensions", Type::Map(Kind::Text)),
        ("parameters", Type::List(Kind::Text)),
        ("body_bytes", INT),
    ]),
};

const NOW: Variable = Variable { name: "now", shape: Shape::Value(TIME) };

/// The text that a request shows as its credential. Fields are shown and logged, so of all of them it may stand in one
/// only, [`OF_SECRETS`]; what is asked about it may choose between maps.
pub const SECRET: &str = "credential";
/// The field whose value is never shown.
pub const OF_SECRETS: &str = "api_key";

/// Of expressions that say who calls.
pub const CREDENTIAL: [Variable; 3] = [OF_REQUEST, Variable { name: SECRET, shape: Shape::Value(TEXT) }, NOW];

/// Of policies.
pub const REQUEST: [Variable; 4] = [
    OF_REQUEST,
    Variable {
        name: "caller",
        shape: Shape::Record(&[
            ("method", TEXT),
            ("role", TEXT),
            ("user_id", TEXT),
            ("user_email", TEXT),
            ("team_id", TEXT),
            ("team_alias", TEXT),
            ("organization_id", TEXT),
            ("key_alias", TEXT),
            ("metadata", Type::Map(Kind::Any)),
            ("team_metadata", Type::Map(Kind::Any)),
            ("claims", Type::Map(Kind::Any)),
        ]),
    },
    Variable {
        name: "model",
        shape: Shape::Record(&[("name", TEXT), ("target", TEXT), ("access_groups", Type::List(Kind::Text))]),
    },
    NOW,
];

/// The claims of one token.
pub struct Claims<'a> {
    claims: &'a Map<String, Json>,
    read: OnceLock<Option<Values<'a>>>,
}

impl<'a> Claims<'a> {
    pub fn new(claims: &'a Map<String, Json>) -> Self {
        Claims { claims, read: OnceLock::new() }
    }
}

impl Variables for Claims<'_> {
    fn get(&self, name: &str) -> Option<Found<'_>> {
        match name {
            "claims" => kept(&self.read, || json_map(self.claims)),
            _ => None,
        }
    }
}
