//! Authorisers of the operator's own (row 38): who they name, what is checked of those, and what happens without them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "support/authoriser.rs"]
mod authoriser;
mod support;

use authoriser::{Authoriser, Protocol};
use support::call::chat_body;
use support::cli::text;
use support::{Answer, MASTER, Options, Stack, Value, json, port, unique};

const CHAT: &str = "/v1/chat/completions";

/// A stack that asks this authoriser; `general` is laid over `general_settings`.
fn stack(endpoint: &str, mode: &str, general: &Value) -> Stack {
    // The tests run an unoptimised build on a machine that compiles meanwhile: half a second is not about the gate.
    let settings = json!({"endpoint": endpoint, "mode": mode, "timeout_ms": 5_000});
    let config = json!({"general_settings": {"custom_auth_settings": settings}});
    Stack::start(Options::config(config).with(&json!({"general_settings": general})))
}

async fn chat(stack: &Stack, credential: &str, model: &str) -> Answer {
    stack.call("POST", CHAT).bearer(credential).json(&chat_body(model)).send().await
}

async fn an_authoriser_names_callers(protocol: Protocol) {
    let authoriser = Authoriser::start(protocol);
    let stack = stack(&authoriser.endpoint, "on", &json!({}));
    let team = stack.team(json!({"team_alias": "engines", "models": ["gpt-4o-mini", "gpt-4o"]})).await;
    authoriser.knows("opaque-of-ada", json!({"user_id": "ada", "user_email": "ada@example.com", "team_id": team}));

    let received = chat(&stack, "opaque-of-ada", "gpt-4o-mini").await.allowed();
    let header = |name: &str| received.header(name).unwrap_or_default().to_owned();
    assert_eq!((header("x-tollward-user-id"), header("x-tollward-team-id")), ("ada".to_owned(), team));
    assert_eq!(
        (header("x-tollward-team-alias"), header("x-tollward-auth-method")),
        ("engines".to_owned(), "custom".to_owned())
    );
    assert_eq!(received.header("authorization"), None, "the credential is not passed on");

    // The team of the directory binds whom the authoriser names.
    chat(&stack, "opaque-of-ada", "claude-3-5-sonnet").await.denied(403, "team_model_access_denied");
    let answer = chat(&stack, "opaque-of-nobody", "gpt-4o-mini").await;
    answer.denied(401, "auth_error");
    assert!(answer.message().contains("never heard of you"), "{}", answer.message());

    // Its word is final: a good key of the gate is nothing to it, a request without a credential neither.
    let key = stack.plain_key().await;
    chat(&stack, &key.secret, "gpt-4o-mini").await.denied(401, "auth_error");
    stack.call("POST", CHAT).json(&chat_body("gpt-4o-mini")).send().await.denied(401, "auth_error");
    // The operator is never locked out, and is not asked about.
    chat(&stack, MASTER, "gpt-4o-mini").await.allowed();
    assert_eq!(authoriser.asked_about(MASTER), 0);
}

#[tokio::test]
async fn a_grpc_authoriser_names_callers() {
    an_authoriser_names_callers(Protocol::Grpc).await;
}

#[tokio::test]
async fn a_webhook_names_callers() {
    an_authoriser_names_callers(Protocol::Webhook).await;
}

#[tokio::test]
async fn row_38_the_model_list_of_a_caller_is_enforced() {
    let authoriser = Authoriser::start(Protocol::Grpc);
    let checked = stack(&authoriser.endpoint, "on", &json!({}));
    let caller = json!({"user_id": unique("ada"), "models": ["gpt-4o-mini"], "allowed_routes": [CHAT]});
    authoriser.knows("opaque", caller);
    chat(&checked, "opaque", "gpt-4o-mini").await.allowed();
    assert_eq!(chat(&checked, "opaque", "gpt-4o").await.status, 403);

    // As LiteLLM has it by default: models are free, and the routes of the caller hold.
    let unchecked = stack(&authoriser.endpoint, "on", &json!({"custom_auth_run_common_checks": false}));
    chat(&unchecked, "opaque", "gpt-4o-mini").await.allowed();
    chat(&unchecked, "opaque", "gpt-4o").await.allowed();
    let embeddings = json!({"model": "text-embedding-3-small", "input": "x"});
    let answer = unchecked.call("POST", "/v1/embeddings").bearer("opaque").json(&embeddings).send().await;
    answer.denied(403, "route_access_denied");
}

#[tokio::test]
async fn without_common_checks_limits_of_the_answer_hold_and_those_of_the_directory_do_not() {
    let authoriser = Authoriser::start(Protocol::Webhook);
    let stack = stack(&authoriser.endpoint, "on", &json!({"custom_auth_run_common_checks": false}));
    let blocked = stack.user(json!({"max_budget": 0.0, "models": ["gpt-4o"]})).await;
    authoriser.knows("opaque-of-directory", json!({"user_id": blocked}));
    chat(&stack, "opaque-of-directory", "gpt-4o-mini").await.allowed();
    authoriser.knows("opaque-of-stranger", json!({"user_id": unique("stranger"), "rpm_limit": 2}));
    for _ in 0..2 {
        chat(&stack, "opaque-of-stranger", "gpt-4o-mini").await.allowed();
    }
    chat(&stack, "opaque-of-stranger", "gpt-4o-mini").await.denied(429, "rate_limit_error");
    // Nobody becomes an administrator by not being checked.
    let (status, answer) =
        stack.manage_as("opaque-of-stranger", "POST", "/key/generate", Some(&json!({"user_id": "x"}))).await;
    assert!(matches!(status, 401 | 403), "{status} {answer}");
    let (status, answer) = stack.manage_as("opaque-of-stranger", "POST", "/team/new", Some(&json!({}))).await;
    assert!(matches!(status, 401 | 403), "{status} {answer}");
}

#[tokio::test]
async fn limits_and_the_budget_of_the_directory_bind_whom_an_authoriser_names() {
    let authoriser = Authoriser::start(Protocol::Grpc);
    let stack = stack(&authoriser.endpoint, "on", &json!({}));
    let poor = stack.user(json!({"max_budget": 0.0})).await;
    authoriser.knows("opaque-of-poor", json!({"user_id": poor, "max_budget": 1_000.0}));
    chat(&stack, "opaque-of-poor", "gpt-4o-mini").await.denied(429, "budget_exceeded");
    let rich = stack.user(json!({"max_budget": 1_000.0})).await;
    authoriser.knows("opaque-of-rich", json!({"user_id": rich}));
    chat(&stack, "opaque-of-rich", "gpt-4o-mini").await.allowed();
    authoriser.knows("opaque-of-held", json!({"user_id": rich, "rpm_limit": 0}));
    chat(&stack, "opaque-of-held", "gpt-4o-mini").await.denied(429, "rate_limit_error");
}

#[tokio::test]
async fn a_credential_that_stands_for_a_key_is_that_key() {
    let authoriser = Authoriser::start(Protocol::Webhook);
    let stack = stack(&authoriser.endpoint, "on", &json!({}));
    let key = stack.key(json!({"models": ["gpt-4o-mini"]})).await;
    authoriser.knows("session-1", json!(key.secret));
    let received = chat(&stack, "session-1", "gpt-4o-mini").await.allowed();
    assert_eq!(received.header("x-tollward-key-alias"), Some(key.alias.as_str()));
    chat(&stack, "session-1", "gpt-4o").await.denied(403, "key_model_access_denied");
    // Kept or not, a blocked key is blocked.
    stack.manage("POST", "/key/block", json!({"key": key.secret})).await;
    support::eventually("the key is blocked", || async {
        let status = chat(&stack, "session-1", "gpt-4o-mini").await.status;
        if status == 401 { Ok(()) } else { Err(format!("HTTP {status}")) }
    })
    .await;
    authoriser.knows("session-2", json!("sk-not-in-the-directory"));
    chat(&stack, "session-2", "gpt-4o-mini").await.denied(401, "token_not_found_in_db");
    authoriser.knows("session-3", json!(MASTER));
    assert_eq!(chat(&stack, "session-3", "gpt-4o-mini").await.status, 401, "nobody becomes the operator by a key");
}

#[tokio::test]
async fn roles_of_an_authoriser_count_and_unknown_ones_are_refused() {
    let authoriser = Authoriser::start(Protocol::Grpc);
    let stack = stack(&authoriser.endpoint, "on", &json!({}));
    // A plain user to the directory: the authoriser's word counts.
    let root = stack.user(json!({"user_role": "internal_user"})).await;
    authoriser.knows("opaque-of-admin", json!({"user_id": root, "user_role": "proxy_admin"}));
    authoriser.knows("opaque-of-user", json!({"user_id": "ada"}));
    authoriser.knows("opaque-of-emperor", json!({"user_id": "nero", "user_role": "emperor"}));
    let body = json!({"team_alias": unique("team")});
    let (status, answer) = stack.manage_as("opaque-of-admin", "POST", "/team/new", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(stack.manage_as("opaque-of-user", "POST", "/team/new", Some(&body)).await.0, 403);
    let answer = chat(&stack, "opaque-of-emperor", "gpt-4o-mini").await;
    answer.denied(403, "permission_error");
    assert!(answer.message().contains("user_role"), "{}", answer.message());
}

#[tokio::test]
async fn in_auto_mode_the_gate_decides_where_the_authoriser_does_not() {
    let authoriser = Authoriser::start(Protocol::Grpc);
    let stack = stack(&authoriser.endpoint, "auto", &json!({}));
    let key = stack.plain_key().await;
    authoriser.knows("opaque-of-ada", json!({"user_id": "ada"}));
    authoriser.knows("opaque-of-nobody", json!({"note": "it may pass"}));
    chat(&stack, "opaque-of-ada", "gpt-4o-mini").await.allowed();
    let received = chat(&stack, &key.secret, "gpt-4o-mini").await.allowed();
    assert_eq!(received.header("x-tollward-key-alias"), Some(key.alias.as_str()));
    assert_eq!(authoriser.asked_about(&key.secret), 1, "it was asked first");
    chat(&stack, "opaque-of-nobody", "gpt-4o-mini").await.denied(401, "auth_error");
    chat(&stack, "sk-unknown-to-everyone", "gpt-4o-mini").await.denied(401, "token_not_found_in_db");
}

#[tokio::test]
async fn an_authoriser_that_is_off_is_not_asked() {
    let authoriser = Authoriser::start(Protocol::Grpc);
    let stack = stack(&authoriser.endpoint, "off", &json!({"custom_auth": "custom_auth.user_api_key_auth"}));
    let key = stack.plain_key().await;
    authoriser.knows("opaque-of-ada", json!({"user_id": "ada"}));
    chat(&stack, &key.secret, "gpt-4o-mini").await.allowed();
    chat(&stack, "opaque-of-ada", "gpt-4o-mini").await.denied(401, "auth_error");
    assert_eq!(authoriser.asked_about("opaque-of-ada") + authoriser.asked_about(&key.secret), 0);
}

#[tokio::test]
async fn an_authoriser_that_is_down_is_503_and_never_401() {
    for scheme in ["grpc", "http"] {
        let nobody = format!("{scheme}://127.0.0.1:{}", port::free());
        let on = stack(&nobody, "on", &json!({}));
        // More than open the circuit breaker.
        for _ in 0..7 {
            let answer = chat(&on, "opaque-of-ada", "gpt-4o-mini").await;
            answer.denied(503, "auth_provider_unavailable");
            assert!(answer.header("retry-after").is_some());
        }
        chat(&on, MASTER, "gpt-4o-mini").await.allowed();

        let auto = stack(&nobody, "auto", &json!({}));
        let key = auto.plain_key().await;
        chat(&auto, &key.secret, "gpt-4o-mini").await.allowed();
        for credential in ["opaque-of-ada", "sk-unknown-to-everyone"] {
            chat(&auto, credential, "gpt-4o-mini").await.denied(503, "auth_provider_unavailable");
        }
        let answer = auto.call("POST", CHAT).json(&chat_body("gpt-4o-mini")).send().await;
        answer.denied(503, "auth_provider_unavailable");
    }
}

#[tokio::test]
async fn a_file_written_for_litellm_works_with_an_endpoint_beside_the_python_path() {
    let authoriser = Authoriser::start(Protocol::Grpc);
    let general = json!({
        "custom_auth": "custom_auth.user_api_key_auth",
        "public_routes": ["LiteLLMRoutes.public_routes", "/spend/calculate", "/api/*"],
        "allow_user_auth": true,
    });
    let stack = stack(&authoriser.endpoint, "auto", &general);
    authoriser.knows("opaque-of-ada", json!({"user_id": "ada"}));
    chat(&stack, "opaque-of-ada", "gpt-4o-mini").await.allowed();
    // Public routes need nobody, and nobody is asked.
    let answer = stack.call("GET", "/api/status").bearer("opaque-of-guest").send().await;
    assert!(answer.received().is_some(), "{} {}", answer.status, answer.text());
    assert_eq!(authoriser.asked_about("opaque-of-guest"), 0);
}

#[tokio::test]
async fn check_tells_which_answer_gave_which_field() {
    let authoriser = Authoriser::start(Protocol::Webhook);
    let stack = stack(&authoriser.endpoint, "auto", &json!({}));
    authoriser.knows("opaque-of-ada", json!({"user_id": "ada", "models": ["gpt-4o-mini"]}));
    for (credential, parts) in [
        (
            "opaque-of-ada",
            &["was asked", "user_id is from the answer", "models is from the answer", "role internal_user"][..],
        ),
        ("opaque-of-nobody", &["refuses it"]),
    ] {
        let output = stack.command(&["check", "--key", credential, "--model", "gpt-4o-mini"]);
        let said = text(&output);
        for part in parts {
            assert!(said.contains(part), "lacks {part:?}: {said}");
        }
        assert!(!said.contains(credential), "{said}");
    }
}

/// Who is known by an expression: no service runs.
const EXPRESSION: &str = "\
    credential == 'opaque-of-ada' ? {'user_id': 'ada', 'models': ['gpt-4o-mini'], 'site': request.method} \
    : credential == 'opaque-of-emperor' ? {'user_id': 'nero', 'user_role': 'emperor'} \
    : credential == 'opaque-of-header' ? {'user_id': request.headers['x-user']} \
    : credential == 'opaque-of-session' ? {'api_key': request.headers['x-stands-for']} \
    : credential == 'opaque-of-text' ? {'user_id': 'eve', 'rpm_limit': 'many'} \
    : credential == 'opaque-of-old' ? {'allow': false, 'message': 'ask for a key', 'status': 401} \
    : null";

fn stack_of_expression(mode: &str) -> Stack {
    let settings = json!({"expression": EXPRESSION, "mode": mode});
    let general = json!({"custom_auth": "custom_auth.user_api_key_auth", "custom_auth_settings": settings});
    Stack::start(Options::config(json!({"general_settings": general})))
}

#[tokio::test]
async fn an_expression_names_callers_in_place_of_a_service() {
    let stack = stack_of_expression("on");
    // What a client says of itself in our own headers is not what it is.
    let forged = stack.call("POST", CHAT).bearer("opaque-of-ada").header("x-tollward-user-id", "root");
    let received =
        forged.header("x-tollward-role", "proxy_admin").json(&chat_body("gpt-4o-mini")).send().await.allowed();
    assert_eq!(received.header("x-tollward-user-id"), Some("ada"));
    assert_eq!(received.header("x-tollward-auth-method"), Some("custom"));
    assert_ne!(received.header("x-tollward-role"), Some("proxy_admin"));
    assert_eq!(received.header("authorization"), None, "the credential is not passed on");
    assert_eq!(chat(&stack, "opaque-of-ada", "gpt-4o").await.status, 403, "models of the caller hold");

    // Its word is final: a good key is nothing to it, a request without a credential neither.
    let key = stack.plain_key().await;
    for credential in ["opaque-of-nobody", &key.secret] {
        chat(&stack, credential, "gpt-4o-mini").await.denied(401, "auth_error");
    }
    stack.call("POST", CHAT).json(&chat_body("gpt-4o-mini")).send().await.denied(401, "auth_error");
    chat(&stack, MASTER, "gpt-4o-mini").await.allowed();
    let answer = chat(&stack, "opaque-of-old", "gpt-4o-mini").await;
    answer.denied(401, "auth_error");
    assert!(answer.message().contains("ask for a key"), "{}", answer.message());

    // A credential may stand for a key of the directory.
    let session = |stands_for: &str| {
        stack
            .call("POST", CHAT)
            .bearer("opaque-of-session")
            .header("x-stands-for", stands_for)
            .json(&chat_body("gpt-4o"))
    };
    let received = session(&key.secret).send().await.allowed();
    assert_eq!(received.header("x-tollward-key-alias"), Some(key.alias.as_str()));
}

#[tokio::test]
async fn what_an_expression_cannot_say_of_a_caller_is_refused() {
    let stack = stack_of_expression("on");
    let answer = chat(&stack, "opaque-of-emperor", "gpt-4o-mini").await;
    answer.denied(403, "permission_error");
    assert!(answer.message().contains("user_role"), "{}", answer.message());
    let with = |credential: &str, name: &str, value: &str| {
        stack.call("POST", CHAT).bearer(credential).header(name, value).json(&chat_body("gpt-4o-mini"))
    };
    with("opaque-of-header", "x-user", "grace").send().await.allowed();
    let long = "g".repeat(600);
    for (credential, name, value) in [
        ("opaque-of-header", "x-other", "grace"),
        ("opaque-of-header", "x-user", &long),
        ("opaque-of-header", "x-user", ""),
        ("opaque-of-text", "x-user", "grace"),
        ("opaque-of-session", "x-stands-for", "no-key"),
        // Nobody becomes the operator by a key.
        ("opaque-of-session", "x-stands-for", MASTER),
        ("opaque-of-session", "x-stands-for", "sk-not-in-the-directory"),
    ] {
        let answer = with(credential, name, value).send().await;
        assert_eq!(answer.status, 401, "{credential} {name}: {}", answer.text());
        assert!(!answer.text().contains(credential), "{}", answer.text());
    }
}

#[tokio::test]
async fn whoever_an_expression_does_not_know_is_left_to_the_gate_in_auto_mode_and_off_is_off() {
    let auto = stack_of_expression("auto");
    let key = auto.plain_key().await;
    chat(&auto, "opaque-of-ada", "gpt-4o-mini").await.allowed();
    let received = chat(&auto, &key.secret, "gpt-4o-mini").await.allowed();
    assert_eq!(received.header("x-tollward-key-alias"), Some(key.alias.as_str()));
    for credential in ["opaque-of-nobody", "opaque-of-text", "opaque-of-header"] {
        chat(&auto, credential, "gpt-4o-mini").await.denied(401, "auth_error");
    }
    chat(&auto, "sk-unknown-to-everyone", "gpt-4o-mini").await.denied(401, "token_not_found_in_db");

    let off = stack_of_expression("off");
    let key = off.plain_key().await;
    chat(&off, &key.secret, "gpt-4o-mini").await.allowed();
    chat(&off, "opaque-of-ada", "gpt-4o-mini").await.denied(401, "auth_error");
}

#[tokio::test]
async fn check_tells_what_an_expression_said_and_shows_no_credential() {
    let stack = stack_of_expression("on");
    for (credential, parts) in [
        (
            "opaque-of-ada",
            &["user_id is from the expression", "models is from the expression", "role internal_user"][..],
        ),
        ("opaque-of-nobody", &["the expression names nobody"]),
        ("opaque-of-old", &["the expression refuses it"]),
        ("opaque-of-header", &["the expression has no value that can be used: a key or an index is not there"]),
        ("opaque-of-text", &["the expression has no value that can be used: rpm_limit is no whole number"]),
    ] {
        let said = text(&stack.command(&["check", "--key", credential, "--model", "gpt-4o-mini"]));
        for part in parts {
            assert!(said.contains(part), "lacks {part:?}: {said}");
        }
        assert!(!said.contains(credential), "{said}");
    }
}
