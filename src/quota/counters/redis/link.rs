//! Connections to Redis or Valkey: a single node, the master that Sentinel names, or a Cluster. What is sent is one
//! command with an end in time; a connection that failed is made anew for the next.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, Value};
use tokio::sync::Mutex;

use crate::domain::Secret;

/// The URL is none that is known here.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum AddressError {
    /// What follows the scheme may hold a password and is not repeated.
    #[error(
        "{0:?} where one of redis://, rediss://, redis+sentinel://HOST:PORT,…/MASTER, rediss+sentinel://, \
         redis+cluster://HOST:PORT,… or rediss+cluster:// is expected"
    )]
    Scheme(String),
    #[error("the address of Redis cannot be read: {0}")]
    Malformed(String),
}

/// Where the counters are.
pub(super) enum Target {
    Single(Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster { client: ClusterClient, nodes: Vec<Client> },
}

/// The parts of `scheme://user:password@host:port,host:port/rest`.
struct Parts<'u> {
    user: &'u str,
    hosts: Vec<&'u str>,
    rest: &'u str,
}

fn parts(url: &str) -> Result<Parts<'_>, AddressError> {
    let (place, rest) = url.split_once('/').unwrap_or((url, ""));
    let (user, hosts) = place.rsplit_once('@').unwrap_or(("", place));
    let hosts: Vec<&str> = hosts.split(',').filter(|host| !host.is_empty()).collect();
    if hosts.is_empty() {
        return Err(AddressError::Malformed("it names no host".to_owned()));
    }
    Ok(Parts { user, hosts, rest })
}

fn malformed(error: &RedisError) -> AddressError {
    AddressError::Malformed(error.category().to_owned())
}

impl Target {
    pub(super) fn new(url: &Secret) -> Result<Target, AddressError> {
        let url = url.expose();
        let (scheme, place) = url.split_once("://").unwrap_or((url, ""));
        let one = |scheme: &str, user: &str, host: &str, rest: &str| {
            let at = if user.is_empty() { "" } else { "@" };
            Client::open(format!("{scheme}://{user}{at}{host}/{rest}")).map_err(|error| malformed(&error))
        };
        match scheme {
            "redis" | "rediss" => Ok(Target::Single(Client::open(url).map_err(|error| malformed(&error))?)),
            "redis+sentinel" | "rediss+sentinel" => {
                let Parts { user, hosts, rest } = parts(place)?;
                let tls = scheme == "rediss+sentinel";
                let (master, database) = rest.split_once('/').unwrap_or((rest, "0"));
                if master.is_empty() {
                    let why = "it names no master, as in redis+sentinel://HOST:PORT/MASTER";
                    return Err(AddressError::Malformed(why.to_owned()));
                }
                let mut addresses = Vec::with_capacity(hosts.len());
                for host in hosts {
                    let client = one(if tls { "rediss" } else { "redis" }, "", host, "")?;
                    addresses.push(client.get_connection_info().addr().clone());
                }
                let builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master);
                let mut builder = builder.map_err(|error| malformed(&error))?;
                if let Ok(database) = database.parse() {
                    builder = builder.set_client_to_redis_db(database);
                }
                if let Some((name, password)) = user.split_once(':') {
                    // As every client reads it: percent-encoded.
                    let like = one("redis", &format!("{name}:{password}"), "localhost", "")?;
                    let known = like.get_connection_info().redis_settings();
                    if let Some(name) = known.username() {
                        builder = builder.set_client_to_redis_username(name);
                    }
                    if let Some(password) = known.password() {
                        builder = builder.set_client_to_redis_password(password);
                    }
                }
                if tls {
                    builder = builder.set_client_to_redis_tls_mode(redis::TlsMode::Secure);
                }
                let client = builder.build().map_err(|error| malformed(&error))?;
                Ok(Target::Sentinel(Mutex::new(client)))
            }
            "redis+cluster" | "rediss+cluster" => {
                let Parts { user, hosts, .. } = parts(place)?;
                let scheme = if scheme == "rediss+cluster" { "rediss" } else { "redis" };
                let nodes = hosts.into_iter().map(|host| one(scheme, user, host, "")).collect::<Result<Vec<_>, _>>()?;
                let infos = nodes.iter().map(|node| node.get_connection_info().clone());
                let client = ClusterClient::builder(infos)
                    .connection_timeout(CONNECT)
                    .response_timeout(ANSWER)
                    .retries(2)
                    .min_retry_wait(1)
                    .max_retry_wait(20)
                    .build();
                Ok(Target::Cluster { client: client.map_err(|error| malformed(&error))?, nodes })
            }
            other => Err(AddressError::Scheme(other.to_owned())),
        }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self, Target::Cluster { .. })
    }

    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        let config =
            || AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(ANSWER));
        let connecting = async {
            Ok(match self {
                Target::Single(client) => {
                    Connection::Node(client.get_multiplexed_async_connection_with_config(&config()).await?)
                }
                Target::Sentinel(client) => {
                    let mut client = client.lock().await;
                    Connection::Node(client.get_async_connection_with_config(&config()).await?)
                }
                Target::Cluster { client, .. } => Connection::Cluster(client.get_async_connection().await?),
            })
        };
        bounded(CONNECT_IN_ALL, connecting).await
    }

    /// A connection that hears what is published on any node.
    pub(super) async fn listen(&self) -> Result<PubSub, RedisError> {
        let connecting = async {
            match self {
                Target::Single(client) => client.get_async_pubsub().await,
                Target::Sentinel(client) => {
                    let client = client.lock().await.async_get_client().await?;
                    client.get_async_pubsub().await
                }
                Target::Cluster { nodes, .. } => {
                    let mut last = RedisError::from((ErrorKind::Io, "the cluster has no node"));
                    for node in nodes {
                        match bounded(CONNECT, node.get_async_pubsub()).await {
                            Ok(pubsub) => return Ok(pubsub),
                            Err(error) => last = error,
                        }
                    }
                    Err(last)
                }
            }
        };
        bounded(CONNECT_IN_ALL, connecting).await
    }
}

const CONNECT: Duration = Duration::from_millis(500);
const CONNECT_IN_ALL: Duration = Duration::from_secs(3);
/// Whoever asks gives up long before; this only ends what nobody waits for.
const ANSWER: Duration = Duration::from_secs(5);

async fn bounded<T>(bound: Duration, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    match tokio::time::timeout(bound, work).await {
        Ok(done) => done,
        Err(_) => Err(RedisError::from((ErrorKind::Io, "no connection in time"))),
    }
}

/// An open connection; copies share it.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    pub(super) async fn query(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        let answer = match self {
            Connection::Node(node) => node.req_packed_command(command).await,
            Connection::Cluster(cluster) => cluster.req_packed_command(command).await,
        };
        answer.and_then(|value| value.extract_error())
    }
}

/// Whether a new connection may do what this one could not.
pub(super) fn is_broken(error: &RedisError) -> bool {
    error.is_connection_dropped()
        || error.is_io_error()
        || error.is_timeout()
        || error.is_connection_refusal()
        || error.is_unrecoverable_error()
        || matches!(error.code(), Some("READONLY" | "MASTERDOWN" | "LOADING" | "CLUSTERDOWN"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_used_says_what_is_expected_and_never_what_it_holds() {
        for (url, says) in [
            ("memory://x", "where one of redis://"),
            ("redis+sentinel://:hunter2@a:1,b:2", "names no master"),
            ("redis+cluster:///", "names no host"),
            ("redis://:hunter2@host:port", "cannot be read"),
        ] {
            let Err(error) = Target::new(&Secret::new(url)) else { panic!("{url} is read") };
            let error = error.to_string();
            assert!(error.contains(says) && !error.contains("hunter2"), "{url}: {error}");
        }
        for url in
            ["redis://h", "rediss://u:p@h:1/3", "redis+sentinel://u:p@a:1,b:2/main", "rediss+cluster://:p@a:1,b:2"]
        {
            assert!(Target::new(&Secret::new(url)).is_ok(), "{url}");
        }
    }
}
