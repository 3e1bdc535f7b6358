//! Changes reach every replica in time, also while the listening connection is cut, silent, or the server hangs.

use super::*;

/// A proxy before the server that can fall silent: connections stay open, and nothing passes any more.
struct Proxy {
    address: SocketAddr,
    silent: watch::Sender<bool>,
    _accepting: AbortOnDropHandle<()>,
}

impl Proxy {
    async fn before(port: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (silent, hears) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            let mut passing = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut hears = hears.clone();
                passing.spawn(async move {
                    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    let falls_silent = async { hears.wait_for(|silent| *silent).await.map(drop) };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = falls_silent => std::future::pending().await,
                    }
                });
            }
        });
        Proxy { address, silent, _accepting: AbortOnDropHandle::new(accepting) }
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://tollward@{}/{database}", self.address)
    }
}

/// A directory that is watched, as a replica has it.
pub(super) struct Replica {
    pub(super) directory: Arc<Directory>,
    cancel: CancellationToken,
    _watching: AbortOnDropHandle<()>,
}

impl Replica {
    pub(super) async fn start(url: &str, listen_url: Option<String>) -> Replica {
        let mut config = Config::default();
        config.directory.url = Some(Secret::new(url));
        config.directory.listen_url = listen_url.map(Secret::new);
        let directory = Directory::open(&config).await.unwrap();
        let cancel = CancellationToken::new();
        let watching = tokio::spawn(Arc::clone(&directory).watch(cancel.clone()));
        Replica { directory, cancel, _watching: AbortOnDropHandle::new(watching) }
    }

    /// Waits until it knows the key and reads nothing again: the notification of its creation has come.
    async fn knows(&self, key: &KeyHash) {
        let last = Mutex::new((None, 0));
        eventually("nothing is read again", || async {
            let found = self.directory.identity(key, now()).await.map_err(|error| error.to_string())?;
            let found = found.ok_or_else(|| "it is not there".to_owned())?;
            let mut last = last.lock();
            let same = last.0.as_ref().is_some_and(|last| Arc::ptr_eq(last, &found));
            *last = (Some(found), if same { last.1 + 1 } else { 0 });
            if last.1 == 10 { Ok(()) } else { Err(format!("the same {} times", last.1)) }
        })
        .await;
    }

    /// Whether it takes the key for blocked.
    async fn is_blocked(&self, key: &KeyHash) -> bool {
        let identity = self.directory.identity(key, now()).await.unwrap().unwrap();
        identity.key.as_ref().unwrap().blocked
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// How long after a key was blocked `other` still took it for good.
async fn delay(one: &Replica, other: &Replica, secret: &str, before: impl Future<Output = ()>) -> Duration {
    let key = key(secret);
    one.directory.store().create_key(&key, audit()).await.unwrap();
    eventually("the key is known and the watch alive", || async {
        match other.directory.identity(&key.token, now()).await {
            Ok(Some(_)) if other.directory.is_watched() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(!other.is_blocked(&key.token).await);
    before.await;
    one.directory.store().update_key(&Key { blocked: true, ..key.clone() }, audit()).await.unwrap();
    let written = Instant::now();
    // Where a load takes long, what it answers is as old as its beginning.
    loop {
        let asked = written.elapsed();
        if other.is_blocked(&key.token).await {
            return asked;
        }
        tokio::task::yield_now().await;
    }
}

const IN_TIME: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_key_is_refused_by_another_replica_within_100_ms() {
    let server = Postgres::shared();
    let url = server.database();
    let proxy = Proxy::before(server.port()).await;
    let one = Replica::start(&url, None).await;
    let (other, deaf) = (Replica::start(&url, None).await, Replica::start(&url, Some(proxy.url(name_of(&url)))).await);
    let mut times = InTime::default();
    for n in 0..10 {
        times.push(delay(&one, &other, &format!("sk-{n}"), async {}).await);
    }
    times.check();
    for n in 0..10 {
        // Its listening connection is cut just before.
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE application_name = 'tollward watch' AND datname = current_database()";
        // After some cuts it takes its time to come back.
        let cutting = eventually("a listening connection is cut", || {
            let cut = !server.execute(name_of(&url), cut).is_empty();
            std::future::ready(if cut { Ok(()) } else { Err("there is none".to_owned()) })
        });
        times.push(delay(&one, &other, &format!("sk-cut-{n}"), cutting).await);
    }
    times.check();
    for n in 0..10 {
        // Its listening connection falls silent, and later comes back.
        let falls_silent = async { proxy.silent.send_modify(|silent| *silent = true) };
        times.push(delay(&one, &deaf, &format!("sk-deaf-{n}"), falls_silent).await);
        proxy.silent.send_replace(false);
    }
    times.check();
}

/// How long each change took to be seen. A busy machine may hold up one of them; a replica that does not hear is late
/// every time.
#[derive(Default)]
struct InTime(Vec<Duration>);

impl InTime {
    fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// Most of them were in time.
    fn check(&mut self) {
        let times = std::mem::take(&mut self.0);
        let late = times.iter().filter(|took| **took >= IN_TIME).count();
        assert!(late * 2 < times.len(), "{times:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_path_asks_nothing_while_the_watch_is_alive() {
    let url = Postgres::shared().database();
    let replica = Replica::start(&url, None).await;
    replica.directory.store().create_key(&key("sk-a"), audit()).await.unwrap();
    replica.knows(&KeyHash::of("sk-a")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_hangs_what_is_known_is_used_without_waiting_for_it() {
    let server = Postgres::start(&[]);
    let replica = Replica::start(&server.database(), None).await;
    replica.directory.store().create_key(&key("sk-a"), audit()).await.unwrap();
    let hash = KeyHash::of("sk-a");
    replica.knows(&hash).await;
    server.signal_all("STOP");
    for _ in 0..20 {
        let began = Instant::now();
        assert!(replica.directory.identity(&hash, now()).await.unwrap().is_some());
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    let began = Instant::now();
    assert!(is_unavailable(&replica.directory.identity(&KeyHash::of("sk-stranger"), now()).await));
    assert!(began.elapsed() < super::super::CALL + SLACK);
    server.signal_all("CONT");
    eventually("strangers are strangers again", || async {
        match replica.directory.identity(&KeyHash::of("sk-stranger"), now()).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
