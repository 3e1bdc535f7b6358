//! Redis beside the servers: a process of its own, and what a decision would cost that is one call of a script.

use std::cell::RefCell;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::LocalSet;

use super::load::Times;
use super::process::{Cores, Server, free_port};

/// The least a script can do.
pub const EMPTY: &str = "return 1";

/// A generic cell rate algorithm as it is usually written: one limit, the server's clock, three numbers back.
pub const GCRA: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = tonumber(redis.call('GET', KEYS[1]) or now)
if arrival < now then arrival = now end
local next = arrival + interval
if next - burst > now then
  return {0, 0, next - burst - now}
end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return {1, math.floor((burst - (next - now)) / interval), 0}
";

/// Keys the decisions are spread over.
const KEYS: usize = 10_000;

/// Starts Redis, which keeps nothing on disk.
pub async fn start(cores: &Cores) -> Server {
    let folder = TempDir::with_prefix("tollward-bench-redis-").expect("a folder");
    let port = free_port();
    let mut command: Command = cores.command_of_redis("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    command.arg(folder.path()).stdout(std::process::Stdio::null());
    let server = Server::new(command, port, Some(folder));
    server.wait_port().await;
    server
}

/// Asks for one decision after the other in each of `streams` tasks: one `EVALSHA` each.
pub async fn saturate(port: u16, script: &'static str, streams: usize, duration: Duration) -> Times {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).expect("an address");
    let connection = client.get_multiplexed_async_connection().await.expect("Redis answers");
    let script = redis::Script::new(script);
    let times = Rc::new(RefCell::new(Vec::new()));
    let start = Instant::now();
    let local = LocalSet::new();
    for stream in 0..streams {
        let (mut connection, script, times) = (connection.clone(), script.clone(), Rc::clone(&times));
        local.spawn_local(async move {
            let mut number = stream;
            while start.elapsed() < duration {
                let asked = Instant::now();
                number = (number * 31 + 17) % KEYS;
                let mut call = script.key(format!("limit:{number}"));
                let _: redis::Value =
                    call.arg(1).arg(60_000_000).invoke_async(&mut connection).await.expect("a decision");
                times.borrow_mut().push(asked.elapsed().as_secs_f64() * 1e6);
            }
        });
    }
    local.await;
    Times { micros: times.take(), elapsed: start.elapsed(), paused: Duration::ZERO, taken: Duration::ZERO }
}
