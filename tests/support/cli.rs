//! The command line of the built binary.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::stack::Stack;
use super::wait::PATIENCE;

/// The binary under test.
pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tollward"))
}

/// Runs it to its end, which must come; output and status.
pub fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    for inherited in
        ["DATABASE_URL", "LITELLM_DATABASE_URL", "REDIS_URL", "TOLLWARD_MASTER_KEY", "LITELLM_MASTER_KEY", "RUST_LOG"]
    {
        command.env_remove(inherited);
    }
    command.args(arguments).envs(environment.iter().copied());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let pid = child.id();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait_with_output()));
    match receiver.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("its output"),
        Err(_) => {
            let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
            panic!("tollward {arguments:?} does not end within {PATIENCE:?} ({:?})", Instant::now());
        }
    }
}

/// Standard output and standard error as one text.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Stack {
    /// Runs a subcommand on this stack's configuration.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let config = self.config_path();
        let mut all: Vec<&str> = arguments.to_vec();
        all.extend(["--config", config.to_str().expect("a path")]);
        run(&all, &[])
    }

    /// Runs a subcommand with `--json`; what it printed. It must succeed.
    #[track_caller]
    pub fn command_json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        let output = self.command(&all);
        assert!(output.status.success(), "tollward {all:?}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|problem| panic!("{problem}: {}", text(&output)))
    }

    /// `tollward ledger verify`: it must find that all sums agree, to the last nano-dollar.
    #[track_caller]
    pub fn verify_ledger(&self) -> Value {
        let report = self.command_json(&["ledger", "verify"]);
        let mut differences = Vec::new();
        collect(&report, "difference", &mut differences);
        assert!(!differences.is_empty(), "a report that names differences: {report}");
        assert!(differences.iter().all(is_nothing), "entities, records and counters agree: {report}");
        report
    }
}

/// Every value whose name contains the word.
fn collect(value: &Value, word: &str, found: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name.contains(word) {
                    found.push(member.clone());
                } else {
                    collect(member, word, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, word, found)),
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.trim_start_matches('$').parse::<f64>() == Ok(0.0),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null => true,
        Value::Bool(differs) => !differs,
    }
}
