//! A real PostgreSQL on a free port in a temporary folder; databases are made in it by name.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::child::Child;
use super::port;
use super::wait::eventually_blocking;

/// One server; it ends with the test process, or when it is dropped.
pub struct Postgres {
    folder: tempfile::TempDir,
    port: u16,
    settings: Vec<String>,
    child: Option<Child>,
}

impl Postgres {
    /// The server that the tests of this process share. A test that hurts its server starts its own.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Postgres::start(&[]))
    }

    /// Starts a server of its own with these settings (`name=value`).
    pub fn start(settings: &[&str]) -> Postgres {
        let folder = tempfile::tempdir().expect("a folder");
        if let Some((user, group)) = servant() {
            chown(folder.path(), Some(user), Some(group)).expect("the folder changes hands");
        }
        let data = folder.path().join("data");
        let mut initdb = unprivileged(&program("initdb"));
        initdb.args(["--auth=trust", "--username=tollward", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let made = initdb.arg(&data).output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut server = Postgres { folder, port: port::free(), settings, child: None };
        server.run();
        server
    }

    /// Starts the process again after [`Postgres::stop`], over the same data.
    pub fn run(&mut self) {
        let command = self.command();
        let arguments: Vec<&str> = command.iter().skip(1).map(String::as_str).collect();
        let log = self.folder.path().join("log");
        let child = Child::start("postgres", Path::new(&command[0]), &arguments, &[], log);
        eventually_blocking("postgres answers", || {
            assert!(child.runs(), "postgres ended: {}", child.log());
            let ready = Command::new(program("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .map_err(|error| error.to_string())?;
            if ready.success() { Ok(()) } else { Err(child.log()) }
        });
        self.child = Some(child);
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
        let pid = self.child.as_ref().expect("it runs").pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(pid.to_string()).args(children.split_whitespace());
        let _ = kill.stderr(std::process::Stdio::null()).status();
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
        let sockets = self.folder.path().to_string_lossy().into_owned();
        command
            .extend(["-D", &data, "-h", "127.0.0.1", "-p", &self.port.to_string(), "-k", &sockets].map(String::from));
        let ours = ["fsync=off", "max_connections=200", "shared_buffers=32MB"];
        for setting in ours.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.extend(["-c".to_owned(), setting.to_owned()]);
        }
        command
    }
}

/// A program of PostgreSQL: on PATH, or where Debian puts it.
fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<_> = versions.map(|version| version.path().join("bin").join(name)).collect();
    debian.sort();
    let found = on_path.chain(debian.into_iter().rev()).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} of PostgreSQL is not installed: `make setup` installs it"))
}

/// PostgreSQL refuses to run as root: where the tests do, whom it runs as.
fn servant() -> Option<(u32, u32)> {
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

fn unprivileged(program: &Path) -> Command {
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
