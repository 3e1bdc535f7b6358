//! A stack whose callers bear tokens of a real identity provider, and whose rules for them change with each test.

use std::ops::Deref;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::call::{Answer, Call, chat_body, client};
use super::idp::{AUDIENCE, Idp};
use super::stack::{Options, Stack, merge};
use super::wait::eventually;

/// The scope of an administrator.
pub const ADMIN: &str = "litellm_proxy_admin";
const CHAT: &str = "/v1/chat/completions";

pub struct Signed {
    pub stack: Stack,
    pub idp: Idp,
    /// What was written last.
    config: Value,
}

impl Deref for Signed {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        &self.stack
    }
}

/// The stack of this file's tests under these options of `litellm_jwtauth`, for one test at a time.
pub async fn signed(options: Value) -> MutexGuard<'static, Signed> {
    signed_with(options, json!({})).await
}

/// The same with more of the configuration.
pub async fn signed_with(options: Value, config: Value) -> MutexGuard<'static, Signed> {
    static SHARED: LazyLock<Mutex<Signed>> = LazyLock::new(|| Mutex::new(Signed::start()));
    let mut signed = SHARED.lock().await;
    // Of a test that failed.
    signed.idp.clear_faults();
    let mut all = json!({"general_settings": {"litellm_jwtauth": options}});
    merge(&mut all, &config);
    signed.configure(&all).await;
    signed
}

impl Signed {
    /// A stack of its own.
    pub fn start() -> Signed {
        Signed::start_with(Idp::start(), &json!({}))
    }

    /// The same with this provider and more of the configuration.
    pub fn start_with(idp: Idp, laid_over: &Value) -> Signed {
        let mut config = json!({"general_settings": {
            "enable_jwt_auth": true, "jwt_public_key_url": idp.jwks_url(), "jwt_audience": AUDIENCE,
        }});
        merge(&mut config, laid_over);
        let stack = Stack::start(Options::config(config));
        Signed { config: stack.config(), stack, idp }
    }

    /// Lays this over the configuration of the start; it is in force.
    pub async fn configure(&mut self, laid_over: &Value) {
        let mut config = self.stack.config();
        merge(&mut config, laid_over);
        if config == self.config {
            return;
        }
        let count = |result: &str| self.stack.metric(&format!("tollward_config_reloads_total{{result=\"{result}\"}}"));
        let (before, failed) = (count("ok"), count("failed"));
        self.stack.write_config(&config);
        eventually("the configuration is read again", || async {
            assert!(count("failed") <= failed, "{}", self.stack.tollward().log());
            if count("ok") > before { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        self.config = config;
    }

    /// A good token with these claims over those of `user-1`.
    pub fn token(&self, claims: &Value) -> String {
        self.idp.sign(claims.clone())
    }

    /// A chat with `gpt-4o-mini`, as the bearer of a token.
    pub fn bearer(&self, token: &str) -> Call {
        self.stack.call("POST", CHAT).bearer(token).json(&chat_body("gpt-4o-mini"))
    }

    /// A chat with a model, as the bearer of a good token with these claims.
    pub fn ask(&self, claims: &Value, model: &str) -> Call {
        self.stack.call("POST", CHAT).bearer(&self.token(claims)).json(&chat_body(model))
    }

    pub async fn chat(&self, claims: &Value) -> Answer {
        self.ask(claims, "gpt-4o-mini").send().await
    }

    /// Makes every call of a table.
    pub async fn hold(&self, rows: Vec<Row>) {
        let http = client();
        for row in rows {
            let call = self.stack.call("POST", row.path).through(&http).bearer(&self.token(&row.claims));
            let call = row.headers.iter().fold(call, |call, (name, value)| call.header(name, value));
            let body = match row.path {
                path if path.ends_with("embeddings") => json!({"model": row.model, "input": "Hello"}),
                _ => chat_body(row.model),
            };
            row.expected.check(row.name, &call.json(&body).send().await);
        }
    }
}

/// A call as the bearer of a good token, and what comes of it.
pub struct Row {
    pub name: &'static str,
    pub claims: Value,
    pub model: &'static str,
    pub path: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub expected: Expected,
}

/// A row that chats with `gpt-4o-mini`.
pub fn row(name: &'static str, claims: Value, expected: Expected) -> Row {
    Row { name, claims, model: "gpt-4o-mini", path: CHAT, headers: Vec::new(), expected }
}

impl Row {
    pub fn model(self, model: &'static str) -> Row {
        Row { model, ..self }
    }

    pub fn path(self, path: &'static str) -> Row {
        Row { path, ..self }
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Row {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// What comes of a call.
pub enum Expected {
    /// It passes; the upstream is told these headers (an empty value: not told).
    As(Vec<(&'static str, String)>),
    /// Status, `error.type` (several stand with a bar between), `error.param` (any where empty).
    Denied(u16, &'static str, &'static str),
}

/// It passes and the upstream is told of these: `user-id` is `x-tollward-user-id`.
pub fn passes(told: &[(&'static str, &str)]) -> Expected {
    Expected::As(told.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
}

pub fn denied(status: u16, kind: &'static str) -> Expected {
    Expected::Denied(status, kind, "")
}

impl Expected {
    #[track_caller]
    pub fn check(&self, name: &str, answer: &Answer) {
        match self {
            Expected::As(told) => {
                assert_eq!(answer.status, 200, "{name}: {}", answer.text());
                let received = answer.allowed();
                assert_eq!(received.header("authorization"), None, "{name}: the token goes no further");
                for (header, value) in told {
                    let value = (!value.is_empty()).then_some(value.as_str());
                    assert_eq!(received.header(&format!("x-tollward-{header}")), value, "{name}: {header}");
                }
            }
            Expected::Denied(status, kind, param) => {
                assert_eq!(answer.status, *status, "{name}: {}", answer.text());
                assert!(kind.split('|').any(|kind| kind == answer.kind()), "{name}: {kind}: {}", answer.text());
                answer.denied(*status, &answer.kind());
                if !param.is_empty() {
                    assert_eq!(answer.json()["error"]["param"], *param, "{name}");
                }
            }
        }
    }
}
