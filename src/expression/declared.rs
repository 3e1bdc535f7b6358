//! The variables that expressions may name: the claims of a token, and the facts of a request.

use std::sync::OnceLock;

use serde_json::{Map, Value as Json};

use super::run::Variables;
use super::types::{BOOL, INT, Kind, Shape, TEXT, TIME, Type, Variable};
use super::value::{Found, Values, json_map, kept};

/// Of `custom_validate`.
pub const CLAIMS: [Variable; 1] = [Variable { name: "claims", shape: Shape::Value(Type::Map(Kind::Any)) }];

/// Of policies.
pub const REQUEST: [Variable; 4] = [
    Variable {
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
    },
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
    Variable { name: "now", shape: Shape::Value(TIME) },
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
