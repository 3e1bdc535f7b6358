//! The real thing: `tollward serve` as it is released, with a key under four scopes (organization, team, user, key) that
//! each have requests a minute, tokens a minute and a budget, none of them near its end.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::identity::{Credential, Provider};
use super::process::{Cores, Server, free_port, wait_for};
use super::request::{Form, check};

const MASTER: &str = "sk-operator-of-the-benchmark";
const REQUESTS: u64 = 1_000_000_000;
const TOKENS: u64 = 1_000_000_000_000;
const DOLLARS: f64 = 1_000_000.0;

/// Which limits the caller is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// Requests of the key.
    One,
    /// Requests, tokens and money of the key, requests and money of its team.
    Five,
    /// Requests, tokens and money of organization, team and user: what binds a caller without a key.
    Nine,
    /// Requests, tokens and money of four scopes.
    Twelve,
}

/// Starts Tollward with counters at this address; the embedded ones where there is none.
pub async fn start(
    cores: &Cores,
    form: Form,
    limits: Limits,
    credential: Credential,
    redis: Option<u16>,
) -> (Server, Bytes) {
    let provider = Provider::start();
    let folder = TempDir::with_prefix("tollward-bench-").expect("a folder");
    let (grpc, http, ops) = (free_port(), free_port(), free_port());
    let counters = redis.map_or_else(|| "memory://".to_owned(), |port| format!("redis://127.0.0.1:{port}"));
    let mut config = json!({
        "listen": {
            "grpc": format!("127.0.0.1:{grpc}"),
            "http": format!("127.0.0.1:{http}"),
            "ops": format!("127.0.0.1:{ops}"),
        },
        "directory": {"url": format!("sqlite://{}", folder.path().join("tollward.db").display())},
        "general_settings": {"master_key": MASTER},
        // Checks come without a meter here: their holds stay open, and end after the round does.
        "counters": {"max_holds": 20_000_000, "url": counters, "timeout_ms": 1_000},
        "metering": {"required": false},
        "telemetry": {"log": "warn"},
        "model_list": [{"model_name": "gpt-4o-mini", "litellm_params": {
            "model": "openai/gpt-4o-mini", "input_cost_per_token": 1.5e-7, "output_cost_per_token": 6e-7,
        }}],
    });
    provider.settings(credential, &mut config["general_settings"]);
    let path = folder.path().join("tollward.yaml");
    std::fs::write(&path, config.to_string()).expect("the configuration is written");
    let mut command = cores.command(&binary());
    command.arg("serve").arg("--config").arg(&path);
    for inherited in ["DATABASE_URL", "REDIS_URL", "TOLLWARD_MASTER_KEY", "LITELLM_MASTER_KEY"] {
        command.env_remove(inherited);
    }
    let log = std::fs::File::create(folder.path().join("tollward.log")).expect("a log");
    command.stdout(log.try_clone().expect("a log")).stderr(log);
    let server = Server::new(command, grpc, Some(folder));
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let readyz = format!("http://127.0.0.1:{ops}/readyz");
    for _ in 0..300 {
        if client.get(&readyz).send().await.is_ok_and(|answer| answer.status() == 200) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    wait_for(|| std::net::TcpStream::connect(("127.0.0.1", grpc)).is_ok(), "Tollward listens").await;
    let (key, user, team) = create_key(&client, &path, http, limits).await;
    (server, check(form, &provider.text(credential, &key, &user, &team)))
}

/// The binary that `BENCH_TOLLWARD` names, or the one that `cargo build --release` made.
fn binary() -> PathBuf {
    let named = std::env::var_os("BENCH_TOLLWARD").map(PathBuf::from);
    let built = named.unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_tollward")).to_path_buf());
    assert!(built.exists(), "{} is built before the benchmark runs", built.display());
    built
}

/// A key, its user and its team.
async fn create_key(client: &reqwest::Client, config: &Path, http: u16, limits: Limits) -> (String, String, String) {
    let all = [("rpm_limit", json!(REQUESTS)), ("tpm_limit", json!(TOKENS)), ("max_budget", json!(DOLLARS))];
    let under = |mut attributes: Value, which: &[usize]| {
        for (name, value) in which.iter().map(|at| &all[*at]) {
            attributes[*name] = value.clone();
        }
        attributes
    };
    let post = async |path: &str, body: Value| -> Value {
        let url = format!("http://127.0.0.1:{http}{path}");
        let answer = client.post(url).bearer_auth(MASTER).json(&body).send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    };
    let (team, user, key): (&[usize], &[usize], &[usize]) = match limits {
        Limits::One => (&[], &[], &[0]),
        Limits::Five => (&[0, 2], &[], &[0, 1, 2]),
        Limits::Nine => (&[0, 1, 2], &[0, 1, 2], &[]),
        Limits::Twelve => (&[0, 1, 2], &[0, 1, 2], &[0, 1, 2]),
    };
    let mut of_team = under(json!({"team_alias": "bench"}), team);
    if matches!(limits, Limits::Nine | Limits::Twelve) {
        of_team["organization_id"] = json!(create_organization(config));
    }
    let team = post("/team/new", of_team).await;
    let user = post("/user/new", under(json!({"user_id": "bench-user", "auto_create_key": false}), user)).await;
    let named = json!({"key_alias": "bench-key", "team_id": team["team_id"], "user_id": user["user_id"]});
    let key = post("/key/generate", under(named, key)).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&key["key"]), "bench-user".to_owned(), text(&team["team_id"]))
}

/// Organizations are made on the command line.
fn create_organization(config: &Path) -> String {
    let output = Command::new(binary())
        .args(["org", "create", "bench", "--rpm", &REQUESTS.to_string(), "--tpm", &TOKENS.to_string()])
        .args(["--max-budget", &DOLLARS.to_string(), "--json", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .expect("tollward runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "tollward org create: {said}");
    let created: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let id = created["organization_id"].as_str().or_else(|| created["id"].as_str());
    id.unwrap_or_else(|| panic!("an organization_id: {created}")).to_owned()
}
