//! Against a real identity provider: who asks, what is believed, what is kept, and what happens when it fails.

use std::sync::LazyLock;
use std::time::Instant;

use serde_json::{Value, json};

use super::*;
use crate::authn::{Named, RoleClaim};
use crate::config::Config;
use crate::domain::{AuthMethod, Role};
use crate::real::idp::{ASSERTER, Client, Fault, GATEWAY, Idp, POSTER, PUBLIC};
use crate::real::wait::eventually;
use crate::request::{Headers, HttpRequest, ReadSettings, RequestView};
use crate::telemetry::testing::Lines;

/// The provider of the tests that disturb nobody. What they count, they count on paths of their own.
static SHARED: LazyLock<Idp> = LazyLock::new(Idp::start);

fn general(settings: &Value) -> General {
    let mut general = json!({"master_key": "sk-a-long-master-key", "enable_oauth2_auth": true});
    general.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let text = json!({"general_settings": general}).to_string();
    Config::parse(&text, "file", &|_| None).unwrap_or_else(|error| panic!("{error}")).0.general_settings
}

fn oauth2(settings: &Value) -> OAuth2 {
    OAuth2::of(&general(settings), &Kept::default()).unwrap().expect("it is enabled")
}

/// Introspection at this URL as a client with a secret.
fn introspection(url: &str, more: &Value) -> OAuth2 {
    let mut settings = json!({
        "oauth_token_info_endpoint": url, "oauth_mode": "introspection",
        "oauth_client_id": GATEWAY.id, "oauth_client_secret": GATEWAY.secret,
    });
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    oauth2(&settings)
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::now().plus_millis(seconds * 1_000)
}

async fn ask_at(oauth2: &OAuth2, token: &str, now: Timestamp) -> Result<Arc<Assertion>, Denial> {
    oauth2.ask(token, now, &mut Trace::off()).await
}

async fn ask(oauth2: &OAuth2, token: &str) -> Result<Arc<Assertion>, Denial> {
    ask_at(oauth2, token, Timestamp::now()).await
}

/// Status and reason.
fn refusal<T: std::fmt::Debug>(answer: Result<T, Denial>) -> (u16, String) {
    let denial = answer.expect_err("a refusal");
    (denial.status, denial.reason.into_owned())
}

const INACTIVE: &str = "credential.inactive_token";
const UNAVAILABLE: &str = "auth_provider.unavailable";

#[tokio::test]
async fn a_real_provider_takes_every_way_to_prove_who_asks() {
    let idp = &*SHARED;
    let key = |alg: &str| json!({"oauth_client_auth": "private_key_jwt", "oauth_client_key": idp.client_key(alg)});
    let of_issuer = |alg: &str, mut settings: Value| {
        settings["oauth_issuer"] = json!(idp.issuer());
        settings["oauth_client_key_id"] = json!(format!("client-{alg}"));
        settings
    };
    let secret = |client: &Client, way: &str| json!({"oauth_client_auth": way, "oauth_client_secret": client.secret});
    let cases = [
        ("Basic", &GATEWAY, secret(&GATEWAY, "basic")),
        ("the body", &POSTER, secret(&POSTER, "post")),
        ("RS256", &ASSERTER, of_issuer("RS256", key("RS256"))),
        ("ES256", &ASSERTER, of_issuer("ES256", key("ES256"))),
        ("EdDSA", &ASSERTER, of_issuer("EdDSA", key("EdDSA"))),
        ("RS256, the endpoint as audience", &ASSERTER, key("RS256")),
        ("ES256, the endpoint as audience", &ASSERTER, key("ES256")),
        ("a public client", &PUBLIC, json!({"oauth_client_auth": "none"})),
    ];
    for (name, client, mut settings) in cases {
        settings["oauth_token_info_endpoint"] = json!(idp.introspection_url());
        settings["oauth_mode"] = json!("introspection");
        settings["oauth_client_id"] = json!(client.id);
        let oauth2 = oauth2(&settings);
        for user in ["ada", "grace"] {
            let token = idp.opaque(json!({"account": user}));
            let found = ask(&oauth2, &token).await.unwrap_or_else(|denial| panic!("{name}: {denial:?}"));
            assert_eq!(found.user_id.as_deref(), Some(user), "{name}");
            assert_eq!(found.method, AuthMethod::OAuth2);
        }
    }
}

#[tokio::test]
async fn a_gate_that_the_provider_does_not_know_is_trouble_and_no_bad_token() {
    let idp = &*SHARED;
    let token = idp.opaque(json!({}));
    let oauth2 = introspection(&idp.introspection_url(), &json!({"oauth_client_secret": "another"}));
    let denial = ask(&oauth2, &token).await.unwrap_err();
    assert_eq!((denial.status, denial.kind.as_str()), (503, "auth_provider_unavailable"));
    assert!(denial.retry_after.is_some());
}

#[tokio::test]
async fn what_the_provider_says_becomes_the_assertion() {
    let idp = &*SHARED;
    let extra = json!({
        "role": "proxy_admin_viewer", "team_id": "t-1", "org": {"ids": ["o-1"]}, "email": "ada@example.com",
    });
    let token = idp.opaque(json!({"account": "ada", "extra": extra}));
    let oauth2 = introspection(&idp.introspection_url(), &json!({"oauth_org_id_field_name": "org.ids[0]"}));
    let mut trace = Trace::on();
    let found = oauth2.ask(&token, Timestamp::now(), &mut trace).await.unwrap();
    assert_eq!(found.user_id.as_deref(), Some("ada"));
    assert_eq!(found.user_email.as_deref(), Some("ada@example.com"));
    assert_eq!(found.role, RoleClaim::Is(Role::ProxyAdminViewer));
    assert_eq!(found.teams.one, Some(Named::Id("t-1".into())));
    assert_eq!(found.organization, Some(Named::Id("o-1".into())));
    assert_eq!(found.grant.as_ref().unwrap().claims["client_id"], GATEWAY.id);

    let steps: Vec<String> = trace.into_steps().into_iter().map(|step| step.found).collect();
    let told = steps.join("\n");
    for line in [
        format!("introspection at {} answers", idp.introspection_url()).as_str(),
        "sub says user \"ada\"",
        "email says e-mail \"ada@example.com\"",
        "role says role \"proxy_admin_viewer\"",
        "team_id says team \"t-1\"",
        "org.ids[0] says organization \"o-1\"",
    ] {
        assert!(steps.iter().any(|step| step == line), "{line} is told in {told}");
    }
    let mut trace = Trace::on();
    oauth2.ask(&token, Timestamp::now(), &mut trace).await.unwrap();
    let again = format!("{:?}", trace.into_steps());
    assert!(again.contains("answered a while ago"), "{again}");
    assert!(!told.contains(&token) && !again.contains(&token), "the token is never told");
}

#[tokio::test]
async fn a_revoked_token_works_until_its_answer_is_too_old_and_never_past_its_end() {
    let idp = &*SHARED;
    let oauth2 = introspection(&idp.introspection_url(), &json!({}));
    let (token, short) = (idp.opaque(json!({})), idp.opaque(json!({"ttl": 100})));
    assert!(ask(&oauth2, &token).await.is_ok());
    assert!(ask(&oauth2, &short).await.is_ok());
    idp.revoke(&token);
    assert!(ask_at(&oauth2, &token, later(298)).await.is_ok(), "oauth_cache_ttl is 300 seconds");
    assert_eq!(refusal(ask_at(&oauth2, &token, later(301)).await), (401, INACTIVE.to_owned()));
    assert!(ask_at(&oauth2, &short, later(98)).await.is_ok());
    let denial = ask_at(&oauth2, &short, later(101)).await.unwrap_err();
    assert_eq!((denial.status, denial.kind.as_str()), (401, "expired_key"), "the provider said when it ends");
}

#[tokio::test]
async fn what_is_not_said_to_be_active_is_refused() {
    let idp = &*SHARED;
    let oauth2 = introspection(&idp.introspection_url(), &json!({}));
    // Row 63.
    for token in [idp.opaque(json!({"ttl": -10})), "no-token-at-all".to_owned()] {
        assert_eq!(refusal(ask(&oauth2, &token).await), (401, INACTIVE.to_owned()));
    }
    // Row 64, and what is not the one true `true`.
    for (path, said) in [
        ("/no-active", json!({"sub": "ada"})),
        ("/active-text", json!({"sub": "ada", "active": "true"})),
        ("/active-one", json!({"sub": "ada", "active": 1})),
        ("/active-null", json!({"sub": "ada", "active": null})),
    ] {
        idp.serve(path, "application/json", &said.to_string());
        let oauth2 = introspection(&idp.url(path), &json!({}));
        assert_eq!(refusal(ask(&oauth2, "any").await), (401, INACTIVE.to_owned()), "{path}");
    }
}

#[tokio::test]
async fn only_tokens_meant_for_this_gate_pass() {
    let idp = &*SHARED;
    let (ours, theirs) = ("https://gate.example", "https://other.example");
    let settings = json!({
        "oauth_audience": [ours], "oauth_required_scopes": ["openid", "models:call"], "oauth_issuer": idp.issuer(),
    });
    let oauth2 = introspection(&idp.introspection_url(), &settings);
    let token = |audience: Value, scope: &str| idp.opaque(json!({"audience": audience, "scope": scope}));
    let both = "models:call openid";
    assert!(ask(&oauth2, &token(json!(ours), both)).await.is_ok());
    for audience in [json!(theirs), json!(null)] {
        let answer = ask(&oauth2, &token(audience, both)).await;
        assert_eq!(refusal(answer), (401, "credential.wrong_audience".to_owned()));
    }
    let denial = ask(&oauth2, &token(json!(ours), "openid")).await.unwrap_err();
    assert_eq!((denial.status, denial.param.as_deref()), (403, Some("scope")));
    let other = introspection(&idp.introspection_url(), &json!({"oauth_issuer": theirs}));
    assert_eq!(refusal(ask(&other, &token(json!(ours), both)).await), (401, "credential.wrong_issuer".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_a_token_is_not_asked_about() {
    let oauth2 = introspection("http://127.0.0.1:1/introspect", &json!({}));
    for text in ["a b", "a\nb", "ä", "\u{7f}", &"x".repeat(16 * 1024 + 1)] {
        assert_eq!(refusal(ask(&oauth2, text).await), (401, INACTIVE.to_owned()));
    }
}

#[tokio::test]
async fn token_info_shows_the_token_itself() {
    let idp = &*SHARED;
    let real = oauth2(&json!({"oauth_token_info_endpoint": idp.userinfo_url()}));
    let token = idp.opaque(json!({"account": "ada", "claims": {"role": "internal_user_viewer"}}));
    let found = ask(&real, &token).await.unwrap();
    assert_eq!((found.user_id.as_deref(), found.role), (Some("ada"), RoleClaim::Is(Role::InternalUserViewer)));
    idp.revoke(&token);
    assert_eq!(refusal(ask_at(&real, &token, later(301)).await), (401, INACTIVE.to_owned()));

    idp.serve("/tokeninfo", "application/json", r#"{"active": false, "sub": "ada"}"#);
    let served = oauth2(&json!({"oauth_token_info_endpoint": idp.url("/tokeninfo")}));
    assert_eq!(refusal(ask(&served, "any").await), (401, INACTIVE.to_owned()), "where active is there it counts");
    let asked = &idp.requests("/tokeninfo")[0];
    assert_eq!((&asked["method"], &asked["headers"]["authorization"]), (&json!("GET"), &json!("Bearer any")));
}

#[tokio::test]
async fn userinfo_is_read_as_the_claims_of_an_opaque_token() {
    let idp = &*SHARED;
    let endpoint = super::super::fetch::check_url(&idp.userinfo_url()).unwrap();
    let claims: ClaimsToAssertion = Arc::new(|claims| {
        let mut assertion = Assertion::new(AuthMethod::OAuth2);
        assertion.user_id = claims["sub"].as_str().map(Arc::from);
        assertion.user_email = claims.get("email").and_then(Value::as_str).map(Arc::from);
        Ok(assertion)
    });
    let second = std::time::Duration::from_secs(1);
    let userinfo = Userinfo::new(endpoint, 10 * second, 60 * second, claims).unwrap();
    let token = idp.opaque(json!({"account": "joan", "claims": {"email": "joan@example.com"}}));
    let at = async |now: Timestamp| userinfo.ask(&token, now, &mut Trace::off()).await;
    assert_eq!(at(later(0)).await.unwrap().user_email.as_deref(), Some("joan@example.com"));
    idp.revoke(&token);
    assert_eq!(at(later(58)).await.unwrap().user_id.as_deref(), Some("joan"));
    assert_eq!(refusal(at(later(61)).await), (401, INACTIVE.to_owned()));
}

#[test]
fn two_hundred_who_show_one_token_on_several_runtimes_cost_one_question() {
    let idp = &*SHARED;
    idp.serve("/once", "application/json", r#"{"active": true, "sub": "ada"}"#);
    let oauth2 = introspection(&idp.url("/once"), &json!({}));
    let crowd = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let all = futures_util::future::join_all((0..50).map(|_| ask(&oauth2, "the-one-token"))).await;
            assert!(all.iter().all(|found| found.as_ref().unwrap().user_id.as_deref() == Some("ada")));
        });
    };
    std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(crowd))));
    assert_eq!(idp.count("/once"), 1);
}

#[tokio::test]
async fn refused_tokens_are_remembered_for_a_short_while() {
    let idp = &*SHARED;
    idp.serve("/refuses", "application/json", r#"{"active": false}"#);
    let oauth2 = introspection(&idp.url("/refuses"), &json!({}));
    for (seconds, questions) in [(0, 1), (0, 1), (9, 1), (11, 2), (12, 2)] {
        assert_eq!(refusal(ask_at(&oauth2, "bad", later(seconds)).await), (401, INACTIVE.to_owned()));
        assert_eq!(idp.count("/refuses"), questions, "after {seconds} seconds");
    }
    assert!(ask_at(&oauth2, "bad", later(-3_600)).await.is_err());
    assert_eq!(idp.count("/refuses"), 3, "an answer from the future is not used");
}

#[tokio::test]
async fn tokens_that_begin_alike_are_different_tokens() {
    let idp = &*SHARED;
    let oauth2 = introspection(&idp.introspection_url(), &json!({}));
    let token = idp.opaque(json!({}));
    assert!(ask(&oauth2, &token).await.is_ok());
    for other in [&token[..token.len() - 1], &format!("{token}a"), &token.to_ascii_uppercase()] {
        assert_eq!(refusal(ask(&oauth2, other).await), (401, INACTIVE.to_owned()));
    }
}

#[tokio::test]
async fn answers_outlive_a_reload_that_changes_nothing_about_them() {
    let idp = &*SHARED;
    idp.serve("/kept", "application/json", r#"{"active": true, "sub": "ada", "uid": "grace"}"#);
    let kept = Kept::default();
    let mut settings = json!({
        "oauth_token_info_endpoint": idp.url("/kept"), "oauth_mode": "introspection",
        "oauth_client_id": "a", "oauth_client_secret": "b",
    });
    let mut ask_with = async |key: &str, value: Value| {
        settings[key] = value;
        let oauth2 = OAuth2::of(&general(&settings), &kept).unwrap().unwrap();
        (ask(&oauth2, "token").await.unwrap().user_id.clone().unwrap(), idp.count("/kept"))
    };
    assert_eq!(ask_with("master_key", json!("sk-one-master-key")).await, ("ada".into(), 1));
    assert_eq!(ask_with("master_key", json!("sk-other-master-key")).await, ("ada".into(), 1));
    assert_eq!(ask_with("oauth_client_secret", json!("c")).await, ("ada".into(), 2));
    assert_eq!(ask_with("oauth_user_id_field_name", json!("uid")).await, ("grace".into(), 3));
}

#[tokio::test]
async fn a_provider_that_fails_is_never_a_bad_token_and_is_not_waited_for() {
    let idp = Idp::start();
    let (known, fresh) = (idp.opaque(json!({"account": "ada"})), idp.opaque(json!({"account": "grace"})));
    let one = || introspection(&idp.introspection_url(), &json!({"oauth_timeout_ms": 1_000}));
    let faults = [
        Fault::Status { status: 500 },
        Fault::Status { status: 503 },
        Fault::Status { status: 404 },
        Fault::Status { status: 400 },
        Fault::Status { status: 401 },
        Fault::Status { status: 204 },
        Fault::Hang,
        Fault::Oversized { bytes: 20 << 20 },
        Fault::Redirect { to: "http://10.0.0.1/".to_owned() },
        Fault::Garbage,
        Fault::Cut,
        Fault::CutShort,
    ];
    for fault in faults {
        let oauth2 = one();
        assert!(ask(&oauth2, &known).await.is_ok());
        let name = format!("{fault:?}");
        idp.fault("introspection", fault);
        let start = Instant::now();
        assert_eq!(refusal(ask(&oauth2, &fresh).await), (503, UNAVAILABLE.to_owned()), "{name}");
        assert!(start.elapsed().as_secs() < 10, "{name}: {:?}", start.elapsed());
        assert!(ask_at(&oauth2, &known, later(290)).await.is_ok(), "{name}: what is known works on");
        assert_eq!(refusal(ask_at(&oauth2, &known, later(301)).await), (503, UNAVAILABLE.to_owned()), "{name}");
        idp.clear_faults();
        assert!(ask(&oauth2, &fresh).await.is_ok(), "{name}: a failure is not remembered");
    }
    let oauth2 = one();
    assert!(ask(&oauth2, &known).await.is_ok());
    idp.unplug();
    assert_eq!(refusal(ask(&oauth2, &fresh).await), (503, UNAVAILABLE.to_owned()));
    assert!(ask(&oauth2, &known).await.is_ok());
    idp.plug_in();
    assert!(ask(&oauth2, &fresh).await.is_ok());
}

#[tokio::test]
async fn a_dead_provider_is_left_alone_and_found_again() {
    let idp = Idp::start();
    let oauth2 = introspection(&idp.introspection_url(), &json!({}));
    let good = idp.opaque(json!({}));
    let lines = Lines::default();
    let _log = tracing::subscriber::set_default(lines.subscriber());
    idp.fault("introspection", Fault::Status { status: 500 });
    let start = Instant::now();
    for guess in 0..50 {
        assert_eq!(refusal(ask(&oauth2, &format!("guess-{guess}")).await), (503, UNAVAILABLE.to_owned()));
    }
    let (asked, seconds) = (idp.count("introspection"), start.elapsed().as_secs());
    assert!((3..=4 + seconds).contains(&asked), "{asked} questions in {seconds} seconds");
    idp.clear_faults();
    eventually("the provider is asked again", || async { ask(&oauth2, &good).await.map_err(|denial| denial.message) })
        .await;
    assert!(ask(&oauth2, &idp.opaque(json!({}))).await.is_ok(), "and at once from then on");
    for told in ["an identity provider gives no answer", "an identity provider answers again"] {
        assert_eq!(lines.with(told).len(), 1, "{}", lines.text());
    }
    assert!(!lines.text().contains("guess-"), "{}", lines.text());
}

#[tokio::test]
async fn a_provider_that_asks_for_fewer_questions_is_there_and_is_asked_the_next_one() {
    let idp = Idp::start();
    let oauth2 = introspection(&idp.introspection_url(), &json!({}));
    let good = idp.opaque(json!({}));
    idp.fault("introspection", Fault::Status { status: 429 });
    for guess in 0..8 {
        assert_eq!(refusal(ask(&oauth2, &format!("guess-{guess}")).await), (503, UNAVAILABLE.to_owned()));
    }
    assert_eq!(idp.count("introspection"), 8);
    idp.clear_faults();
    assert!(ask(&oauth2, &good).await.is_ok(), "at once");
}

#[tokio::test]
async fn a_question_goes_on_when_all_who_asked_it_have_gone() {
    let idp = Idp::start();
    let oauth2 = introspection(&idp.introspection_url(), &json!({"oauth_timeout_ms": 60_000}));
    let token = idp.opaque(json!({}));
    idp.fault("introspection", Fault::Hang);
    {
        let now = Timestamp::now();
        let mut trace = Trace::off();
        let mut first = std::pin::pin!(oauth2.ask(&token, now, &mut trace));
        let arrived = eventually("the question arrives", || async {
            if idp.count("introspection") == 1 { Ok(()) } else { Err(String::new()) }
        });
        tokio::select! {
            _ = &mut first => panic!("it hangs"),
            () = arrived => {}
        }
    }
    idp.clear_faults();
    let answers = &oauth2.server.answers;
    eventually("the answer lands with nobody there", || async {
        if answers.under_way() == 0 { Ok(()) } else { Err(String::new()) }
    })
    .await;
    assert!(ask(&oauth2, &token).await.is_ok());
    assert_eq!(idp.count("introspection"), 1);
}

#[test]
fn the_shape_of_a_credential_says_whether_it_is_asked_about() {
    let read = ReadSettings::new(&Config::default());
    let cases = [
        ("opaque-token", true, true),
        ("ory_at_abc.def", true, true),
        ("a.b.c", true, false),
        ("a.b.c.d.e", true, true),
        ("sk-a-key", false, false),
        ("sk-a.b.c", false, false),
    ];
    let settings = json!({"oauth_token_info_endpoint": "https://id.example.com/tokeninfo"});
    for (credential, alone, beside_jwt) in cases {
        let value = format!("Bearer {credential}");
        let http = HttpRequest {
            headers: Headers(vec![("authorization", value.as_bytes())]),
            method: "POST",
            path: "/v1/chat/completions",
            body: None,
            source: None,
            source_principal: "",
            extensions: Vec::new(),
            gateway: std::net::Ipv4Addr::LOCALHOST.into(),
        };
        let view = RequestView::read(&http, &read).unwrap();
        let ask = Ask { view: &view, now: Timestamp::now() };
        for (leaves_jwts, expected) in [(false, alone), (true, beside_jwt)] {
            let general = General { enable_jwt_auth: leaves_jwts, ..general(&settings) };
            let oauth2 = OAuth2::of(&general, &Kept::default()).unwrap().unwrap();
            assert_eq!(oauth2.knows(&ask), expected, "{credential}, JWTs left alone: {leaves_jwts}");
        }
    }
}

#[test]
fn settings_that_cannot_be_used_are_told_by_their_names() {
    let of = |settings: Value| OAuth2::of(&general(&settings), &Kept::default()).err().expect("an error");
    let url = "https://id.example.com/introspect";
    let key = |pem: &str| json!({"oauth_token_info_endpoint": url, "oauth_client_id": "a", "oauth_client_key": pem});
    let cases = [
        (json!({"oauth_token_info_endpoint": "http://id.example.com/x"}), "oauth_token_info_endpoint"),
        (json!({"oauth_token_info_endpoint": url, "oauth_user_id_field_name": "a..b"}), "oauth_user_id_field_name"),
        (json!({"oauth_token_info_endpoint": url, "oauth_org_id_field_name": "["}), "oauth_org_id_field_name"),
        (key("/no/such/file.pem"), "oauth_client_key"),
        (key("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), "oauth_client_key"),
    ];
    for (settings, name) in cases {
        let error = of(settings);
        assert!(error.contains(&format!("general_settings.{name}: ")), "{error}");
    }
    let key = SHARED.client_key("ES256");
    let error = of(json!({
        "oauth_token_info_endpoint": url, "oauth_client_id": "a", "oauth_client_key": key,
        "oauth_client_algorithm": "RS256",
    }));
    assert!(error.contains("general_settings.oauth_client_algorithm: "), "{error}");
}

#[test]
fn every_configuration_of_the_page_works_as_written_and_so_does_litellms() {
    let key = SHARED.client_key("EdDSA");
    let env = |name: &str| match name {
        "TOLLWARD_MASTER_KEY" => Some("sk-of-the-environment-0123456789".to_owned()),
        "OAUTH_CLIENT_KEY" => Some(key.clone()),
        "OAUTH_TOKEN_INFO_ENDPOINT" => Some("https://id.example.com/oauth/introspect".to_owned()),
        "OAUTH_CLIENT_ID" | "OAUTH_CLIENT_SECRET" => Some("of-the-environment".to_owned()),
        _ => None,
    };
    let modes = |text: &str| {
        let (config, warnings) = Config::parse(text, "page", &env).unwrap_or_else(|error| panic!("{error}"));
        assert!(warnings.is_empty());
        let oauth2 = OAuth2::of(&config.general_settings, &Kept::default()).unwrap();
        oauth2.expect("it is enabled").server.options.mode
    };
    let blocks = crate::config::pages::blocks(include_str!("../../../docs/oauth2.md"));
    use OAuthMode::{Introspection, TokenInfo};
    assert_eq!(blocks.iter().map(|block| modes(block)).collect::<Vec<_>>(), [Introspection, Introspection, TokenInfo]);
    assert_eq!(modes("general_settings: {enable_oauth2_auth: true}"), Introspection);
}
