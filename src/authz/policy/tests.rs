use std::borrow::Cow;
use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::{Api, AuthMethod, Caller, Identity, Key, KeyHash, Role, Team, Timestamp, User};
use crate::request::Headers;
use crate::telemetry::testing::Lines;

fn policies(rules: &serde_json::Value) -> Policies {
    let policy: Policy = serde_json::from_value(json!({"rules": rules})).unwrap();
    Policies::new(&policy).unwrap_or_else(|(path, message)| panic!("{path}: {message}"))
}

fn rule(effect: &str, when: &str) -> serde_json::Value {
    json!({"name": "r", "when": when, "effect": effect})
}

/// A caller with everything that can be asked for.
fn caller() -> Caller {
    let mut key = Key::new(KeyHash::of("sk-the-key"), Timestamp::default());
    key.key_alias = Some("engine-key".into());
    key.metadata = json!({"tier": "gold"}).as_object().cloned().unwrap();
    let user = User { user_id: "ada".into(), user_email: Some("ada@example.com".into()), ..User::default() };
    let team = Team {
        team_id: "t1".into(),
        team_alias: Some("engines".into()),
        metadata: json!({"floors": [1, 2]}).as_object().cloned().unwrap(),
        ..Team::default()
    };
    let identity =
        Identity { key: Some(key), user: Some(Arc::new(user)), team: Some(Arc::new(team)), ..Identity::default() };
    Caller::new(AuthMethod::VirtualKey, Role::InternalUser, Arc::new(identity))
}

/// The judgement on a chat of that caller, at noon of a Thursday, for these models.
fn judge(policies: &Policies, models: &[(&str, &str, &[Arc<str>])]) -> Judgement {
    let headers = Headers(vec![
        ("x-team", b"blue"),
        ("x-team", b"red"),
        ("authorization", b"Bearer sk-the-key"),
        ("x-own-key", b"sk-the-key"),
        ("cookie", b"token=sk-the-key"),
        ("x-binary", b"\xff"),
    ]);
    let claims = json!({"groups": ["engines"]});
    let (tags, parameters): (Vec<Arc<str>>, Vec<Cow<'_, str>>) = (vec!["green".into()], vec!["tools".into()]);
    let caller = caller();
    let request = RequestFacts {
        method: "POST",
        path: "/v1/chat/completions",
        api: Api::OpenAiChat,
        headers: &headers,
        credential_header: Some("x-own-key"),
        client: "::ffff:10.1.2.3".parse().ok(),
        stream: true,
        max_tokens: None,
        end_user: Some("acme-7"),
        tags: &tags,
        extensions: &[("zone", "eu")],
        parameters: &parameters,
        body_bytes: 120,
    };
    let facts = Facts {
        request,
        caller: &caller,
        claims: claims.as_object(),
        now: Timestamp::parse("2026-11-26T12:00:00Z").unwrap(),
    };
    let models = models.iter().map(|(name, target, access_groups)| ModelFacts { name, target, access_groups });
    policies.judge(&facts, models)
}

fn refused(policies: &Policies) -> Option<String> {
    let groups: [Arc<str>; 1] = ["premium".into()];
    judge(policies, &[("gpt-4o", "azure-gpt-4o", &groups)]).denial.map(|denial| denial.reason.into_owned())
}

#[test]
fn each_variable_holds_what_the_request_and_its_caller_have() {
    for when in [
        "request.method == 'POST' && request.path == '/v1/chat/completions' && request.api == 'openai_chat'",
        "request.headers['x-team'] == 'blue' && request.headers.size() == 1",
        "!('authorization' in request.headers) && !('cookie' in request.headers) && !('x-own-key' in request.headers)",
        "request.client_ip == '10.1.2.3' && request.stream && request.max_tokens == -1 && request.body_bytes == 120",
        "request.end_user.startsWith('acme-') && 'green' in request.tags && request.extensions.zone == 'eu'",
        "'tools' in request.parameters && request.parameters.all(name, name != 'functions')",
        "caller.method == 'virtual_key' && caller.role == 'internal_user' && caller.organization_id == ''",
        "caller.user_id == 'ada' && caller.user_email.endsWith('@example.com') && caller.key_alias == 'engine-key'",
        "caller.team_id == 't1' && caller.team_alias == 'engines' && caller.metadata.tier == 'gold'",
        "2 in caller.team_metadata.floors && 'engines' in caller.claims.groups",
        "model.name == 'gpt-4o' && model.target == 'azure-gpt-4o' && 'premium' in model.access_groups",
        "now.getHours() == 12 && now.getHours('Europe/Berlin') == 13 && now.getDayOfWeek() == 4",
        "now > timestamp('2026-11-26T11:59:59Z') && now - duration('1h') < timestamp('2026-11-26T11:00:01Z')",
    ] {
        assert_eq!(refused(&policies(&json!([rule("allow", when)]))), None, "{when}");
        assert_eq!(refused(&policies(&json!([rule("deny", when)]))).as_deref(), Some("policy.r"), "{when}");
    }
}

#[test]
fn every_declared_field_has_a_value() {
    for (variable, fields) in crate::expression::request_fields() {
        for field in fields {
            // A text, a list or a map has a size, everything else is equal to itself.
            let forms = [format!("size({variable}.{field}) >= 0"), format!("{variable}.{field} == {variable}.{field}")];
            let compiled: Vec<_> =
                forms.iter().filter(|form| Expression::over_requests(form).is_ok()).map(String::as_str).collect();
            assert!(!compiled.is_empty(), "{variable}.{field}");
            for when in compiled {
                assert_eq!(refused(&policies(&json!([rule("allow", when)]))), None, "{when}");
            }
        }
    }
}

#[test]
fn rules_decide_as_they_say() {
    let deny = |name: &str, when: &str| json!({"name": name, "when": when, "effect": "deny"});
    let allow = |name: &str, when: &str| json!({"name": name, "when": when, "effect": "allow"});
    for (rules, expected) in [
        (json!([]), None),
        (json!([deny("a", "false")]), None),
        (json!([deny("a", "false"), deny("b", "true"), deny("c", "true")]), Some("policy.b")),
        (json!([allow("a", "false")]), Some("policy.no_allow")),
        (json!([allow("a", "false"), allow("b", "true")]), None),
        // A refusal is stronger, wherever it stands.
        (json!([allow("a", "true"), deny("b", "true")]), Some("policy.b")),
        // What cannot be evaluated counts against the request.
        (json!([deny("a", "request.headers.nobody == 'x'")]), Some("policy.a")),
        (json!([allow("a", "request.headers.nobody == 'x'")]), Some("policy.no_allow")),
        (json!([allow("a", "caller.metadata.tier > 1"), allow("b", "true")]), None),
    ] {
        assert_eq!(refused(&policies(&rules)).as_deref(), expected, "{rules}");
    }
}

#[test]
fn a_refusal_is_a_403_with_the_message_of_the_rule() {
    let rules = json!([{"name": "night", "when": "true", "effect": "deny", "message": "come back in the morning"}]);
    let denial = judge(&policies(&rules), &[]).denial.unwrap();
    assert_eq!((denial.status, denial.kind.as_str()), (403, "permission_error"));
    assert_eq!((denial.message.as_str(), denial.reason.as_ref()), ("come back in the morning", "policy.night"));
    let denial = judge(&policies(&json!([rule("deny", "true")])), &[]).denial.unwrap();
    assert_eq!(denial.message, "refused by the policy r");
}

#[test]
fn a_rule_in_shadow_mode_refuses_nothing_and_says_what_it_would_have_done() {
    let shadow =
        |name: &str, effect: &str, when: &str| json!({"name": name, "when": when, "effect": effect, "mode": "shadow"});
    for (rules, expected) in [
        (json!([shadow("a", "deny", "true"), shadow("b", "deny", "false")]), vec![("a", "policy.a")]),
        (json!([shadow("a", "deny", "request.headers.nobody == 'x'")]), vec![("a", "policy.a")]),
        (json!([shadow("a", "allow", "false"), shadow("b", "allow", "false")]), vec![("a", "policy.no_allow")]),
        (json!([shadow("a", "allow", "false"), shadow("b", "allow", "true")]), vec![]),
        // One more way to be allowed refuses nothing.
        (json!([shadow("a", "allow", "false"), {"name": "b", "when": "true", "effect": "allow"}]), vec![]),
    ] {
        let none: [Arc<str>; 0] = [];
        let judgement = judge(&policies(&rules), &[("m1", "m1", &none), ("m2", "m2", &none)]);
        assert!(judgement.denial.is_none(), "{rules}");
        let shadows: Vec<_> =
            judgement.shadows.iter().map(|shadow| (shadow.name.as_str(), shadow.denial.reason.as_ref())).collect();
        assert_eq!(shadows, expected, "{rules}");
    }
}

#[test]
fn every_model_of_a_request_must_pass_and_one_without_is_asked_too() {
    let none: [Arc<str>; 0] = [];
    let dear = policies(&json!([rule("deny", "model.name == 'dear'")]));
    assert!(judge(&dear, &[("cheap", "cheap", &none)]).denial.is_none());
    assert!(judge(&dear, &[("cheap", "cheap", &none), ("dear", "dear", &none)]).denial.is_some());
    let nameless = policies(&json!([rule("deny", "model.name == '' && model.access_groups.size() == 0")]));
    assert!(judge(&nameless, &[]).denial.is_some());
}

#[test]
fn a_condition_that_does_not_compile_is_named_with_its_place() {
    let policy: Policy =
        serde_json::from_value(json!({"rules": [rule("deny", "true"), rule("deny", "caller.rol == 'x'")]})).unwrap();
    let (path, message) = Policies::new(&policy).unwrap_err();
    assert_eq!(path, "policy.rules[1].when");
    assert!(message.starts_with("at 1:7 of the expression: caller has no field rol; it has "), "{message}");
}

#[test]
fn a_rule_that_cannot_be_evaluated_is_told_once_a_second_and_not_once_a_request() {
    let broken = |name: &str| json!({"name": name, "when": "request.headers['x-none'] == 'a'", "effect": "deny"});
    let mut shadow = broken("shadow");
    shadow["mode"] = json!("shadow");
    let (policies, lines) = (policies(&json!([shadow, broken("enforced")])), Lines::default());
    let began = Instant::now();
    tracing::subscriber::with_default(lines.subscriber(), || {
        for _ in 0..500 {
            assert_eq!(refused(&policies).as_deref(), Some("policy.enforced"));
        }
    });
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    for name in ["shadow", "enforced"] {
        let told = lines.with(&format!("policy=\"{name}\"")).len();
        assert!((1..=most).contains(&told), "{name}: {told} lines: {}", lines.text());
    }
}
