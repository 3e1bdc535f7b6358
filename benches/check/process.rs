//! Server processes: pinned to a core, their CPU time read from the kernel, gone when the benchmark ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long cores are looked at before it is said which is the quietest: some hosts take one away once a second.
const GAUGED: Duration = Duration::from_millis(1_500);
/// A spin that takes longer for a turn was not left alone.
const GAP: Duration = Duration::from_micros(300);

/// Who runs where: the server, the load, and the Redis beside them.
pub struct Cores {
    server: String,
    load: String,
    redis: String,
}

impl Cores {
    /// Of these cores the quietest at this moment for the server, and the one that the host takes away the most for the load,
    /// which knows when it stood still. Redis has the next to quietest, and shares the load's where there are but two.
    pub fn choose(allowed: &[u32]) -> Self {
        let cores = quietest_first(allowed);
        let [server, .., load] = *cores else {
            panic!("the benchmark needs two cores: one for the server, one for the load")
        };
        Cores { server: server.to_string(), load: load.to_string(), redis: cores[1].to_string() }
    }

    pub fn pin_this_process(&self) {
        let pid = std::process::id().to_string();
        let pinned = Command::new("taskset").args(["-a", "-c", "-p", &self.load, &pid]).stdout(Stdio::null()).status();
        assert!(pinned.is_ok_and(|status| status.success()), "taskset (util-linux) pins processes to cores");
    }

    /// Keeps the server's core from falling asleep, until it is dropped: a process that the scheduler lets run only while
    /// nothing else wants to. A core that sleeps is woken late, on a virtual machine by milliseconds.
    pub fn stay_awake(&self) -> Awake {
        let mut command = Command::new("chrt");
        command.args(["--idle", "0", "taskset", "-c", &self.server]);
        command.arg(std::env::current_exe().expect("this binary")).arg("--stay-awake");
        Awake(command.stdin(Stdio::null()).spawn().expect("chrt (util-linux) starts a process of the lowest priority"))
    }

    /// A command that runs on the core of Redis.
    pub fn command_of_redis(&self, program: &str) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(&self.redis).arg(program);
        command
    }

    /// A command that runs on the server's core.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(&self.server).arg(program);
        command
    }
}

/// The cores this process may use.
pub fn allowed_cores() -> Vec<u32> {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("cores").trim();
    let number = |text: &str| text.parse::<u32>().expect("a core's number");
    let cores = list.split(',').flat_map(|range| match range.split_once('-') {
        Some((first, last)) => number(first)..=number(last),
        None => number(range)..=number(range),
    });
    cores.collect()
}

/// These cores by how long a process that spins on each of them stood still.
fn quietest_first(cores: &[u32]) -> Vec<u32> {
    let spin = |core: &u32| {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(core.to_string()).arg(std::env::current_exe().expect("this binary")).arg("--gauge");
        let spinning = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
        (*core, spinning.expect("taskset (util-linux) pins processes to cores"))
    };
    let spinning: Vec<(u32, Child)> = cores.iter().map(spin).collect();
    let mut lost: Vec<(u64, u32)> = spinning
        .into_iter()
        .map(|(core, spun)| {
            let said = spun.wait_with_output().expect("a child of ours").stdout;
            (String::from_utf8_lossy(&said).trim().parse().expect("microseconds"), core)
        })
        .collect();
    lost.sort_unstable();
    lost.into_iter().map(|(_, core)| core).collect()
}

/// What finds the quietest core runs: says for how many microseconds it stood still.
pub fn gauge() {
    let start = Instant::now();
    let (mut last, mut lost) = (start, Duration::ZERO);
    while start.elapsed() < GAUGED {
        let gap = last.elapsed();
        last += gap;
        if gap > GAP {
            lost += gap;
        }
    }
    println!("{}", lost.as_micros());
}

/// See [`Cores::stay_awake`].
pub struct Awake(Child);

impl Drop for Awake {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Server {
    child: Child,
    pub port: u16,
    /// CPU time of each thread when it was last looked at, nanoseconds: one that has ended keeps what it used.
    threads: RefCell<BTreeMap<OsString, u64>>,
    /// Its files, removed with it.
    _folder: Option<TempDir>,
}

impl Server {
    pub fn new(mut command: Command, port: u16, folder: Option<TempDir>) -> Self {
        let child = command.stdin(Stdio::null()).spawn().expect("the server starts");
        Server { child, port, threads: RefCell::default(), _folder: folder }
    }

    /// This binary as a reference server.
    pub fn reference(cores: &Cores, name: &str) -> Self {
        let port = free_port();
        let mut command = cores.command(&std::env::current_exe().expect("this binary"));
        command.args(["--reference", name, &port.to_string()]);
        Server::new(command, port, None)
    }

    pub async fn wait_port(&self) {
        wait_for(|| std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok(), "the server listens").await;
    }

    /// Resident memory, in MiB.
    pub fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the server runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1_024
    }

    /// CPU time of all its threads so far, as the scheduler counted it.
    pub fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the server runs");
        let mut threads = self.threads.borrow_mut();
        for task in tasks.flatten() {
            // A thread may end between the list and the look at it.
            let Ok(schedstat) = std::fs::read_to_string(task.path().join("schedstat")) else { continue };
            let spent = schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok());
            threads.insert(task.file_name(), spent.expect("nanoseconds on the CPU"));
        }
        Duration::from_nanos(threads.values().sum())
    }
}

impl Server {
    /// Asks it to stop and waits for its end, by when it has written what it counts about itself.
    pub fn stop(mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()), "kill (util-linux, procps) asks a process to stop");
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().expect("a child of ours").is_none() {
            assert!(Instant::now() < deadline, "a server that was told to stop still runs after 30 s");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What [`Cores::stay_awake`] runs: it spins until its parent is gone.
pub fn stay_awake() {
    let parent = std::os::unix::process::parent_id();
    while std::os::unix::process::parent_id() == parent {
        for _ in 0..100_000 {
            std::hint::spin_loop();
        }
    }
}

pub async fn wait_for(mut ready: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ready() {
        assert!(Instant::now() < deadline, "not within 30 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}
