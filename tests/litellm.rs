//! Configurations that name who calls in LiteLLM's words load as they are, with LiteLLM's environment. Those of tokens
//! stand beside `tests/jwt.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::path::Path;

use support::cli::{run, text};

const COMMON: [(&str, &str); 2] =
    [("LITELLM_MASTER_KEY", "sk-operator-0123456789"), ("OPENAI_API_KEY", "sk-of-the-provider")];
const OAUTH: [(&str, &str); 6] = [
    ("OAUTH_TOKEN_INFO_ENDPOINT", "https://idp.example/oauth2/introspect"),
    ("OAUTH_CLIENT_ID", "gateway"),
    ("OAUTH_CLIENT_SECRET", "the-secret-of-the-gateway"),
    ("OAUTH_USER_ID_FIELD_NAME", "sub"),
    ("OAUTH_USER_ROLE_FIELD_NAME", "role"),
    ("OAUTH_USER_TEAM_ID_FIELD_NAME", "team_id"),
];

#[test]
fn each_way_to_say_who_calls_loads_as_it_is_written_for_litellm() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/litellm");
    let mut names: Vec<String> =
        std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["custom-auth.yaml", "oauth2-proxy.yaml", "oauth2.yaml"]);
    let whole = [&COMMON[..], &OAUTH].concat();
    for name in &names {
        let path = folder.join(name);
        let arguments = ["config", "validate", "--config", path.to_str().unwrap()];
        let output = run(&arguments, &whole);
        assert!(output.status.success(), "{name}: {}", text(&output));
        // The two that ask nobody of the environment load without it.
        let output = run(&arguments, &COMMON);
        assert_eq!(output.status.success(), name != "oauth2.yaml", "{name}: {}", text(&output));
    }
}

#[test]
fn a_python_function_alone_is_told_what_to_write_instead() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy_config.yaml");
    let written =
        include_str!("litellm/custom-auth.yaml").replace("    endpoint: \"http://127.0.0.1:8081/auth\"\n", "");
    std::fs::write(&path, written).unwrap();
    let output = run(&["config", "validate", "--config", path.to_str().unwrap()], &COMMON);
    let told = text(&output);
    assert!(!output.status.success() && told.contains("custom_auth_settings: {endpoint:"), "{told}");
}
