//! The management API on Tollward's HTTP port.

use serde_json::{Value, json};

use super::call::client;
use super::stack::{MASTER, Stack};
use super::{eventually, unique};

/// A virtual key.
#[derive(Clone, Debug)]
pub struct Key {
    pub secret: String,
    /// Lower-case hexadecimal SHA-256 of the secret.
    pub token: String,
    pub alias: String,
    /// The whole answer of `/key/generate`.
    pub attributes: Value,
}

impl Stack {
    /// The running server finds no difference between its counters, its records and its entities.
    pub async fn verify_counters(&self) {
        let (status, proof) = self.manage_as(super::MASTER, "GET", "/ledger/verify", None).await;
        assert_eq!(status, 200, "{proof}");
        assert_eq!(proof["differences"], serde_json::json!([]), "counters, records and entities agree");
    }

    /// A management call as this key; status and JSON of the answer.
    pub async fn manage_as(&self, secret: &str, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.ports.http);
        let mut request = client().request(method.parse().expect("a method"), url).bearer_auth(secret);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("the management API answers");
        let status = response.status().as_u16();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// A management call of the operator that must succeed.
    #[track_caller]
    pub fn manage(&self, method: &str, path: &str, body: Value) -> impl Future<Output = Value> {
        let (method, path) = (method.to_owned(), path.to_owned());
        async move {
            let body = (!body.is_null()).then_some(body);
            let (status, answer) = self.manage_as(MASTER, &method, &path, body.as_ref()).await;
            assert_eq!(status, 200, "{method} {path}: {answer}");
            answer
        }
    }

    /// A new key with these attributes.
    pub async fn key(&self, mut attributes: Value) -> Key {
        if attributes.get("key_alias").is_none() {
            attributes["key_alias"] = json!(unique("key"));
        }
        let answer = self.manage("POST", "/key/generate", attributes).await;
        let text = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
        Key { secret: text("key"), token: text("token"), alias: text("key_alias"), attributes: answer.clone() }
    }

    /// A key nothing limits.
    pub async fn plain_key(&self) -> Key {
        self.key(json!({})).await
    }

    /// A new team; its id.
    pub async fn team(&self, mut attributes: Value) -> String {
        if attributes.get("team_alias").is_none() {
            attributes["team_alias"] = json!(unique("team"));
        }
        let answer = self.manage("POST", "/team/new", attributes).await;
        answer["team_id"].as_str().expect("a team_id").to_owned()
    }

    /// A new user without a key; its id.
    pub async fn user(&self, mut attributes: Value) -> String {
        if attributes.get("user_id").is_none() {
            attributes["user_id"] = json!(unique("user"));
        }
        attributes["auto_create_key"] = json!(false);
        let answer = self.manage("POST", "/user/new", attributes).await;
        answer["user_id"].as_str().expect("a user_id").to_owned()
    }

    /// `info` of `/key/info`.
    pub async fn key_info(&self, key: &Key) -> Value {
        self.manage("GET", &format!("/key/info?key={}", key.token), Value::Null).await["info"].clone()
    }

    /// What the key has spent, in dollars.
    pub async fn spend(&self, key: &Key) -> f64 {
        let info = self.key_info(key).await;
        info["spend"].as_f64().unwrap_or_else(|| panic!("spend is a number: {info}"))
    }

    /// Waits until exactly this is booked on the key.
    pub async fn wait_spend(&self, key: &Key, dollars: f64) {
        eventually(&format!("{} has spent {dollars}", key.alias), || async {
            let spend = self.spend(key).await;
            // Money is whole nano-dollars; the numbers here went through floats.
            if (spend - dollars).abs() < 5e-10 { Ok(()) } else { Err(format!("it has spent {spend}")) }
        })
        .await;
    }

    /// Waits until anything is booked on the key; how much.
    pub async fn wait_any_spend(&self, key: &Key) -> f64 {
        eventually(&format!("{} has spent something", key.alias), || async {
            let spend = self.spend(key).await;
            if spend > 0.0 { Ok(spend) } else { Err("nothing yet".to_owned()) }
        })
        .await
    }

    /// The sum of a metric over its labels. A metric that is not there is a slip of the test.
    #[track_caller]
    pub fn metric(&self, name: &str) -> f64 {
        let text = super::raw::get(self.ports.ops, "/metrics").expect("the ops port answers");
        let samples: Vec<f64> = text
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse().ok())
            .collect();
        assert!(!samples.is_empty(), "{name} is among the metrics:\n{text}");
        samples.iter().sum()
    }
}
