//! A process that cannot outlive the tests: a shell holds it and kills it when the pipe to the test process closes,
//! however that process ended.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::wait::eventually_blocking;

/// Starts `"$@"` with its output in `$LOG`, tells its process id, waits for the end of the pipe. With `$FILE_BLOCKS` its
/// files can grow to that many blocks of 512 bytes, as on a disk that is nearly full (signal 25 is SIGXFSZ).
const KEEPER: &str = r#"trap '' INT; if [ -n "$FILE_BLOCKS" ]; then trap '' 25; ulimit -f "$FILE_BLOCKS"; fi; "$@" >>"$LOG" 2>&1 & child=$!; echo "$child"; cat >/dev/null; kill -9 "$child" 2>/dev/null; wait"#;

pub struct Child {
    keeper: std::process::Child,
    pid: u32,
    name: String,
    log: PathBuf,
}

impl Child {
    pub fn start(
        name: &str,
        program: &Path,
        arguments: &[&str],
        environment: &[(String, String)],
        log: PathBuf,
    ) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(KEEPER).arg("sh").arg(program).args(arguments);
        command.env("LOG", &log).envs(environment.iter().map(|(name, value)| (name, value)));
        for inherited in ["DATABASE_URL", "REDIS_URL", "TOLLWARD_MASTER_KEY", "LITELLM_MASTER_KEY", "RUST_LOG"] {
            if environment.iter().all(|(name, _)| name != inherited) {
                command.env_remove(inherited);
            }
        }
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh starts");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("a pipe")).read_line(&mut line).expect("the process id");
        let pid = line.trim().parse().expect("the process id");
        Child { keeper, pid, name: name.to_owned(), log }
    }

    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it runs; a process that ended and was not yet collected does not.
    pub fn runs(&self) -> bool {
        // The state is the first letter behind the name, which is in parentheses.
        std::fs::read_to_string(format!("/proc/{}/stat", self.pid))
            .ok()
            .and_then(|stat| stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().to_owned()))
            .is_some_and(|rest| !rest.starts_with('Z') && !rest.starts_with('X'))
    }

    /// Waits until it answers 200 on `http://127.0.0.1:port path`.
    pub fn wait_ready(&self, port: u16, path: &str) {
        eventually_blocking(&format!("{} is ready", self.name), || {
            if !self.runs() {
                panic!("{} ended before it was ready; its log:\n{}", self.name, self.log());
            }
            match super::raw::get(port, path) {
                Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
                Ok(answer) => Err(format!("{answer}\nits log:\n{}", self.log())),
                Err(problem) => Err(format!("{problem}\nits log:\n{}", self.log())),
            }
        });
    }

    /// Sends a signal: `TERM`, `HUP`, `KILL`. After `STOP` it stands still when this returns.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status().expect("kill runs");
        assert!(sent.success(), "kill -{name} {}: {sent}", self.name);
        if name == "STOP" {
            eventually_blocking(&format!("{} stands still", self.name), || match self.state() {
                Some('T') => Ok(()),
                state => Err(format!("{state:?}")),
            });
        }
    }

    /// What the kernel says it does (proc(5)): `T` where a signal has stopped it.
    fn state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).ok()?;
        stat.rsplit_once(") ")?.1.chars().next()
    }

    /// Waits for its end.
    pub fn wait_end(&self) {
        eventually_blocking(&format!("{} ends", self.name), || if self.runs() { Err(self.log()) } else { Ok(()) });
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        if std::thread::panicking() {
            let log = self.log();
            let start = log.len().saturating_sub(4_000);
            let start = (start..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
            #[allow(clippy::print_stderr, reason = "what the server said tells why the test failed")]
            {
                eprintln!("--- end of the log of {}\n{}", self.name, &log[start..]);
            }
        }
    }
}
