//! Signed tokens through Envoy, from a real identity provider (rows 50 to 61 of the conformance list), and each option
//! of how they are read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

#[path = "jwt/examples.rs"]
mod examples;
#[path = "jwt/issuers.rs"]
mod issuers;
#[path = "jwt/keys.rs"]
mod keys;
#[path = "jwt/limits.rs"]
mod limits;
#[path = "jwt/permissions.rs"]
mod permissions;
#[path = "jwt/teams.rs"]
mod teams;
#[path = "jwt/users.rs"]
mod users;

use support::cli::{run, text};
use support::idp::Signing;
use support::signed::{ADMIN, denied, passes, row, signed, signed_with};
use support::{Options, Stack, Value, eventually, json, unique};

#[tokio::test]
async fn a_token_of_the_provider_is_a_caller_and_its_claims_say_which() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "user_email_jwt_field": "email"})).await;
    let token = signed.token(&json!({"sub": "ada", "email": "ada@example.com"}));
    for _ in 0..2 {
        let received = signed.bearer(&token).send().await.allowed();
        assert_eq!(received.header("x-tollward-user-id"), Some("ada"));
        assert_eq!(received.header("x-tollward-auth-method"), Some("jwt"));
        assert_eq!(received.header("authorization"), None);
    }
}

#[tokio::test]
async fn a_token_that_is_not_good_is_refused_as_what_it_is() {
    let signed = signed(json!({"user_id_jwt_field": "sub"})).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    signed
        .hold(vec![
            row("51: expired", json!({"exp": now - 3_600}), denied(401, "expired_key")),
            row("no exp", json!({"exp": null}), denied(401, "auth_error")),
            row("another audience", json!({"aud": "https://elsewhere.example"}), denied(401, "auth_error")),
            row("no audience", json!({"aud": null}), denied(401, "auth_error")),
            row(
                "ours among others",
                json!({"aud": ["https://elsewhere.example", "https://gateway.example"]}),
                passes(&[]),
            ),
            row("not yet", json!({"nbf": now + 3_600}), denied(401, "auth_error")),
        ])
        .await;
    let answer = signed.chat(&json!({"exp": now - 3_600})).await;
    assert!(answer.header("www-authenticate").is_some(), "a bad credential asks for a good one");
    // Virtual keys live beside tokens.
    let key = signed.plain_key().await;
    signed.stack.chat(&key).send().await.allowed();
}

#[tokio::test]
async fn an_unknown_team_is_refused_until_an_administrator_by_token_makes_it() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team"})).await;
    let team = unique("team");
    let claims = json!({"sub": "ada", "team": team});
    // Row 50.
    signed.chat(&claims).await.denied(404, "auth_error");
    let admin = signed.token(&json!({"sub": "root", "scope": ADMIN}));
    let attributes = json!({"team_id": team, "team_alias": "the blue", "rpm_limit": 2, "models": ["gpt-4o-mini"]});
    let (status, answer) = signed.manage_as(&admin, "POST", "/team/new", Some(&attributes)).await;
    assert_eq!(status, 200, "{answer}");
    let answer = eventually("the team is there", || async {
        let answer = signed.chat(&claims).await;
        if answer.status == 200 { Ok(answer) } else { Err(answer.text()) }
    })
    .await;
    let received = answer.allowed();
    assert_eq!(received.header("x-tollward-team-id"), Some(team.as_str()));
    assert_eq!(received.header("x-tollward-team-alias"), Some("the blue"));
    assert_eq!(answer.header("x-ratelimit-limit-requests").as_deref(), Some("2"));
    signed.ask(&claims, "gpt-4o").send().await.denied(403, "team_model_access_denied");
}

#[tokio::test]
async fn the_scope_of_an_administrator_opens_management_and_no_model() {
    let scoped = |name: &'static str, value: Value| json!({name: value, "sub": "root"});
    let admins = [
        scoped("scope", json!(ADMIN)),
        scoped("scope", json!(format!("openid {ADMIN} email"))),
        scoped("scope", json!([ADMIN])),
        scoped("scp", json!(["openid", ADMIN])),
        scoped("scp", json!(ADMIN)),
    ];
    let others = [
        scoped("scope", json!("openid")),
        scoped("scope", json!(format!("x{ADMIN}"))),
        scoped("scope", json!(format!("{ADMIN}2"))),
        scoped("scope", json!(format!("{ADMIN},email"))),
        scoped("scope", json!(ADMIN.to_uppercase())),
        scoped("scope", json!([[ADMIN]])),
        scoped("scope", json!({ADMIN: true})),
        scoped("permissions", json!([ADMIN])),
    ];
    {
        let signed = signed(json!({"user_id_jwt_field": "sub"})).await;
        // Row 52; a route that is refused is 403 here.
        for claims in &admins {
            let token = signed.token(claims);
            let (status, answer) = signed.manage_as(&token, "POST", "/user/new", Some(&json!({}))).await;
            assert_eq!(status, 200, "{claims}: {answer}");
            signed.bearer(&token).send().await.denied(403, "route_access_denied");
        }
        for claims in &others {
            let token = signed.token(claims);
            let (status, answer) = signed.manage_as(&token, "POST", "/user/new", Some(&json!({}))).await;
            assert_eq!(status, 403, "{claims}: {answer}");
            signed.bearer(&token).send().await.allowed();
        }
    }
    let options = json!({
        "user_id_jwt_field": "sub", "admin_jwt_scope": "gate:admin", "admin_allowed_routes": ["openai_routes", "/team/*"],
    });
    let signed = signed(options).await;
    let named = json!({"scope": "gate:admin"});
    signed.hold(vec![row("routes of models, where added", named.clone(), passes(&[("role", "proxy_admin")]))]).await;
    let token = signed.token(&named);
    let alias = json!({"team_alias": unique("t")});
    let (status, answer) = signed.manage_as(&token, "POST", "/team/new", Some(&alias)).await;
    assert_eq!(status, 200, "{answer}");
    let (status, answer) = signed.manage_as(&token, "POST", "/user/new", Some(&json!({}))).await;
    assert_eq!(status, 403, "not in the list: {answer}");
    let former = signed.token(&admins[0]);
    assert_eq!(signed.manage_as(&former, "POST", "/team/new", Some(&json!({}))).await.0, 403, "another name");
}

#[tokio::test]
async fn an_administrator_calls_for_a_team_only_where_a_header_names_one() {
    let options = json!({
        "user_id_jwt_field": "sub", "team_id_jwt_field": "team", "user_id_upsert": true,
        "admin_allowed_routes": ["openai_routes", "management_routes"],
        "roles_jwt_field": "roles", "jwt_litellm_role_map": [{"jwt_role": "*", "litellm_role": "internal_user"}],
        "sync_user_role_and_teams": true,
    });
    let signed = signed(options).await;
    let (team, root) = (signed.team(json!({})).await, unique("root"));
    let admin = json!({"sub": root, "scope": ADMIN, "roles": ["any"]});
    let told = |team: &str| passes(&[("role", "proxy_admin"), ("team-id", team)]);
    signed
        .hold(vec![
            row("none", admin.clone(), told("")),
            row("the header's", admin.clone(), told(&team)).header("x-litellm-team-id", &team),
            row("an unknown one", admin, denied(404, "auth_error")).header("x-litellm-team-id", "nobody"),
        ])
        .await;
    // The scope is the token's: the next one without it is a plain user's.
    let plain = signed.token(&json!({"sub": root, "team": team}));
    assert_eq!(signed.manage_as(&plain, "POST", "/user/new", Some(&json!({}))).await.0, 403);
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway_and_no_more() {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (leeway, expected) in [(600, passes(&[])), (0, denied(401, "expired_key"))] {
        let signed = signed(json!({"leeway": leeway})).await;
        signed
            .hold(vec![
                row("over", json!({"exp": now() - 60}), expected),
                row("long over", json!({"exp": now() - 6_000}), denied(401, "expired_key")),
                row("far ahead", json!({"nbf": now() + 6_000}), denied(401, "auth_error")),
            ])
            .await;
    }
}

#[tokio::test]
async fn only_configured_algorithms_are_taken() {
    let signed = signed(json!({"algorithms": ["ES256", "EdDSA", "PS384"]})).await;
    for (alg, good) in [("ES256", true), ("EdDSA", true), ("PS384", true), ("RS256", false), ("ES384", false)] {
        let answer = signed.bearer(&signed.idp.sign_with(Signing::alg(alg), json!({}))).send().await;
        let expected = if good { passes(&[]) } else { denied(401, "auth_error") };
        expected.check(alg, &answer);
    }
}

#[tokio::test]
async fn public_routes_need_no_token() {
    let signed = signed(json!({"public_allowed_routes": ["/open/*"]})).await;
    for (path, passes) in [("/open/page", true), ("/closed", false)] {
        let answer = signed.call("GET", path).send().await;
        assert_eq!(answer.received().is_some(), passes, "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn the_check_command_tells_which_claim_gave_what() {
    let signed = signed(json!({"user_id_jwt_field": "person.id", "team_ids_jwt_field": "groups"})).await;
    let team = signed.team(json!({"models": ["gpt-4o-mini"]})).await;
    let token = signed.token(&json!({"person": {"id": "ada"}, "groups": [team]}));
    let body = signed.folder().join("body.json");
    std::fs::write(&body, support::call::chat_body("gpt-4o-mini").to_string()).unwrap();
    let header = format!("Authorization: Bearer {token}");
    let report = signed.command_json(&["check", "--header", &header, "--body", body.to_str().unwrap()]).to_string();
    for told in ["person.id", "ada", "groups", &team, "jwt"] {
        assert!(report.contains(told), "{told}: {report}");
    }
    assert!(!report.contains(token.rsplit_once('.').unwrap().1), "the token is not repeated");
}

#[tokio::test]
async fn the_environment_may_say_whose_tokens() {
    let idp = support::idp::Idp::start();
    let config = json!({"general_settings": {
        "enable_jwt_auth": true, "litellm_jwtauth": {"user_id_jwt_field": "sub"},
    }});
    let environment = [
        ("JWT_PUBLIC_KEY_URL", idp.discovery_url()),
        ("JWT_AUDIENCE", "gateway".to_owned()),
        ("JWT_ISSUER", idp.issuer().to_owned()),
    ];
    let environment = environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let stack = Stack::start(Options { environment, ..Options::config(config) });
    for (name, claims, expected) in [
        ("good", json!({"aud": "gateway", "sub": "ada"}), passes(&[("user-id", "ada")])),
        ("another audience", json!({}), denied(401, "auth_error")),
        ("another issuer", json!({"aud": "gateway", "iss": "https://nobody.example"}), denied(401, "auth_error")),
    ] {
        let body = support::call::chat_body("gpt-4o-mini");
        let call = stack.call("POST", "/v1/chat/completions").bearer(&idp.sign(claims)).json(&body);
        expected.check(name, &call.send().await);
    }
}

#[tokio::test]
async fn the_flat_names_of_options_count_too() {
    let config = json!({"general_settings": {
        "jwt_admin_scope": "flat:admin", "user_allowed_email_domain": "example.com", "enforce_rbac": false,
    }});
    let signed = signed_with(json!({"user_email_jwt_field": "email"}), config).await;
    let admin = signed.token(&json!({"scope": "flat:admin", "email": "root@example.com"}));
    let (status, answer) = signed.manage_as(&admin, "POST", "/user/new", Some(&json!({}))).await;
    assert_eq!(status, 200, "{answer}");
    signed
        .hold(vec![
            row("the domain", json!({"email": "ada@example.com"}), passes(&[("user-id", "ada@example.com")])),
            row("another", json!({"email": "ada@elsewhere.example"}), denied(403, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn a_path_leads_into_claims_and_lists() {
    let deep = json!({"a": {"b": {"c": "deep"}}, "roles": ["first", "second"], "https://claims.example/user": "url"});
    // Rows 54 and 55: an index of a list leads to its member here.
    for (field, user) in [
        ("a.b.c", "deep"),
        ("roles", "first"),
        ("roles.0", "first"),
        ("roles[0]", "first"),
        ("roles.1", "second"),
        ("roles[1]", "second"),
        ("https://claims.example/user", "url"),
        // Nothing there: the token names nobody, and nobody is no caller.
        ("a.b.d", ""),
        ("a.b.c.d", ""),
        ("roles.2", ""),
        ("roles[2]", ""),
    ] {
        let signed = signed(json!({"user_id_jwt_field": field})).await;
        let expected = if user.is_empty() { denied(401, "auth_error") } else { passes(&[("user-id", user)]) };
        signed.hold(vec![row(field, deep.clone(), expected)]).await;
    }
}

#[tokio::test]
async fn a_new_key_of_the_provider_is_fetched_when_a_token_names_it() {
    let signed = signed(json!({"user_id_jwt_field": "sub"})).await;
    signed.chat(&json!({"sub": "before"})).await.allowed();
    // Row 60, with the keys good for ten minutes more.
    signed.idp.rotate(true);
    signed.idp.forget();
    signed.chat(&json!({"sub": "after"})).await.allowed();
    assert_eq!(signed.idp.count("jwks"), 1, "one question");
}

#[tokio::test]
async fn without_the_switch_a_token_is_no_credential() {
    let config = json!({"general_settings": {"enable_jwt_auth": false}});
    let signed = signed_with(json!({}), config).await;
    signed.chat(&json!({})).await.denied(401, "auth_error");
}

#[test]
fn a_configuration_that_would_mean_something_else_does_not_start() {
    let issuer = |more: &str| format!("issuers: [{{issuer: \"https://idp.example\"{more}}}]");
    // Rows 56 and 57, and pairs that belong together.
    for (name, options, said) in [
        ("56: an unknown option", "user_id_jwt_feild: sub".to_owned(), "user_id_jwt_feild"),
        ("57: an issuer without an audience", issuer(""), "audience"),
        (
            "57: an issuer with both",
            issuer(", audience: gateway, disable_audience_validation: true"),
            "disable_audience_validation",
        ),
        ("roles without a list", "user_roles_jwt_field: roles".to_owned(), "user_allowed_roles"),
        ("a list without roles", "user_allowed_roles: [a]".to_owned(), "user_roles_jwt_field"),
        ("an id of no role", "object_id_jwt_field: oid".to_owned(), "role_mappings"),
        ("an expression that does not compile", "custom_validate: \"claims.x ==\"".to_owned(), "custom_validate"),
        ("an algorithm with a shared secret", "algorithms: [HS256]".to_owned(), "symmetric"),
        ("no algorithm", "algorithms: [none]".to_owned(), "symmetric or none"),
        ("keys in the clear", issuer(", audience: a, jwks_url: \"http://idp.example/jwks\""), "https"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tollward.yaml");
        let yaml = format!(
            "general_settings:\n  master_key: sk-operator-0123456789\n  enable_jwt_auth: true\n  jwt_audience: gateway\n  \
             jwt_public_key_url: https://idp.example/jwks\n  litellm_jwtauth:\n    {options}\n\
             directory: {{url: \"sqlite://x.db\"}}\n"
        );
        std::fs::write(&path, yaml).unwrap();
        let output = run(&["config", "validate", "--config", path.to_str().unwrap()], &[]);
        assert!(!output.status.success(), "{name}: {}", text(&output));
        assert!(text(&output).contains(said), "{name}: {}", text(&output));
    }
}
