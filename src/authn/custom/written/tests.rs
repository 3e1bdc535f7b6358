use serde_json::json;

use super::super::super::{Kept, Named, RoleClaim};
use super::super::testing::Shown;
use super::super::{Custom, testing};
use super::*;
use crate::authn::Assertion;
use crate::domain::{KeyHash, Role};
use crate::telemetry::testing::Lines;

/// The credential of every request here.
const SECRET: &str = "opaque-secret-of-ada";
const HEADERS: &[(&str, &[u8])] = &[("authorization", b"Bearer opaque-secret-of-ada"), ("x-team", b"blue")];

fn config(mode: &str, expression: &str) -> Config {
    let settings = json!({"mode": mode, "expression": expression});
    let general = json!({"master_key": "sk-0123456789", "custom_auth_settings": settings});
    Config::parse(&json!({"general_settings": general}).to_string(), "t.yaml", &|_| None).unwrap().0
}

/// What the expression says of a request, and how that is explained.
fn ask_with(config: &Config, shown: &Shown<'_>) -> (Result<Option<Arc<Assertion>>, Denial>, String) {
    let custom = Custom::new(config, &Kept::default()).unwrap().unwrap();
    let mut trace = Trace::on();
    let found = testing::ask(shown, |ask| futures_util::FutureExt::now_or_never(custom.ask(ask, &mut trace)));
    let steps = trace.into_steps().into_iter().map(|step| format!("{}: {}\n", step.check, step.found)).collect();
    (found.expect("nobody is waited for"), steps)
}

fn ask(mode: &str, expression: &str) -> Result<Option<Arc<Assertion>>, Denial> {
    let shown = Shown { headers: HEADERS, extensions: &[("tenant", "engines")], ..Shown::default() };
    ask_with(&config(mode, expression), &shown).0
}

/// Status and reason.
fn refusal(mode: &str, expression: &str) -> (u16, String) {
    let denial = ask(mode, expression).expect_err(expression);
    assert!(!denial.message.contains(SECRET), "{denial:?}");
    (denial.status, denial.reason.into_owned())
}

#[test]
fn it_names_the_caller_as_a_webhook_does() {
    let expression = "credential.endsWith('-of-ada') && request.method == 'POST' \
         ? {'user_id': 'ada', 'user_role': 'internal_user_viewer', 'team_id': request.extensions['tenant'], \
            'models': ['m'], 'rpm_limit': 7, 'max_budget': 2.5, 'department': request.headers['x-team']} \
         : null";
    let assertion = ask("on", expression).unwrap().unwrap();
    assert_eq!(assertion.user_id.as_deref(), Some("ada"));
    assert_eq!(assertion.role, RoleClaim::Is(Role::InternalUserViewer));
    assert_eq!(assertion.teams.one, Some(Named::Id("engines".into())));
    let grant = assertion.grant.as_ref().unwrap();
    assert_eq!(grant.models, [["m"]]);
    assert_eq!(grant.limits.rpm_limit, Some(7));
    assert_eq!(grant.claims["department"], "blue");
}

#[test]
fn whoever_it_does_not_know_is_refused_or_left_to_the_gate() {
    for expression in ["null", "false", "{}", "{'models': ['m']}"] {
        assert_eq!(refusal("on", expression), (401, "custom_auth.nobody".to_owned()));
        assert!(ask("auto", expression).unwrap().is_none(), "{expression}");
    }
    assert!(Custom::new(&config("off", "null"), &Kept::default()).unwrap().is_none());
}

#[test]
fn it_refuses_by_word_and_what_it_names_is_judged_as_that_of_a_webhook() {
    for (expression, status, message) in [
        ("{'allow': false, 'message': 'not you', 'status': 401}", 401, "not you"),
        ("{'allow': false, 'message': 'not you'}", 403, "not you"),
        ("{'user_id': 'ada', 'user_role': 'emperor'}", 403, "user_role"),
        ("{'api_key': 'no-key'}", 401, "no key of this gateway"),
        ("{'api_key': credential}", 401, "no key of this gateway"),
    ] {
        let denial = ask("on", expression).unwrap_err();
        assert_eq!((denial.status, &*denial.reason), (status, "custom_auth.refused"), "{expression}");
        assert!(denial.message.contains(message) && !denial.message.contains(SECRET), "{expression}: {denial:?}");
    }
    let key = ask("on", "{'api_key': 'sk-of-the-directory'}").unwrap().unwrap();
    assert_eq!(key.key, Some(KeyHash::of("sk-of-the-directory")));
}

#[test]
fn what_has_no_value_that_can_be_used_is_refused_in_every_mode_and_told_seldom() {
    let lines = Lines::default();
    let broken = [
        ("{'user_id': request.headers['x-none']}", "a key or an index is not there"),
        ("request.headers['x-none'] == 'a' ? null : {'user_id': 'ada'}", "a key or an index is not there"),
        ("{'user_id': 'ada', 'rpm_limit': -1}", "rpm_limit is no whole number"),
        ("{'user_id': ['ada']}", "user_id is no text"),
        ("{'user_id': 'ada', 'allow': 'yes'}", "allow is neither true nor false"),
        ("{'team_id': 't', 'rpm_limit': 1}", "limits bind a user"),
    ];
    tracing::subscriber::with_default(lines.subscriber(), || {
        for (expression, reason) in broken {
            for mode in ["on", "auto"] {
                assert_eq!(refusal(mode, expression), (401, "custom_auth.unevaluated".to_owned()), "{expression}");
            }
            let shown = Shown::bearer(HEADERS);
            let (_, steps) = ask_with(&config("on", expression), &shown);
            assert!(steps.contains(reason), "{expression}: {steps}");
        }
    });
    let told = lines.with("custom_auth_settings.expression cannot be evaluated");
    assert_eq!(told.len(), 3 * broken.len(), "one each, since each is its own: {}", lines.text());
    assert!(!lines.text().contains(SECRET), "{}", lines.text());
}

#[test]
fn credentials_are_read_from_the_credential_alone_and_never_shown() {
    let shown = Shown { headers: HEADERS, ..Shown::default() };
    let hidden = "'authorization' in request.headers ? {'user_id': 'leak'} : {'user_id': 'ada'}";
    let (found, _) = ask_with(&config("on", hidden), &shown);
    assert_eq!(found.unwrap().unwrap().user_id.as_deref(), Some("ada"));
    let (found, steps) = ask_with(&config("on", "credential == '' ? null : {'user_id': 'ada'}"), &shown);
    assert!(found.is_ok() && steps.contains("user_id is from the expression"), "{steps}");
    assert!(!steps.contains(SECRET), "{steps}");
    let nothing = Shown::default();
    let (found, _) = ask_with(&config("on", "credential == '' ? {'user_id': 'guest'} : null"), &nothing);
    assert_eq!(found.unwrap().unwrap().user_id.as_deref(), Some("guest"), "a request without one is judged too");
}

#[test]
fn every_field_of_a_request_can_be_asked_before_the_caller_is_known() {
    for expression in [
        "request.path == '/v1/chat/completions' && request.api == 'openai_chat' && request.body_bytes == 71",
        "request.client_ip == '10.0.0.1' && request.stream && request.max_tokens == 5 && request.end_user == 'acme'",
        "'gold' in request.tags && 'tools' in request.parameters && request.extensions.tenant == 'engines'",
        "now > timestamp('2024-01-01T00:00:00Z')",
    ] {
        let shown = Shown {
            headers: &[("x-litellm-tags", b"gold")],
            body: Some(br#"{"model":"m","stream":true,"max_tokens":5,"user":"acme","tools":[]    }"#),
            extensions: &[("tenant", "engines")],
            ..Shown::default()
        };
        let (found, steps) = ask_with(&config("on", &format!("{expression} ? {{'user_id': 'ada'}} : null")), &shown);
        assert!(found.is_ok(), "{expression}: {steps}");
    }
}

#[test]
fn the_expression_of_the_page_says_what_the_page_says() {
    let page = include_str!("../../../../docs/custom-auth.md");
    let env = |name: &str| name.ends_with("KEY").then(|| "sk-of-the-environment-0123456789".to_owned());
    let block = crate::config::pages::blocks(page).into_iter().find(|block| block.contains("expression:")).unwrap();
    let (config, _) = Config::parse(&block, "page", &env).unwrap();
    let inside = Shown { client: "10.20.0.7", extensions: &[("tenant", "engines")], ..Shown::default() };
    let (found, _) = ask_with(&config, &inside);
    assert_eq!(found.unwrap().unwrap().teams.one, Some(Named::Id("engines".into())));
    let (found, _) = ask_with(&config, &Shown::bearer(&[("authorization", b"Bearer v1-of-old")]));
    let denial = found.unwrap_err();
    assert!(denial.status == 401 && denial.message.contains("ask for a key"), "{denial:?}");
    let (found, _) = ask_with(&config, &Shown::bearer(HEADERS));
    assert!(found.unwrap().is_none(), "the gate decides");
}
