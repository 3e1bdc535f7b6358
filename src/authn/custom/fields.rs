//! The fields by which an authoriser says who calls: the same names in every form of one.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::assertion::{Assertion, Named, RoleClaim, TeamClaim};
use super::verdict::{Refusal, Source, Told, Trouble, Verdict};
use crate::domain::{AuthMethod, Grant, KeyHash, Limits, Money, Role};

/// Every field.
pub(super) const NAMES: [&str; 14] = [
    "user_id",
    "user_email",
    "user_role",
    "team_id",
    "team_alias",
    "org_id",
    "end_user_id",
    "models",
    "allowed_routes",
    "max_budget",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
    "api_key",
];

/// Headers that stand for fields where those are absent: the names under which the upstream is told of them.
pub(super) const HEADERS: [(&str, &str); 7] = [
    ("x-tollward-user-id", "user_id"),
    ("x-tollward-user-email", "user_email"),
    ("x-tollward-role", "user_role"),
    ("x-tollward-team-id", "team_id"),
    ("x-tollward-team-alias", "team_alias"),
    ("x-tollward-org-id", "org_id"),
    ("x-tollward-end-user-id", "end_user_id"),
];

/// Beside a key these say nothing, since the key has them itself: an answer with both contradicts itself.
const OF_THE_KEY: [&str; 10] = [
    "user_id",
    "user_email",
    "user_role",
    "team_id",
    "team_alias",
    "org_id",
    "max_budget",
    "rpm_limit",
    "tpm_limit",
    "max_parallel_requests",
];

const MAX_TEXT: usize = 512;
const MAX_LIST: usize = 1_000;

/// An answer that lets the request pass.
pub(super) struct Answer {
    pub object: Map<String, Value>,
    /// What its fields are called in explanations.
    pub source: Source,
    /// Fields from headers, which count where the object does not have them.
    pub headers: Vec<(&'static str, &'static str, String)>,
}

impl Answer {
    /// What it says where it may refuse too (`allow: false`). `is_unchecked`: the operator does without common checks.
    pub(super) fn judged(self, is_unchecked: bool) -> Result<Verdict, Trouble> {
        match self.object.get("allow") {
            None | Some(Value::Bool(true)) => self.verdict(is_unchecked),
            Some(Value::Bool(false)) => {
                let status = match self.object.get("status").and_then(Value::as_u64) {
                    Some(401) => 401,
                    _ => 403,
                };
                Ok(Verdict::Refused(Arc::new(Refusal::new(status, message(&self.object)))))
            }
            Some(_) => Err(unusable("allow is neither true nor false")),
        }
    }

    /// The caller it names.
    pub(super) fn verdict(mut self, is_unchecked: bool) -> Result<Verdict, Trouble> {
        let has = |object: &Map<String, Value>, name: &str| object.get(name).is_some_and(|value| !value.is_null());
        let mut fields: Vec<(&'static str, Source)> =
            NAMES.into_iter().filter(|name| has(&self.object, name)).map(|name| (name, self.source)).collect();
        for (header, field, value) in std::mem::take(&mut self.headers) {
            if !has(&self.object, field) {
                self.object.insert(field.to_owned(), Value::String(value));
                fields.push((field, Source::Header(header)));
            }
        }
        if let Some(key) = self.text("api_key")? {
            return self.of_key(&key, fields);
        }
        let (user_id, user_email) = (self.text("user_id")?, self.text("user_email")?);
        let role = match self.text("user_role")? {
            None => RoleClaim::None,
            Some(name) => match Role::parse(&name) {
                Some(role) => RoleClaim::Is(role),
                None => {
                    let message = "the authoriser gives the caller a role (user_role) that does not exist";
                    return Ok(Verdict::Refused(Arc::new(Refusal::of_field(403, "user_role", message))));
                }
            },
        };
        let one = match (self.text("team_id")?, self.text("team_alias")?) {
            (Some(id), _) => Some(Named::Id(id)),
            (None, alias) => alias.map(Named::Alias),
        };
        let grant = self.grant(is_unchecked)?;
        if grant.limits_user() && user_id.is_none() && user_email.is_none() {
            return Err(unusable("limits bind a user, and it names none by user_id or user_email"));
        }
        let assertion = Assertion {
            user_id,
            user_email,
            role,
            teams: TeamClaim { one, ..TeamClaim::default() },
            organization: self.text("org_id")?.map(Named::Id),
            grant: Some(Arc::new(Grant { claims: self.object, ..grant })),
            ..Assertion::new(AuthMethod::Custom)
        };
        if !assertion.names_anyone() {
            return Ok(Verdict::Nobody);
        }
        Ok(Verdict::Named(Arc::new(Told { assertion: Arc::new(assertion), fields })))
    }

    /// The key the credential stands for. It is checked like every key, whatever the operator does without.
    fn of_key(mut self, key: &str, fields: Vec<(&'static str, Source)>) -> Result<Verdict, Trouble> {
        if !key.starts_with("sk-") {
            let message = "Authentication Error: the credential stands for no key of this gateway";
            return Ok(Verdict::Refused(Arc::new(Refusal::of_field(401, "api_key", message))));
        }
        if let Some((name, _)) = fields.iter().find(|(name, _)| OF_THE_KEY.contains(name)) {
            return Err(unusable(&format!("{name} stands beside api_key, and the key itself says that")));
        }
        let grant = self.grant(false)?;
        self.object.remove("api_key");
        let assertion = Assertion {
            key: Some(KeyHash::of(key)),
            grant: Some(Arc::new(Grant { claims: self.object, ..grant })),
            ..Assertion::new(AuthMethod::Custom)
        };
        Ok(Verdict::Named(Arc::new(Told { assertion: Arc::new(assertion), fields })))
    }

    fn grant(&self, is_unchecked: bool) -> Result<Grant, Trouble> {
        Ok(Grant {
            models: self.list("models")?.into_iter().collect(),
            routes: self.list("allowed_routes")?.into_iter().collect(),
            max_budget: self.money("max_budget")?,
            limits: Limits {
                rpm_limit: self.whole("rpm_limit")?,
                tpm_limit: self.whole("tpm_limit")?,
                max_parallel_requests: self.whole("max_parallel_requests")?,
                ..Limits::default()
            },
            end_user: self.text("end_user_id")?,
            is_unchecked,
            claims: Map::new(),
        })
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A text or a whole number; an empty text says nothing.
    fn text(&self, name: &str) -> Result<Option<Arc<str>>, Trouble> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value {
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) if text.len() <= MAX_TEXT && !text.chars().any(char::is_control) => {
                Ok(Some(text.as_str().into()))
            }
            Value::Number(_) => match whole(value) {
                Some(number) => Ok(Some(number.to_string().into())),
                None => Err(unusable(&format!("{name} is no text"))),
            },
            _ => Err(unusable(&format!("{name} is no text of at most {MAX_TEXT} bytes without control characters"))),
        }
    }

    fn list(&self, name: &str) -> Result<Option<Vec<String>>, Trouble> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let texts = value.as_array().filter(|list| list.len() <= MAX_LIST).and_then(|list| {
            list.iter().map(|entry| entry.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>()
        });
        texts.map(Some).ok_or_else(|| unusable(&format!("{name} is no list of at most {MAX_LIST} texts")))
    }

    fn whole(&self, name: &str) -> Result<Option<u64>, Trouble> {
        let Some(value) = self.value(name) else { return Ok(None) };
        whole(value).map(Some).ok_or_else(|| unusable(&format!("{name} is no whole number from 0 on")))
    }

    fn money(&self, name: &str) -> Result<Option<Money>, Trouble> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let dollars = value.as_f64().filter(|dollars| *dollars >= 0.0).and_then(Money::from_dollars);
        dollars.map(Some).ok_or_else(|| unusable(&format!("{name} is no number of dollars from 0 on")))
    }
}

/// What a refusal says.
pub(super) fn message(object: &Map<String, Value>) -> &str {
    let inner = object.get("error").unwrap_or(&Value::Null);
    let texts = [object.get("message"), inner.get("message"), Some(inner), object.get("detail")];
    texts.into_iter().flatten().find_map(Value::as_str).unwrap_or_default()
}

/// A whole number, also where the protocol knows floating-point numbers only.
fn whole(value: &Value) -> Option<u64> {
    /// Up to here every whole number is a floating-point number of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    value.as_u64().or_else(|| {
        let number = value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=EXACT).contains(number))?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is whole and in range")]
        Some(number as u64)
    })
}

fn unusable(why: &str) -> Trouble {
    Trouble::Unusable(why.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn verdict(object: Value) -> Result<Verdict, Trouble> {
        let Value::Object(object) = object else { panic!("an object") };
        Answer { object, source: Source::Answer, headers: Vec::new() }.verdict(false)
    }

    fn told(object: Value) -> Arc<Told> {
        match verdict(object) {
            Ok(Verdict::Named(told)) => told,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_field_finds_its_place() {
        let told = told(json!({
            "user_id": "ada", "user_email": "ada@example.com", "user_role": "internal_user_viewer", "team_id": "t1",
            "team_alias": "engines", "org_id": "o1", "end_user_id": "customer-7", "models": ["m", "n/*"],
            "allowed_routes": ["/v1/chat/completions"], "max_budget": 2.5, "rpm_limit": 7.0, "tpm_limit": 1000,
            "max_parallel_requests": 0, "department": "research",
        }));
        let (assertion, grant) = (&told.assertion, told.assertion.grant.as_ref().unwrap());
        assert_eq!(assertion.method, AuthMethod::Custom);
        assert_eq!(
            (assertion.user_id.as_deref(), assertion.user_email.as_deref()),
            (Some("ada"), Some("ada@example.com"))
        );
        assert_eq!(assertion.role, RoleClaim::Is(Role::InternalUserViewer));
        assert_eq!(assertion.teams.one, Some(Named::Id("t1".into())));
        assert_eq!(assertion.organization, Some(Named::Id("o1".into())));
        assert_eq!(grant.end_user.as_deref(), Some("customer-7"));
        assert_eq!(grant.models, [["m", "n/*"]]);
        assert_eq!(grant.routes, [["/v1/chat/completions"]]);
        assert_eq!(grant.max_budget, Some(Money::nanos(2_500_000_000)));
        let limits = &grant.limits;
        assert_eq!((limits.rpm_limit, limits.tpm_limit, limits.max_parallel_requests), (Some(7), Some(1000), Some(0)));
        assert_eq!(grant.claims["department"], "research");
        assert_eq!(told.fields.len(), 13);
    }

    #[test]
    fn who_is_named_by_no_field_is_nobody() {
        for object in [
            json!({}),
            json!({"user_id": null}),
            json!({"user_id": ""}),
            json!({"models": ["m"]}),
            json!({"user_role": "proxy_admin"}),
            json!({"org_id": "o"}),
            json!({"end_user_id": "e"}),
        ] {
            assert!(matches!(verdict(object.clone()), Ok(Verdict::Nobody)), "{object}");
        }
    }

    #[test]
    fn headers_count_where_the_object_is_silent() {
        let Value::Object(object) = json!({"user_id": "ada", "team_id": null}) else { panic!() };
        let headers = vec![
            ("x-tollward-user-id", "user_id", "mallory".to_owned()),
            ("x-tollward-team-id", "team_id", "t1".to_owned()),
        ];
        let answer = Answer { object, source: Source::Metadata, headers };
        let Ok(Verdict::Named(told)) = answer.verdict(false) else { panic!() };
        assert_eq!(told.assertion.user_id.as_deref(), Some("ada"));
        assert_eq!(told.assertion.teams.one, Some(Named::Id("t1".into())));
        assert_eq!(told.fields, [("user_id", Source::Metadata), ("team_id", Source::Header("x-tollward-team-id"))]);
    }

    #[test]
    fn a_key_is_known_by_its_hash_and_forgotten() {
        let told = told(json!({"api_key": "sk-of-the-directory", "models": ["m"], "end_user_id": "e"}));
        assert_eq!(told.assertion.key, Some(KeyHash::of("sk-of-the-directory")));
        assert!(!format!("{told:?}").contains("sk-of-the-directory"));
        let Value::Object(object) = json!({"api_key": "sk-x"}) else { panic!() };
        let answer = Answer { object, source: Source::Answer, headers: Vec::new() };
        let Ok(Verdict::Named(told)) = answer.verdict(true) else { panic!() };
        assert!(!told.assertion.grant.as_ref().unwrap().is_unchecked, "a key is checked like every key");
    }

    #[test]
    fn what_cannot_be_used_is_trouble_that_names_the_field() {
        for (object, named) in [
            (json!({"user_id": ["a"]}), "user_id"),
            (json!({"user_id": "a\nb"}), "user_id"),
            (json!({"user_id": "a".repeat(MAX_TEXT + 1)}), "user_id"),
            (json!({"user_id": 1.5}), "user_id"),
            (json!({"user_id": "a", "models": "m"}), "models"),
            (json!({"user_id": "a", "models": [1]}), "models"),
            (json!({"user_id": "a", "rpm_limit": -1}), "rpm_limit"),
            (json!({"user_id": "a", "rpm_limit": "7"}), "rpm_limit"),
            (json!({"user_id": "a", "tpm_limit": 1e300}), "tpm_limit"),
            (json!({"user_id": "a", "max_budget": -0.5}), "max_budget"),
            (json!({"team_id": "t", "rpm_limit": 7}), "user_id"),
            (json!({"api_key": "sk-x", "user_id": "a"}), "user_id"),
            (json!({"api_key": "sk-x", "rpm_limit": 1}), "rpm_limit"),
        ] {
            match verdict(object.clone()) {
                Err(Trouble::Unusable(why)) => assert!(why.contains(named), "{object}: {why}"),
                other => panic!("{object}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_unknown_role_and_a_text_that_is_no_key_are_refused() {
        for (object, status, param) in [
            (json!({"user_id": "a", "user_role": "emperor"}), 403, "user_role"),
            (json!({"api_key": "hunter2"}), 401, "api_key"),
        ] {
            let Ok(Verdict::Refused(refusal)) = verdict(object) else { panic!("{param}") };
            let denial = refusal.denial();
            assert_eq!((denial.status, denial.param.as_deref()), (status, Some(param)));
            assert!(!denial.message.contains("hunter2"));
        }
    }
}
