//! Real Redis servers on free ports: one alone, a Sentinel trio over a master and a replica, a Cluster of three masters
//! with a replica each.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::child::Child;
use super::port;
use super::wait::eventually_blocking;

/// One `redis-server`.
pub struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Redis {
    /// The server that the tests of this process share, each under its own key prefix.
    pub fn shared() -> &'static Redis {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Redis::start(&[]))
    }

    /// Starts a server of its own with these options.
    pub fn start(options: &[&str]) -> Redis {
        let port = port::free();
        let redis = Redis::begin(port, options);
        redis.wait();
        redis
    }

    fn begin(port: u16, options: &[&str]) -> Redis {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = options.iter().map(|option| (*option).to_owned()).collect();
        let mut redis = Redis { folder, port, arguments, child: None };
        redis.run();
        redis
    }

    /// Starts the process (again), empty.
    pub fn run(&mut self) {
        let (port, folder) = (self.port.to_string(), self.folder.path().to_string_lossy().into_owned());
        let mut arguments =
            vec!["--port", &port, "--bind", "127.0.0.1", "--dir", &folder, "--save", "", "--appendonly", "no"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let log = self.folder.path().join("log");
        self.child = Some(Child::start("redis", &program("redis-server"), &arguments, &[], log));
    }

    pub fn wait(&self) {
        eventually_blocking("redis answers", || match self.command(&["PING"]).as_str() {
            "PONG" => Ok(()),
            other => Err(other.to_owned()),
        });
    }

    /// Ends it at once (`KILL`), and with it all it knew.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            child.signal("KILL");
            child.wait_end();
        }
    }

    /// `STOP`, `CONT` and others.
    pub fn signal(&self, name: &str) {
        self.child.as_ref().expect("it runs").signal(name);
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").pid()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What `redis-cli` prints for a command.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut cli = Command::new(program("redis-cli"));
        cli.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        let output = cli.output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

/// Three sentinels that watch a master, named `tollward`, with one replica.
pub struct Sentinels {
    pub master: Redis,
    pub replica: Redis,
    sentinels: Vec<(Child, u16, tempfile::TempDir)>,
}

impl Sentinels {
    pub fn shared() -> &'static Sentinels {
        static SHARED: OnceLock<Sentinels> = OnceLock::new();
        SHARED.get_or_init(Sentinels::start)
    }

    pub fn start() -> Sentinels {
        let master = Redis::start(&[]);
        let port = master.port.to_string();
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
        let start = |_| {
            let folder = tempfile::tempdir().expect("a folder");
            let (own, file) = (port::free(), folder.path().join("sentinel.conf"));
            let lines = [
                format!("port {own}"),
                "bind 127.0.0.1".to_owned(),
                format!("dir {}", folder.path().display()),
                format!("sentinel monitor tollward 127.0.0.1 {port} 2"),
                "sentinel down-after-milliseconds tollward 1000".to_owned(),
                "sentinel failover-timeout tollward 5000".to_owned(),
            ];
            std::fs::write(&file, lines.join("\n") + "\n").expect("a file");
            let arguments = [&*file.to_string_lossy(), "--sentinel"];
            let log = folder.path().join("log");
            (Child::start("sentinel", &program("redis-server"), &arguments, &[], log), own, folder)
        };
        let sentinels = Sentinels { master, replica, sentinels: (0..3).map(start).collect() };
        eventually_blocking("the sentinels know one another and the replica", || {
            for (_, port, _) in &sentinels.sentinels {
                let told = cli(*port, &["SENTINEL", "MASTER", "tollward"]);
                let lines: Vec<&str> = told.lines().collect();
                let field =
                    |name: &str| lines.iter().position(|line| *line == name).and_then(|at| lines.get(at + 1)).copied();
                if field("num-slaves") != Some("1") || field("num-other-sentinels") != Some("2") {
                    return Err(told);
                }
            }
            Ok(())
        });
        sentinels
    }

    pub fn url(&self) -> String {
        let places: Vec<String> = self.sentinels.iter().map(|(_, port, _)| format!("127.0.0.1:{port}")).collect();
        format!("redis+sentinel://{}/tollward", places.join(","))
    }
}

/// Three masters with a replica each.
pub struct Cluster {
    pub nodes: Vec<Redis>,
}

impl Cluster {
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::start)
    }

    pub fn start() -> Cluster {
        let start = |_| {
            let bus = port::free().to_string();
            let options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus];
            Redis::start(&options)
        };
        let cluster = Cluster { nodes: (0..6).map(start).collect() };
        let places: Vec<String> = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = Command::new(program("redis-cli"));
        create.args(["--cluster", "create"]).args(&places).args(["--cluster-replicas", "1", "--cluster-yes"]);
        let made = create.output().expect("redis-cli runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        eventually_blocking("every node of the cluster is up, and every master has its replica", || {
            for node in &cluster.nodes {
                let info = node.command(&["CLUSTER", "INFO"]);
                if !info.contains("cluster_state:ok") {
                    return Err(info);
                }
                let nodes = node.command(&["CLUSTER", "NODES"]);
                if nodes.lines().filter(|line| line.contains("slave")).count() != 3 {
                    return Err(nodes);
                }
            }
            Ok(())
        });
        cluster
    }

    pub fn url(&self) -> String {
        let places: Vec<String> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", places.join(","))
    }
}

fn cli(port: u16, arguments: &[&str]) -> String {
    let output = Command::new(program("redis-cli")).args(["-p", &port.to_string()]).args(arguments).output();
    String::from_utf8_lossy(&output.expect("redis-cli runs").stdout).trim().to_owned()
}

/// A program of Redis on PATH.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let found = found.unwrap_or_else(|| panic!("{name} is not installed: `make setup` installs it"));
    debug_assert!(found.starts_with(Path::new("/")));
    found
}
