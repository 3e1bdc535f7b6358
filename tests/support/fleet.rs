//! Several replicas of Tollward behind one Envoy, over one directory in PostgreSQL and one Redis.

use serde_json::{Value, json};

use super::postgres::Postgres;
use super::stack::{Filters, MASTER, Options, Stack, merge};
use super::{eventually, unique};

pub struct Fleet {
    /// The first one's stack has the Envoy, which asks all in turn.
    pub replicas: Vec<Stack>,
}

impl Fleet {
    /// So many replicas over these servers. Counters have time to answer: a busy machine is no outage.
    pub fn start(size: usize, directory: &str, counters: &str, config: &Value) -> Fleet {
        Fleet::start_in(vec![Vec::new(); size], directory, counters, config)
    }

    /// One replica for each of these environments.
    pub fn start_in(
        environments: Vec<Vec<(String, String)>>,
        directory: &str,
        counters: &str,
        config: &Value,
    ) -> Fleet {
        let mut common = json!({
            "directory": {"url": directory},
            "counters": {"url": counters, "prefix": unique("fleet"), "timeout_ms": 2_000},
        });
        merge(&mut common, config);
        let options = |environment| Options { environment, ..Options::config(common.clone()) };
        Fleet::of(environments.into_iter().map(options).collect())
    }

    /// One replica for each of these; the first one's filters stand in Envoy.
    pub fn of(options: Vec<Options>) -> Fleet {
        let mut options = options.into_iter();
        let first = options.next().expect("a replica");
        // All at once, as a deployment does it: who comes first makes the tables.
        let others: Vec<Stack> = std::thread::scope(|scope| {
            let start = |options| scope.spawn(move || Stack::start(Options { filters: Filters::NoEnvoy, ..options }));
            let starting: Vec<_> = options.map(start).collect();
            starting.into_iter().map(|replica| replica.join().expect("a replica starts")).collect()
        });
        let peers = others.iter().map(|replica| replica.ports.grpc).collect();
        let mut replicas = vec![Stack::start(Options { peers, ..first })];
        replicas.extend(others);
        Fleet { replicas }
    }

    /// The replica whose stack has the Envoy and the upstream.
    pub fn front(&self) -> &Stack {
        &self.replicas[0]
    }

    /// Waits until the books are closed: every replica has written all it booked, finds that entities, records and
    /// counters agree, and counts so many records; the command line finds the same.
    pub async fn wait_books(&self, records: u64) {
        for replica in &self.replicas {
            replica.wait_books(records).await;
        }
        let proof = self.front().verify_ledger();
        assert_eq!((&proof["records"], &proof["pending"]), (&json!(records), &json!(0)), "{proof}");
    }
}

impl Stack {
    /// Waits until this replica has written all it booked, finds no difference and counts so many records.
    pub async fn wait_books(&self, records: u64) {
        eventually(&format!("there are {records} records and no difference"), || async {
            let (status, proof) = self.manage_as(MASTER, "GET", "/ledger/verify", None).await;
            let closed = status == 200
                && proof["differences"] == json!([])
                && proof["pending"] == 0
                && proof["records"] == records;
            if closed { Ok(()) } else { Err(proof.to_string()) }
        })
        .await;
    }
}

/// The name in the URL of a database.
pub fn name_of(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or_default()
}

/// Records in the ledger, by status: `usage 12`, a line each.
pub fn records_by_status(postgres: &Postgres, url: &str) -> String {
    let sql = "SELECT status || ' ' || count(*) FROM ledger GROUP BY status ORDER BY status";
    postgres.execute(name_of(url), sql)
}
