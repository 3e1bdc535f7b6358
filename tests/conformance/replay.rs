//! Sends the requests of the cases: calls to models through Envoy, everything else to the management port.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;

use super::case::{Case, Request, Step};
use super::outcome::Got;
use super::rules::Rules;
use super::support::{MASTER, Options, Stack, eventually, unique};

/// Waits up to this long are for books to be written: here the books are asked.
const FOR_THE_BOOKS: f64 = 0.5;

/// Starts a server with the settings of these cases and replays them one by one.
pub fn on_a_server_of_their_own<'c>(cases: &[&'c Case], rules: &Rules) -> Vec<(&'c Case, Got)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = cases.first().expect("a group has a case");
    let fixed = Names::of(first, 0, rules);
    let mut options = Options::config(fixed.fill_value(&rules.settings(first)));
    options.environment = first.env.clone().into_iter().collect();
    let stack = Stack::start(options);
    let http =
        reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let replay = Replay { stack, http };
    let outcomes =
        cases.iter().enumerate().map(|(number, case)| (*case, runtime.block_on(replay.case(case, number, rules))));
    outcomes.collect()
}

struct Replay {
    stack: Stack,
    http: reqwest::Client,
}

impl Replay {
    async fn case(&self, case: &Case, number: usize, rules: &Rules) -> Got {
        let mut names = Names::of(case, number, rules);
        let before = rules.granted(&case.id).flat_map(|granted| &granted.before);
        let behind = rules.granted(&case.id).flat_map(|granted| &granted.behind);
        for step in before.chain(&case.steps).chain(behind) {
            match step {
                Step::Sleep { sleep_s } if *sleep_s <= FOR_THE_BOOKS => self.books_are_written().await,
                Step::Sleep { sleep_s } => tokio::time::sleep(Duration::from_secs_f64(*sleep_s)).await,
                Step::Send { request, save } => {
                    let got = self.send(request, &names).await;
                    for (name, path) in save {
                        names.learn(name, path, &got.body);
                    }
                }
            }
        }
        self.send(&case.request, &names).await
    }

    /// Waits until nothing is held: every request so far is settled.
    async fn books_are_written(&self) {
        eventually("every request is settled", || async {
            let open = self.stack.metric("tollward_holds");
            if open == 0.0 { Ok(()) } else { Err(format!("{open} holds are open")) }
        })
        .await;
    }

    async fn send(&self, request: &Request, names: &Names) -> Got {
        let to_a_model = request.is_model_call();
        let port = if to_a_model { self.stack.ports.gate } else { self.stack.ports.http };
        let url = format!("http://127.0.0.1:{port}{}", names.fill(&request.path));
        let mut sent = self.http.request(request.method.parse().expect("a method"), url);
        for (name, value) in &request.headers {
            sent = sent.header(name, names.fill(value));
        }
        let is_typed = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        if !request.body.is_null() && !is_typed {
            sent = sent.header("content-type", "application/json");
        }
        sent = match &request.body {
            Value::Null => sent,
            Value::String(text) => sent.body(names.fill(text)),
            body => sent.body(names.fill_value(body).to_string()),
        };
        let case = unique("case");
        if to_a_model {
            // What the upstream of the recording told of every chat.
            sent = sent.header("x-upstream-usage", "10,20").header("x-case", &case);
        }
        let answer =
            sent.send().await.unwrap_or_else(|problem| panic!("{} {}: {problem}", request.method, request.path));
        let status = answer.status().as_u16();
        let headers = answer.headers().keys().map(|name| name.as_str().to_owned()).collect();
        let text = answer.text().await.expect("a body");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let reached = to_a_model && !self.stack.upstream.with_header("x-case", &case).is_empty();
        let kind = body["error"]["type"].as_str().map(str::to_owned);
        Got { allowed: reached || status < 400, status, kind, headers, body }
    }
}

/// What `${…}` stands for (a name that is granted keeps its meaning), and a mark that keeps the entities of one case apart from those of the next.
struct Names {
    granted: BTreeMap<String, String>,
    replaced: BTreeMap<String, String>,
    learned: BTreeMap<String, String>,
    mark: String,
}

impl Names {
    fn of(case: &Case, number: usize, rules: &Rules) -> Names {
        let mut granted = BTreeMap::from([("MASTER_KEY".to_owned(), MASTER.to_owned())]);
        let mut replaced = BTreeMap::new();
        for entry in rules.granted(&case.id) {
            granted.extend(entry.values.clone());
            replaced.extend(entry.replaced.clone());
        }
        Names { granted, replaced, learned: BTreeMap::new(), mark: format!("-{number}") }
    }

    fn learn(&mut self, name: &str, path: &[Value], answer: &Value) {
        let found = path.iter().try_fold(answer, |value, part| match part {
            Value::Number(index) => value.get(index.as_u64()? as usize),
            name => value.get(name.as_str()?),
        });
        if let Some(Value::String(text)) = found {
            self.learned.insert(name.to_owned(), text.clone());
        }
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(values) => values.iter().map(|value| self.fill_value(value)).collect(),
            Value::Object(fields) => {
                Value::Object(fields.iter().map(|(name, value)| (self.fill(name), self.fill_value(value))).collect())
            }
            other => other.clone(),
        }
    }

    fn fill(&self, text: &str) -> String {
        let replaced =
            self.replaced.iter().fold(text.to_owned(), |text, (recorded, ours)| text.replace(recorded, ours));
        let (mut filled, mut rest) = (String::new(), replaced.as_str());
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').expect("a name ends");
            filled.push_str(before);
            match name.strip_prefix("sha256:") {
                Some(name) => filled.push_str(&sha256(self.value(name))),
                None => filled.push_str(self.value(name)),
            }
            rest = after;
        }
        filled.push_str(rest);
        self.marked(&filled)
    }

    fn value(&self, name: &str) -> &str {
        self.granted
            .get(name)
            .or_else(|| self.learned.get(name))
            .unwrap_or_else(|| panic!("nothing says what ${{{name}}} is"))
    }

    /// Entities of the recording are called like `team-e7289e`.
    fn marked(&self, text: &str) -> String {
        let is_id = |word: &str| word.len() == 6 && word.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let mut result = String::new();
        let mut start = 0;
        for (at, _) in text.match_indices('-') {
            let word = text[at + 1..].split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap_or_default();
            let end = at + 1 + word.len();
            if is_id(word) && !text[end..].starts_with('-') {
                let _ = write!(result, "{}{}", &text[start..end], self.mark);
                start = end;
            }
        }
        result.push_str(&text[start..]);
        result
    }
}

fn sha256(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
