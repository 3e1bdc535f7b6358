//! Real Redis servers on free ports: one alone, a Sentinel trio over a master and a replica, a Cluster of three masters
//! with a replica each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::child::Child;
use super::folder::Folder;
use super::port;
use super::wait::eventually_blocking;

/// One `redis-server`; it ends with the test process, or when it is dropped.
pub struct Redis {
    // Before its folder: fields are dropped in this order.
    child: Option<Child>,
    port: u16,
    arguments: Vec<String>,
    folder: Folder,
}

impl Redis {
    /// The server that the tests of this process share, each under its own key prefix.
    pub fn shared() -> &'static Redis {
        static SHARED: OnceLock<Redis> = OnceLock::new();
        SHARED.get_or_init(|| Redis::start(&[]))
    }

    /// Starts a server of its own with these options; it answers.
    pub fn start(options: &[&str]) -> Redis {
        Redis::start_with(|_, _| options.iter().map(|option| (*option).to_owned()).collect())
    }

    /// Starts a server with what `options` makes of its folder and port.
    fn start_with(options: impl Fn(&Path, u16) -> Vec<String>) -> Redis {
        // Another process may take a port between the moment it was free and this server's start.
        for _ in 0..5 {
            // Sentinels and nodes of a cluster wait for the disk at each change of their view of the others; on a busy
            // one that takes seconds, and they take it for the death of somebody.
            let (folder, port) = (Folder::in_memory(), port::free());
            let arguments = options(folder.path(), port);
            let mut redis = Redis { child: None, port, arguments, folder };
            redis.run();
            if redis.comes_up() {
                return redis;
            }
            let log = redis.log();
            assert!(log.contains("in use"), "redis ended: {log}");
        }
        panic!("redis finds its port in use again and again");
    }

    /// Starts the process again after [`Redis::stop`], on the same port. It is empty unless its options make it keep what
    /// it knows (`--appendonly yes`); a node of a cluster knows its place. [`Redis::wait`] waits until it answers.
    pub fn run(&mut self) {
        assert!(self.child.is_none(), "redis runs already");
        let (port, folder) = (self.port.to_string(), self.folder.path().to_string_lossy().into_owned());
        // A file of settings comes first; of one setting given twice, Redis takes the last.
        let file = self.arguments.first().filter(|first| !first.starts_with('-'));
        let mut arguments: Vec<&str> = file.into_iter().map(String::as_str).collect();
        arguments.extend(["--port", &port, "--bind", "127.0.0.1", "--dir", &folder]);
        arguments.extend(["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]);
        arguments.extend(self.arguments.iter().skip(usize::from(file.is_some())).map(String::as_str));
        let log = self.folder.path().join("log");
        let _ = std::fs::remove_file(&log);
        self.child = Some(Child::start("redis", &program("redis-server"), &arguments, &[], log));
    }

    /// Waits until it answers.
    pub fn wait(&self) {
        assert!(self.comes_up(), "redis ended: {}", self.log());
    }

    /// Waits until this process, and no other server on that port, answers; false when it ended instead.
    fn comes_up(&self) -> bool {
        let child = self.child.as_ref().expect("it runs");
        let ours = format!("process_id:{}", child.pid());
        eventually_blocking("redis answers", || {
            if !child.runs() {
                return Ok(false);
            }
            let told = self.command(&["INFO", "server"]);
            let is_ours = told.lines().any(|line| line.trim() == ours);
            // While it reads its files it tells who it is, and takes no command.
            if is_ours && self.command(&["PING"]) == "PONG" {
                Ok(true)
            } else {
                Err(format!("{told}\n{}", child.log()))
            }
        })
    }

    fn log(&self) -> String {
        self.child.as_ref().map(Child::log).unwrap_or_default()
    }

    /// Ends it at once (`KILL`): nothing is flushed, nobody is told.
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

    /// What `redis-cli` prints for a command; nothing where the server does not answer.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut cli = Command::new(program("redis-cli"));
        cli.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        let output = cli.output().expect("redis-cli runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Whether it is a replica that has all that its master has had so far.
    fn is_in_step(&self) -> Result<(), String> {
        let told = self.command(&["INFO", "replication"]);
        if told.contains("role:slave") && told.contains("master_link_status:up") { Ok(()) } else { Err(told) }
    }
}

/// Three sentinels that watch a master, named `tollward`, with one replica.
pub struct Sentinels {
    pub master: Redis,
    pub replica: Redis,
    pub sentinels: Vec<Redis>,
}

impl Sentinels {
    pub fn shared() -> &'static Sentinels {
        static SHARED: OnceLock<Sentinels> = OnceLock::new();
        SHARED.get_or_init(Sentinels::start)
    }

    pub fn start() -> Sentinels {
        let master = Redis::start(&[]);
        let master_port = master.port.to_string();
        let replica = Redis::start(&["--replicaof", "127.0.0.1", &master_port]);
        eventually_blocking("the replica follows", || replica.is_in_step());
        let start = |_| {
            Redis::start_with(|folder, _| {
                let file = folder.join("sentinel.conf");
                let lines = [
                    format!("sentinel monitor tollward 127.0.0.1 {master_port} 2"),
                    "sentinel down-after-milliseconds tollward 1000".to_owned(),
                    "sentinel failover-timeout tollward 5000".to_owned(),
                ];
                std::fs::write(&file, lines.join("\n") + "\n").expect("a file");
                vec![file.to_string_lossy().into_owned(), "--sentinel".to_owned()]
            })
        };
        let sentinels = Sentinels { master, replica, sentinels: (0..3).map(start).collect() };
        for sentinel in &sentinels.sentinels {
            // A sentinel that a busy machine held up for two seconds does nothing for thirty (TILT): here for one. And
            // it looks at servers every second instead of every ten.
            let quicker = ["TILT-PERIOD", "1000", "INFO-PERIOD", "1000", "PUBLISH-PERIOD", "500"];
            let set = sentinel.command(&[&["SENTINEL", "DEBUG"][..], &quicker[..]].concat());
            assert_eq!(set, "OK");
        }
        eventually_blocking("the sentinels know one another and the replica", || {
            for sentinel in &sentinels.sentinels {
                let master = fields(&sentinel.command(&["SENTINEL", "MASTER", "tollward"]));
                let replica = fields(&sentinel.command(&["SENTINEL", "REPLICAS", "tollward"]));
                let is = |told: &HashMap<String, String>, name: &str, value: &str| {
                    told.get(name).is_some_and(|told| told == value)
                };
                if !is(&master, "flags", "master")
                    || !is(&master, "num-slaves", "1")
                    || !is(&master, "num-other-sentinels", "2")
                    || !is(&replica, "flags", "slave")
                    || !is(&replica, "master-link-status", "ok")
                {
                    return Err(format!("{master:?} {replica:?}"));
                }
            }
            Ok(())
        });
        sentinels
    }

    /// The port of the master, where all sentinels agree.
    pub fn master_port(&self) -> Option<u16> {
        let mut told = self.sentinels.iter().map(|sentinel| {
            let place = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "tollward"]);
            place.lines().nth(1).and_then(|port| port.trim().parse::<u16>().ok())
        });
        let first = told.next()??;
        told.all(|port| port == Some(first)).then_some(first)
    }

    pub fn url(&self) -> String {
        format!("redis+sentinel://{}/tollward", places(&self.sentinels))
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
                // One that never had its master's data would not take its place.
                if node.command(&["ROLE"]).starts_with("slave") {
                    node.is_in_step()?;
                }
            }
            Ok(())
        });
        cluster
    }

    /// Which node is the master of a key, as every node that answers sees it.
    pub fn master_of(&self, key: &str) -> Result<usize, String> {
        let mut owner = None;
        for node in &self.nodes {
            let slot = node.command(&["CLUSTER", "KEYSLOT", key]);
            let Ok(slot) = slot.parse::<u16>() else { continue };
            let nodes = node.command(&["CLUSTER", "NODES"]);
            let holder = nodes.lines().find(|line| {
                // id address flags master ping pong epoch link slots…
                line.split(' ').skip(8).any(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    matches!((first.parse(), last.parse()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
                })
            });
            let address = holder.and_then(|line| line.split([' ', '@']).nth(1)).ok_or_else(|| nodes.clone())?;
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            let at = self.nodes.iter().position(|node| Some(node.port) == port).ok_or_else(|| nodes.clone())?;
            if *owner.get_or_insert(at) != at {
                return Err(format!("the nodes disagree: {nodes}"));
            }
        }
        owner.ok_or_else(|| "no node answers".to_owned())
    }

    pub fn url(&self) -> String {
        format!("redis+cluster://{}", places(&self.nodes))
    }
}

/// `name` and `value` on lines of their own, as Sentinel tells them through `redis-cli`.
fn fields(told: &str) -> HashMap<String, String> {
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    lines.chunks_exact(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())).collect()
}

fn places(servers: &[Redis]) -> String {
    let places: Vec<String> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
    places.join(",")
}

/// A program of Redis on PATH.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    let found = found.unwrap_or_else(|| panic!("{name} is not installed: `make setup` installs it"));
    debug_assert!(found.starts_with(Path::new("/")));
    found
}
