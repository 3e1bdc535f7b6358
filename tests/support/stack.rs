//! Tollward, Envoy and an upstream on ports of their own, configured by the files that are shipped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::child::Child;
use super::folder::Folder;
use super::port;
use super::upstream::{Recorder, Upstream};

/// The operator's key of every stack.
pub const MASTER: &str = "sk-operator-of-the-test-stack";

/// The stack that the tests of a file share; it ends with the process.
pub fn shared() -> &'static Stack {
    static SHARED: OnceLock<Stack> = OnceLock::new();
    SHARED.get_or_init(|| Stack::start(Options::default()))
}

/// Which filters stand in Envoy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filters {
    /// `deploy/envoy/envoy.yaml`.
    All,
    /// `deploy/envoy/envoy-observe-only.yaml`.
    ObserveOnly,
    /// Authorization and one filter that answers requests and responses; how it is sent the bodies of responses.
    Answering(&'static str),
    /// Authorization alone: nothing meters.
    NoMeter,
    /// No Envoy at all.
    NoEnvoy,
}

/// What differs from the shared stack.
#[derive(Clone, Debug)]
pub struct Options {
    pub filters: Filters,
    /// Laid over the configuration: objects are merged, everything else replaces.
    pub config: Value,
    /// `context_extensions.tollward_provider` of the route.
    pub provider: &'static str,
    /// Of Tollward. `FILE_BLOCKS` bounds how large its files grow.
    pub environment: Vec<(String, String)>,
    /// The gRPC ports of further replicas; Envoy asks all of them in turn.
    pub peers: Vec<u16>,
    /// A folder with `cert.pem`, `key.pem` and `clients.pem`: Envoy listens as `docs/mtls.md` has it.
    pub listener_tls: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            filters: Filters::All,
            config: json!({}),
            provider: "sample",
            environment: Vec::new(),
            peers: Vec::new(),
            listener_tls: None,
        }
    }
}

impl Options {
    pub fn config(config: Value) -> Self {
        Options { config, ..Options::default() }
    }

    /// The directory in a database of PostgreSQL.
    pub fn postgres(url: &str) -> Self {
        Options::config(json!({"directory": {"url": url}}))
    }

    /// Lays more over the configuration.
    pub fn with(mut self, config: &Value) -> Self {
        merge(&mut self.config, config);
        self
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub gate: u16,
    pub admin: u16,
    pub grpc: u16,
    pub http: u16,
    pub ops: u16,
    pub upstream: u16,
}

pub struct Stack {
    // Envoy before Tollward: fields are dropped in this order, and no request finds the gate gone.
    envoy: Option<Child>,
    tollward: Option<Child>,
    pub ports: Ports,
    pub upstream: Recorder,
    options: Options,
    folder: Folder,
}

impl Stack {
    pub fn start(options: Options) -> Self {
        let folder = Folder::new();
        let (upstream_port, upstream) = start_upstream();
        let ports = Ports {
            gate: port::free(),
            admin: port::free(),
            grpc: port::free(),
            http: port::free(),
            ops: port::free(),
            upstream: upstream_port,
        };
        let mut stack = Stack { envoy: None, tollward: None, ports, upstream, options, folder };
        let config = stack.config();
        stack.write_config(&config);
        stack.start_tollward();
        stack.start_envoy();
        stack
    }

    /// The configuration as it is: JSON, which is YAML too.
    pub fn config(&self) -> Value {
        let mut config = base_config(&self.ports, self.folder.path());
        merge(&mut config, &self.options.config);
        if config["directory"]["url"].as_str().is_some_and(|url| url.starts_with("postgres")) {
            // Beside nothing of its own, the spool would lie where the tests run.
            merge(&mut config, &json!({"ledger": {"spool": self.folder.path().join("tollward.spool")}}));
        }
        config
    }

    pub fn write_config(&self, config: &Value) {
        // In place of the old file, as editors and Kubernetes do it.
        let fresh = self.folder.path().join("tollward.yaml.new");
        std::fs::write(&fresh, config.to_string()).expect("the configuration is written");
        std::fs::rename(&fresh, self.config_path()).expect("the configuration is written");
    }

    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("tollward.yaml")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn tollward(&self) -> &Child {
        self.tollward.as_ref().expect("Tollward was started")
    }

    /// Starts it as before, without what the environment of the first start said.
    pub fn start_tollward_plainly(&mut self) {
        self.options.environment.clear();
        self.start_tollward();
    }

    pub fn start_tollward(&mut self) {
        let path = self.config_path();
        let arguments = ["serve", "--config", path.to_str().expect("a path")];
        let log = self.folder.path().join("tollward.log");
        let child = Child::start("tollward", super::cli::binary(), &arguments, &self.options.environment, log);
        child.wait_ready(self.ports.ops, "/readyz");
        self.tollward = Some(child);
    }

    /// `kill -9`: nothing is flushed, nothing is said.
    pub fn kill_tollward(&mut self) {
        if let Some(child) = self.tollward.take() {
            child.signal("KILL");
            child.wait_end();
        }
    }

    /// An orderly end, as at a deployment.
    pub fn stop_tollward(&mut self) {
        if let Some(child) = self.tollward.take() {
            child.signal("TERM");
            child.wait_end();
        }
    }

    fn start_envoy(&mut self) {
        if self.options.filters == Filters::NoEnvoy {
            return;
        }
        let path = self.folder.path().join("envoy.yaml");
        std::fs::write(&path, self.envoy_config()).expect("the configuration is written");
        let arguments = [
            "--config-path",
            path.to_str().expect("a path"),
            "--disable-hot-restart",
            "--concurrency",
            "1",
            "--log-level",
            "warning",
        ];
        let child = Child::start("envoy", &tool("envoy"), &arguments, &[], self.folder.path().join("envoy.log"));
        child.wait_ready(self.ports.admin, "/ready");
        self.envoy = Some(child);
    }

    /// The shipped file on this stack's ports.
    fn envoy_config(&self) -> String {
        let file = match self.options.filters {
            Filters::ObserveOnly => "envoy-observe-only.yaml",
            _ => "envoy.yaml",
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy").join(file);
        let mut text = std::fs::read_to_string(&path).unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
        // Every replica is an endpoint of the one cluster.
        let endpoint =
            |port| format!("- endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}");
        let peers: Vec<String> =
            self.options.peers.iter().map(|port| format!("\n        {}", endpoint(*port))).collect();
        replace_once(&mut text, &endpoint(9_001), &format!("{}{}", endpoint(9_001), peers.concat()));
        if !self.options.peers.is_empty() {
            // A replica that is gone is passed over, as in the shipped file for several.
            let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/compose/envoy.yaml");
            let compose =
                std::fs::read_to_string(&compose).unwrap_or_else(|problem| panic!("{}: {problem}", compose.display()));
            let from = compose.find("    health_checks:\n").expect("replicas are asked whether they serve");
            let to = from + compose[from..].find("    load_assignment:\n").expect("the replicas");
            let place = "    load_assignment:\n      cluster_name: tollward\n";
            replace_once(&mut text, place, &format!("{}{place}", &compose[from..to]));
        }
        let replaced = [
            (10_000, self.ports.gate),
            (10_001, self.ports.upstream),
            (10_002, self.ports.admin),
            (9_001, self.ports.grpc),
        ];
        for (shipped, ours) in replaced {
            replace_once(&mut text, &format!("port_value: {shipped}}}"), &format!("port_value: {ours}}}"));
        }
        replace_once(&mut text, "tollward_provider: sample", &format!("tollward_provider: {}", self.options.provider));
        // The tests run an unoptimised build on a machine that compiles meanwhile: half a second is not about the gate.
        assert!(text.contains("timeout: 0.5s"), "the shipped Envoy file bounds its side calls");
        text = text.replace("timeout: 0.5s", "timeout: 10s");
        if let Some(folder) = &self.options.listener_tls {
            let page = include_str!("../../docs/mtls.md");
            let (_, block) = page.split_once("```yaml\n# envoy.yaml\n").expect("the page shows the listener");
            let (block, _) = block.split_once("```").expect("the block ends");
            let block = block.replace("/etc/envoy", folder.to_str().expect("a path"));
            replace_once(&mut text, "    filter_chains:\n    - filters:\n", &block);
        }
        if let Some(root) = self.options.config["request"]["root_path"].as_str() {
            // The upstream's own paths stand at the root: Envoy takes the prefix away behind its filters.
            let below = format!(
                "- match: {{prefix: \"{root}/\"}}\n                route: {{cluster: upstream, timeout: 0s, prefix_rewrite: \"/\"}}"
            );
            let rest = "- match: {prefix: \"/\"}";
            replace_once(&mut text, rest, &format!("{below}\n              {rest}"));
        }
        let find = |text: &str, filter: &str| text.find(&format!("          - name: {filter}\n")).expect("the filter");
        match self.options.filters {
            Filters::NoMeter => {
                let from = find(&text, "tollward.ask");
                text.replace_range(from..find(&text, "envoy.filters.http.router"), "");
            }
            Filters::Answering(response_body_mode) => {
                let from = find(&text, "tollward.meter");
                text.replace_range(from..find(&text, "envoy.filters.http.router"), "");
                replace_once(&mut text, "response_header_mode: SKIP", "response_header_mode: SEND");
                replace_once(
                    &mut text,
                    "response_body_mode: NONE",
                    &format!("response_body_mode: {response_body_mode}"),
                );
                // What a response that is sent on piece by piece ends with belongs to it.
                replace_once(&mut text, "response_trailer_mode: SKIP", "response_trailer_mode: SEND");
                // A filter that takes a body away to give it back cannot be skipped when it fails.
                let start = find(&text, "tollward.ask");
                let filter = text.split_off(start).replace("failure_mode_allow: true", "failure_mode_allow: false");
                text.push_str(&filter);
            }
            Filters::All | Filters::ObserveOnly | Filters::NoEnvoy => {}
        }
        text
    }
}

/// Models, prices and access groups of every stack.
fn base_config(ports: &Ports, folder: &Path) -> Value {
    let model = |name: &str, provider_name: &str, input: f64, output: f64, groups: &[&str]| {
        json!({
            "model_name": name,
            "litellm_params": {
                "model": provider_name, "input_cost_per_token": input, "output_cost_per_token": output,
            },
            "model_info": {"access_groups": groups},
        })
    };
    json!({
        "listen": {
            "grpc": format!("127.0.0.1:{}", ports.grpc),
            "http": format!("127.0.0.1:{}", ports.http),
            "ops": format!("127.0.0.1:{}", ports.ops),
        },
        "directory": {"url": format!("sqlite://{}", folder.join("tollward.db").display())},
        "general_settings": {"master_key": MASTER},
        "telemetry": {"log": "info"},
        "model_list": [
            model("gpt-4o-mini", "openai/gpt-4o-mini", 1.5e-7, 6e-7, &["cheap-models"]),
            model("gpt-4o", "openai/gpt-4o", 2.5e-6, 1e-5, &["premium-models"]),
            model("claude-3-5-sonnet", "anthropic/claude-3-5-sonnet-20241022", 3e-6, 1.5e-5, &[]),
            model("gemini-2.0-flash", "gemini/gemini-2.0-flash", 1e-7, 4e-7, &[]),
            model("text-embedding-3-small", "openai/text-embedding-3-small", 2e-8, 0.0, &[]),
            model("free-model", "openai/free-model", 0.0, 0.0, &[]),
            model("openai/*", "openai/*", 1.5e-7, 6e-7, &[]),
        ],
    })
}

/// Lays one value over another: objects are merged, everything else replaces.
pub fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                merge(below.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}

fn replace_once(text: &mut String, old: &str, new: &str) {
    assert_eq!(text.matches(old).count(), 1, "`{old}` is in the shipped Envoy file once");
    *text = text.replace(old, new);
}

/// The upstream, on a thread of its own, for the rest of the process.
fn start_upstream() -> (u16, Recorder) {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let upstream = Upstream::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.expect("a free port");
            let port = upstream.address().expect("its address").port();
            sender.send((port, upstream.recorder())).expect("the stack waits");
            upstream.serve().await.expect("it serves");
        });
    });
    receiver.recv().expect("the upstream starts")
}

/// A third-party tool: as `make setup` provides it, else from PATH. A test that cannot find its tool fails.
pub fn tool(name: &str) -> PathBuf {
    let provided = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin").join(name);
    let on_path =
        std::env::var_os("PATH").into_iter().flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    std::iter::once(provided)
        .chain(on_path.map(|folder| folder.join(name)))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{name} is neither in .tools/bin nor on PATH: run `make setup`"))
}
