//! A real PgBouncer in transaction mode before a PostgreSQL: each transaction may find itself on another connection.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::child::Child;
use super::folder::Folder;
use super::port;
use super::postgres::{self, Postgres};
use super::wait::eventually_blocking;

/// One pooler; it ends with the test process, or when it is dropped.
pub struct PgBouncer {
    // Before its folder: fields are dropped in this order.
    child: Child,
    port: u16,
    _folder: Folder,
}

impl PgBouncer {
    /// The one before [`Postgres::shared`].
    pub fn shared() -> &'static PgBouncer {
        static SHARED: OnceLock<PgBouncer> = OnceLock::new();
        SHARED.get_or_init(|| PgBouncer::before(Postgres::shared()))
    }

    /// Starts one before this server.
    pub fn before(server: &Postgres) -> PgBouncer {
        // Another process may take a port between the moment it was free and this one's start.
        for _ in 0..5 {
            if let Some(started) = PgBouncer::try_start(server, port::free()) {
                return started;
            }
        }
        panic!("pgbouncer finds its port in use again and again");
    }

    /// None where it ended at once because its port is taken.
    fn try_start(server: &Postgres, port: u16) -> Option<PgBouncer> {
        let folder = Folder::new();
        let settings = folder.path().join("pgbouncer.ini");
        std::fs::write(&settings, ini(server.port(), port)).expect("the settings are written");
        if let Some((user, group)) = postgres::servant() {
            for path in [folder.path(), &settings] {
                chown(path, Some(user), Some(group)).expect("it changes hands");
            }
        }
        let command = postgres::unprivileged(&program());
        let mut arguments: Vec<String> =
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect();
        arguments.push(settings.to_string_lossy().into_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let log = folder.path().join("log");
        let child = Child::start("pgbouncer", Path::new(command.get_program()), &arguments, &[], log);
        let came_up = eventually_blocking("pgbouncer answers", || {
            let log = child.log();
            if !child.runs() {
                assert!(log.contains("in use"), "pgbouncer ended: {log}");
                return Ok(false);
            }
            if log.contains("process up") && postgres::is_ready(port) { Ok(true) } else { Err(log) }
        });
        came_up.then_some(PgBouncer { child, port, _folder: folder })
    }

    /// The way through it to a database that [`Postgres::database`] made.
    pub fn url(&self, database_url: &str) -> String {
        assert!(self.child.runs(), "pgbouncer ended: {}", self.child.log());
        let (_, database) = database_url.rsplit_once('/').expect("a database");
        format!("postgres://tollward@127.0.0.1:{}/{database}", self.port)
    }
}

/// Connections of the server are taken in turns, so that hardly two transactions find the same, and go when they are idle.
fn ini(server: u16, port: u16) -> String {
    format!(
        "[databases]\n* = host=127.0.0.1 port={server} user=tollward\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\nserver_round_robin = 1\n\
         default_pool_size = 4\nmax_client_conn = 2000\nserver_idle_timeout = 2\nautodb_idle_timeout = 2\n"
    )
}

/// On PATH, or where Debian puts it.
fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let found = folders.map(|folder| folder.join("pgbouncer")).find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("pgbouncer is not installed: `make setup` installs it"))
}
