//! Sessions of users through Envoy: by token and by cookie, revoked while everything runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::call::chat_body;
use support::cli::text;
use support::{Answer, Call, Options, Stack, eventually, json};

/// Issues a session by the command line.
fn issue(stack: &Stack, user: &str, more: &[&str]) -> String {
    let arguments = [&["session", "issue", "--user", user][..], more].concat();
    let issued = stack.command_json(&arguments);
    issued["token"].as_str().expect("a token").to_owned()
}

fn chat(stack: &Stack) -> Call {
    stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"))
}

/// A chat as a page of the gate's own would send it.
fn own_page(stack: &Stack, cookie: &str) -> Call {
    chat(stack).header("cookie", cookie).header("sec-fetch-site", "same-origin")
}

#[track_caller]
fn refused_as(answer: &Answer, status: u16, said: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert!(answer.message().contains(said), "{}", answer.text());
}

/// Asks until a running gate has heard that the session is over, and for this reason: it may still be over for another.
async fn is_over(ask: impl AsyncFn() -> Answer, said: &str) {
    eventually(said, async || {
        let answer = ask().await;
        if answer.status == 401 && answer.message().contains(said) { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}

#[tokio::test]
async fn a_session_lets_its_user_in_until_it_is_revoked() {
    let stack = Stack::start(Options::default());
    let team = stack.team(json!({})).await;
    let user = stack.user(json!({"user_role": "internal_user", "teams": [team]})).await;
    let token = issue(&stack, &user, &["--ttl", "1h"]);
    let received = chat(&stack).bearer(&token).send().await.allowed();
    for (name, expected) in [
        ("x-tollward-user-id", Some(&*user)),
        ("x-tollward-auth-method", Some("session")),
        ("x-tollward-role", Some("internal_user")),
        ("x-tollward-team-id", None),
        ("authorization", None),
    ] {
        assert_eq!(received.header(name), expected, "{name}");
    }
    let of_team = issue(&stack, &user, &["--team", &team]);
    let received = chat(&stack).header("x-api-key", &of_team).send().await.allowed();
    assert_eq!(received.header("x-tollward-team-id"), Some(&*team));

    // What is granted is read from the directory, and so is who may manage.
    refused_as(&stack.call("GET", "/v1/models").bearer(&format!("{token}x")).send().await, 401, "base64url");
    let (status, _) = stack.manage_as(&token, "GET", "/user/list", None).await;
    assert!(matches!(status, 401 | 403), "{status}");
    stack.manage("POST", "/user/update", json!({"user_id": user, "user_role": "proxy_admin"})).await;
    assert_eq!(stack.manage_as(&token, "GET", "/user/list", None).await.0, 200);

    let listed = stack.command_json(&["session", "list", "--user", &user]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    let sid = stack.command_json(&["session", "revoke", &token])["sid"].as_str().unwrap().to_owned();
    is_over(async || chat(&stack).bearer(&token).send().await, "revoked").await;
    chat(&stack).bearer(&of_team).send().await.allowed();
    let again = stack.command(&["session", "revoke", &sid]);
    assert!(again.status.success() && text(&again).contains(&sid), "{}", text(&again));
    assert_eq!(stack.command_json(&["session", "revoke", "--user", &user])["revoked"], json!(1));
    is_over(async || chat(&stack).bearer(&of_team).send().await, "revoked").await;
    let log = stack.tollward().log();
    assert!(!log.contains(&token) && !log.contains(&of_team));
}

#[tokio::test]
async fn a_cookie_is_a_credential_for_pages_of_the_gate_alone() {
    let allowed = json!({"identity": {"session": {"allowed_origins": ["https://app.example.com"]}}});
    let stack = Stack::start(Options::config(allowed));
    let user = stack.user(json!({})).await;
    let token = issue(&stack, &user, &[]);
    let cookie = format!("theme=dark; tollward_session={token}; lang=de");
    let received = own_page(&stack, &cookie).send().await.allowed();
    assert_eq!(received.header("cookie"), Some("theme=dark; lang=de"), "the others stay");
    assert_eq!(received.header("x-tollward-user-id"), Some(&*user));
    let alone = format!("tollward_session={token}");
    let received = own_page(&stack, &alone).send().await.allowed();
    assert_eq!(received.header("cookie"), None);
    stack.call("GET", "/v1/models").header("cookie", &cookie).send().await.allowed();
    let app = chat(&stack).header("cookie", &cookie).header("sec-fetch-site", "cross-site");
    app.header("origin", "https://app.example.com").send().await.allowed();
    let old = chat(&stack).header("cookie", &cookie);
    let own = format!("http://127.0.0.1:{}", stack.ports.gate);
    old.header("origin", own).send().await.allowed();

    for headers in [
        vec![],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site"), ("origin", "https://evil.example")],
        vec![("origin", "https://evil.example")],
        vec![("origin", "null")],
    ] {
        let forged =
            headers.iter().fold(chat(&stack).header("cookie", &cookie), |call, (name, value)| call.header(name, value));
        refused_as(&forged.send().await, 403, "identity.session.allowed_origins");
    }

    // Where another credential is shown, that one counts, and the cookie still stays here.
    let key = stack.key(json!({})).await;
    let received = chat(&stack).key(&key).header("cookie", &cookie).send().await.allowed();
    assert_eq!(received.header("x-tollward-auth-method"), Some("virtual_key"));
    assert_eq!(received.header("cookie"), Some("theme=dark; lang=de"));
    let bad =
        chat(&stack).bearer("sk-nobody-has-this").header("cookie", &cookie).header("sec-fetch-site", "same-origin");
    bad.send().await.denied(401, "token_not_found_in_db");

    for doubtful in [
        format!("{alone}; {alone}"),
        format!("theme=dark,{alone}"),
        format!("tollward_session={}", key.secret),
        format!("tollward_session={token}x"),
    ] {
        own_page(&stack, &doubtful).send().await.denied(401, "auth_error");
    }
    own_page(&stack, "theme=dark").send().await.denied(401, "auth_error");
}

#[tokio::test]
async fn a_session_ends_with_its_user() {
    let stack = Stack::start(Options::default());
    let (user, other) = (stack.user(json!({})).await, stack.user(json!({})).await);
    let (token, of_other) = (issue(&stack, &user, &[]), issue(&stack, &other, &[]));
    chat(&stack).bearer(&token).send().await.allowed();
    stack.manage("POST", "/user/update", json!({"user_id": user, "metadata": {"scim_active": false}})).await;
    refused_as(&chat(&stack).bearer(&token).send().await, 401, "deactivated");
    let refused = stack.command(&["session", "issue", "--user", &user]);
    assert!(!refused.status.success() && text(&refused).contains("deactivated"), "{}", text(&refused));
    chat(&stack).bearer(&of_other).send().await.allowed();
    stack.manage("POST", "/user/delete", json!({"user_ids": [other]})).await;
    refused_as(&chat(&stack).bearer(&of_other).send().await, 401, "ended");
}

#[tokio::test]
async fn sessions_can_be_switched_off_and_are_bound_to_their_audience() {
    let stack = Stack::start(Options::default());
    let user = stack.user(json!({})).await;
    let token = issue(&stack, &user, &[]);
    let cookie = format!("tollward_session={token}");
    chat(&stack).bearer(&token).send().await.allowed();
    let with = |session| {
        let mut config = stack.config();
        config["identity"] = json!({"session": session});
        stack.write_config(&config);
    };
    with(json!({"audience": "elsewhere"}));
    is_over(async || chat(&stack).bearer(&token).send().await, "another audience").await;
    with(json!({"enabled": false}));
    is_over(async || chat(&stack).bearer(&token).send().await, "not a key of this gateway").await;
    own_page(&stack, &cookie).send().await.denied(401, "auth_error");
    let refused = stack.command(&["session", "issue", "--user", &user]);
    assert!(!refused.status.success() && text(&refused).contains("identity.session.enabled"), "{}", text(&refused));
    with(json!({"cookie": "own"}));
    eventually("sessions are on again", async || match chat(&stack).bearer(&token).send().await.status {
        200 => Ok(()),
        status => Err(status.to_string()),
    })
    .await;
    own_page(&stack, &format!("own={token}")).send().await.allowed();
}
