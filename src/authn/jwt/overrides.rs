//! Routing overrides: tokens that look like JWTs and that the OAuth2 authorization server judges, by what they say of
//! themselves. Nothing of it is believed: it only chooses who is asked.

use serde_json::{Map, Value};

use super::Token;
use crate::authn::claims;
use crate::config::RoutingOverride;
use crate::domain::glob;

/// See the module.
#[derive(Debug, Default)]
pub struct Overrides(Vec<RoutingOverride>);

impl Overrides {
    #[must_use]
    pub fn new(list: &[RoutingOverride]) -> Self {
        Overrides(list.to_vec())
    }

    /// Whether the token goes to the authorization server. What cannot be read does not: its refusal is the same.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Ok(token) = Token::read(text) else { return false };
        token.claims().is_ok_and(|claims| self.0.iter().any(|rule| holds(rule, claims)))
    }
}

/// Whether all conditions of a rule hold; a rule without conditions holds for none.
fn holds(rule: &RoutingOverride, claims: &Map<String, Value>) -> bool {
    let values = |name: &str| claims.get(name).map(claims::list).unwrap_or_default();
    let any = |wanted: &[String], found: &[&str]| {
        found.iter().any(|value| wanted.iter().any(|pattern| glob::matches_wild(pattern, value)))
    };
    let conditions = [&rule.iss, &rule.client_id, &rule.aud, &rule.scope];
    if conditions.iter().all(|condition| condition.0.is_empty()) {
        return false;
    }
    let named = [(&rule.iss, values("iss")), (&rule.aud, values("aud"))];
    // `azp` and `appid` are what providers call the client besides.
    let clients = ["client_id", "azp", "appid", "cid"].map(values).concat();
    let scopes = claims::scopes(claims);
    let texts = |values: &[std::borrow::Cow<'_, str>], wanted: &[String]| {
        wanted.is_empty() || any(wanted, &values.iter().map(AsRef::as_ref).collect::<Vec<_>>())
    };
    named.iter().all(|(wanted, values)| texts(values, &wanted.0))
        && texts(&clients, &rule.client_id.0)
        && (rule.scope.0.is_empty() || any(&rule.scope.0, &scopes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Many;

    #[test]
    fn a_rule_holds_where_all_its_conditions_do() {
        let many = |texts: &[&str]| Many(texts.iter().map(|text| (*text).to_owned()).collect());
        let rule = RoutingOverride {
            iss: many(&["https://idp.example.com/*"]),
            client_id: many(&["machine-?", "robot"]),
            ..RoutingOverride::default()
        };
        for (claims, expected) in [
            (json!({"iss": "https://idp.example.com/a", "client_id": "machine-7"}), true),
            (json!({"iss": "https://idp.example.com/a", "azp": "robot"}), true),
            (json!({"iss": "https://idp.example.com/a", "client_id": "machine-77"}), false),
            (json!({"iss": "https://other.example.com/a", "client_id": "robot"}), false),
            (json!({"iss": "https://idp.example.com/a"}), false),
        ] {
            assert_eq!(holds(&rule, claims.as_object().unwrap()), expected, "{claims}");
        }
        let scoped = RoutingOverride { scope: many(&["m2m:*"]), ..RoutingOverride::default() };
        assert!(holds(&scoped, json!({"scope": "openid m2m:read"}).as_object().unwrap()));
        assert!(!holds(&RoutingOverride::default(), json!({"iss": "x"}).as_object().unwrap()));
    }
}
