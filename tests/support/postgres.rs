//! A real PostgreSQL on a free port in a temporary folder; databases are made in it by name.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::child::Child;
use super::folder::Folder;
use super::port;
use super::wait::eventually_blocking;

/// One server; it ends with the test process, or when it is dropped.
pub struct Postgres {
    // Before its folder: fields are dropped in this order.
    child: Option<Child>,
    port: u16,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Folder,
}

impl Postgres {
    /// The server that the tests of this process share. A test that hurts its server starts its own.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start(&[]))
    }

    /// Starts a server of its own with these settings (`name=value`).
    pub fn start(settings: &[&str]) -> Postgres {
        Postgres::start_in(Vec::new(), settings)
    }

    /// The same, none of whose files grows beyond so many blocks of 512 bytes: whatever needs more finds the disk full.
    pub fn start_bounded(blocks: u32, settings: &[&str]) -> Postgres {
        Postgres::start_in(vec![("FILE_BLOCKS".to_owned(), blocks.to_string())], settings)
    }

    fn start_in(environment: Vec<(String, String)>, settings: &[&str]) -> Postgres {
        let folder = Folder::new();
        if let Some((user, group)) = servant() {
            chown(folder.path(), Some(user), Some(group)).expect("the folder changes hands");
        }
        let data = folder.path().join("data");
        let mut initdb = unprivileged(&program("initdb"));
        initdb.args(["--auth=trust", "--username=tollward", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(&data).output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Postgres { child: None, port: 0, settings, environment, folder };
        // Another process may take a port between the moment it was free and this server's start.
        for _ in 0..5 {
            server.port = port::free();
            match server.try_run() {
                Ok(()) => return server,
                Err(log) if log.contains("Address already in use") => {}
                Err(log) => panic!("postgres ended: {log}"),
            }
        }
        panic!("postgres finds its port in use again and again");
    }

    /// Starts the process again after [`Postgres::stop`], on the same port and over the same data: what was committed
    /// is there.
    pub fn run(&mut self) {
        if let Err(log) = self.try_run() {
            panic!("postgres ended: {log}");
        }
    }

    /// Starts the process and waits until it, and no other server on that port, answers. The error is its log.
    fn try_run(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "postgres runs already");
        let command = self.command();
        let arguments: Vec<&str> = command.iter().skip(1).map(String::as_str).collect();
        let log = self.folder.path().join("log");
        let _ = std::fs::remove_file(&log);
        let child = Child::start("postgres", Path::new(&command[0]), &arguments, &self.environment, log);
        let came_up = eventually_blocking("postgres answers", || {
            if !child.runs() {
                return Ok(false);
            }
            // First the process that made the file, far below whether it is ready.
            let told = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid")).unwrap_or_default();
            let lines: Vec<&str> = told.lines().map(str::trim).collect();
            let ours = lines.first() == Some(&child.pid().to_string().as_str());
            if ours && lines.get(7) == Some(&"ready") && self.is_ready() { Ok(true) } else { Err(child.log()) }
        });
        if !came_up {
            return Err(child.log());
        }
        self.child = Some(child);
        Ok(())
    }

    /// Whether it takes connections, and says so within a second.
    pub fn is_ready(&self) -> bool {
        is_ready(self.port)
    }

    /// Ends it at once, as a crash does.
    pub fn stop(&mut self) {
        if let Some(child) = self.child.take() {
            // Its children end with it: they see their postmaster gone.
            child.signal("QUIT");
            child.wait_end();
        }
    }

    /// Stops every process of the server in its tracks (`STOP`), or lets all go on (`CONT`).
    pub fn signal_all(&self, name: &str) {
        let child = self.child.as_ref().expect("it runs");
        // The postmaster first: what has stopped makes no more children.
        child.signal(name);
        let pid = child.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for backend in children.split_whitespace() {
            // It may have ended meanwhile.
            let mut kill = Command::new("kill");
            let _ = kill.arg(format!("-{name}")).arg(backend).stderr(std::process::Stdio::null()).status();
        }
    }

    /// A fresh database, by its URL.
    pub fn database(&self) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("d{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://tollward@127.0.0.1:{}/{database}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL with `psql`, and answers what it prints, unaligned and without headings.
    pub fn execute(&self, database: &str, sql: &str) -> String {
        let mut psql = Command::new(program("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url(database), "-c", sql]);
        let output = psql.output().expect("psql runs");
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    fn command(&self) -> Vec<String> {
        let postgres = unprivileged(&program("postgres"));
        let text = |part: &std::ffi::OsStr| part.to_string_lossy().into_owned();
        let mut command = vec![text(postgres.get_program())];
        command.extend(postgres.get_args().map(text));
        let data = self.folder.path().join("data").to_string_lossy().into_owned();
        // No socket file: the path of a temporary folder may be too long for one.
        command.extend(["-D", &data, "-h", "127.0.0.1", "-p", &self.port.to_string(), "-k", ""].map(String::from));
        let ours = ["fsync=off", "max_connections=200", "shared_buffers=32MB"];
        for setting in ours.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.extend(["-c".to_owned(), setting.to_owned()]);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(child) = &self.child {
            // Not by `kill -9`: its children would live a moment longer and write into a folder that goes away. One that
            // was stopped in its tracks must go on to end.
            for signal in ["CONT", "QUIT"] {
                let mut kill = Command::new("kill");
                let _ = kill.arg(format!("-{signal}")).arg(child.pid().to_string()).status();
            }
            let patience = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while child.runs() && std::time::Instant::now() < patience {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

/// Whether what listens on this port takes connections of PostgreSQL's, and says so within a second.
pub fn is_ready(port: u16) -> bool {
    let mut ask = Command::new(program("pg_isready"));
    ask.args(["-q", "-t", "1", "-h", "127.0.0.1", "-p", &port.to_string()]);
    ask.status().expect("pg_isready runs").success()
}

/// A program of PostgreSQL: on PATH, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let numbered = versions.filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version)));
    let mut debian: Vec<_> =
        numbered.map(|(number, version)| (number, version.path().join("bin").join(name))).collect();
    debian.sort();
    let newest_first = debian.into_iter().rev().map(|(_, file)| file);
    let found = on_path.chain(newest_first).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} of PostgreSQL is not installed: `make setup` installs it"))
}

/// PostgreSQL refuses to run as root, as its pooler does: where the tests do, whom it runs as.
pub fn servant() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = |user: &str| {
        let line = passwd.lines().find(|line| line.starts_with(&format!("{user}:")))?;
        let mut numbers = line.split(':').skip(2).map_while(|number| number.parse().ok());
        Some((numbers.next()?, numbers.next()?))
    };
    root.then(|| entry("postgres").or_else(|| entry("nobody")).expect("a user that is not root"))
}

pub fn unprivileged(program: &Path) -> Command {
    match servant() {
        None => Command::new(program),
        Some((user, group)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
            command.arg("--").arg(program);
            command
        }
    }
}
