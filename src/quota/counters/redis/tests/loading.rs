//! Budgets that are loaded while they are spent from.

use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use super::*;
use crate::quota::counters::{RecordName, Sum, Unseeded};

fn budget() -> CounterKey {
    counter("t", Kind::Spend)
}

/// Running requests whose cost goes to the budget.
async fn running(world: &World, count: u32) -> Vec<Arc<Hold>> {
    let mut running = Vec::new();
    for number in 0..count {
        let one = hold(0).numbered(number).requests(10_000).booked(&budget()).done();
        world.admitted(&one).await;
        running.push(one);
    }
    running
}

async fn missing(world: &World) -> Unseeded {
    world.missing(&hold(200).spend(1, 10_000_000).done()).await
}

/// Books that say what they are made to say.
#[derive(Default)]
struct Says {
    spent: i64,
    /// What is booked, and not long ago.
    lately: Vec<RecordName>,
    /// Whether all that is not in the sum is durable, and how often that was asked.
    durable: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl Books for Says {
    fn book(&self, _: Record) {}
    fn started(&self, _: &Arc<Hold>, _: Progress) {}
    fn progressed(&self, _: &[(HoldId, Progress)]) {}
    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        Ok(self.sum(account).await?.spent)
    }
    async fn sum(&self, _: &Account) -> Result<Sum, CountersError> {
        let counted = self.lately.iter().copied().collect();
        Ok(Sum { spent: Money::nanos(self.spent), counted, lately: self.lately.clone() })
    }
    async fn are_written(&self, records: &[RecordName]) -> Result<Vec<bool>, CountersError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(vec![self.durable; records.len()])
    }
    async fn knows(&self, _: HoldId) -> Result<bool, CountersError> {
        Ok(true)
    }
}

#[tokio::test]
async fn a_budget_is_loaded_at_once_though_it_is_spent_from_all_the_time() {
    let world = world_at(Redis::shared().url());
    let mut running = running(&world, 20).await;
    let missing = missing(&world).await;
    for hold in running.split_off(16) {
        world.settle(&hold, 0, 30).await;
    }
    let after = Mutex::new(running.split_off(8));
    let books = BusyBooks { world: &world, before: Mutex::new(running), after };
    assert!(world.counters.load(&missing, &books).await.unwrap(), "the first time it is tried");
    assert_eq!(world.books.records.lock().len(), 6, "the books are read once");
    assert_eq!(world.read(&budget()).await, (6 * 30, 0));
    for hold in books.before.into_inner() {
        world.settle(&hold, 0, 30).await;
    }
    assert_eq!(world.read(&budget()).await, (13 * 30, 0));
}

#[tokio::test]
async fn what_was_noted_and_is_durable_is_in_a_second_sum() {
    let world = world_at(Redis::shared().url());
    let running = running(&world, 2).await;
    let missing = missing(&world).await;
    world.settle(&running[0], 0, 30).await;
    // It may have become durable before the first reading or after it. From the second on it is in it.
    let books = Says { spent: 30, durable: true, ..Says::default() };
    assert!(world.counters.load(&missing, &books).await.unwrap());
    assert_eq!((world.read(&budget()).await, books.asked.load(Ordering::Relaxed)), ((30, 0), 1));
    world.settle(&running[1], 0, 30).await;
    assert_eq!(world.read(&budget()).await, (60, 0));
}

#[tokio::test]
async fn the_holds_of_five_thousand_records_are_looked_for_and_no_more() {
    let world = world_at(Redis::shared().url());
    let missing = missing(&world).await;
    let lately = |count: u128| (0..count).map(|number| (HoldId::new(number.to_be_bytes()), 0)).collect();
    let too_many = Says { lately: lately(5_001), ..Says::default() };
    assert!(world.counters.load(&missing, &too_many).await.is_err());
    let books = Says { spent: 7, lately: lately(5_000), ..Says::default() };
    assert!(world.counters.load(&missing, &books).await.unwrap());
    assert_eq!(world.read(&budget()).await, (7, 0));
}

#[tokio::test]
async fn a_load_in_which_too_much_is_spent_begins_again() {
    let (counters, world) = world_of(&settings(Redis::shared().url()));
    let missing_once = missing(&world).await;
    let one = record(&hold(1).booked(&budget()).done(), 0, 3, world.now());
    let adjusting = (0..10_001).map(|sequence| counters.adjust(Record { sequence, ..one.clone() }));
    futures_util::future::try_join_all(adjusting).await.unwrap();
    assert!(!counters.load(&missing_once, &*world.books).await.unwrap());
    let missing_twice = missing(&world).await;
    assert_ne!(missing_once.generation, missing_twice.generation);
    assert!(counters.load(&missing_twice, &*world.books).await.unwrap());
    assert_eq!(world.read(&budget()).await, (30_003, 0));
}

#[tokio::test]
async fn what_was_noted_and_is_gone_is_read_from_the_books() {
    let settings = settings(Redis::shared().url());
    let (counters, world) = world_of(&settings);
    let running = running(&world, 2).await;
    let missing_once = missing(&world).await;
    world.settle(&running[0], 0, 30).await;
    let noted = format!("{}:{{0}}:n:{}", settings.prefix, missing_once.generation);
    assert_eq!(Redis::shared().command(&["DEL", &noted]), "1");
    assert!(!counters.load(&missing_once, &*world.books).await.unwrap());
    assert!(counters.load(&missing(&world).await, &*world.books).await.unwrap());
    assert_eq!(world.read(&budget()).await, (30, 0));
}

/// A request under the budgets of two shards, the budget that is not at its home, and that budget as one that is missing.
async fn across_shards(counters: &RedisCounters, world: &World) -> (Arc<Hold>, CounterKey, Unseeded) {
    let at = |number: usize| budget_of(&format!("team {number}"), crate::domain::Period::total());
    let shard = |counter: &CounterKey| places::shard_of(&counter.scope, 8);
    let (one, other) = (at(0), (1..).map(at).find(|other| shard(other) != shard(&at(0))).unwrap());
    let away = if shard(&one) > shard(&other) { one.clone() } else { other.clone() };
    let request = hold(1).on(one, 10, 1_000).on(other, 10, 1_000).done();
    world.admitted(&request).await;
    counters.reload(&[account_of(&away)]).await.unwrap();
    let missing = world.missing(&hold(2).on(away.clone(), 1, 1_000).done()).await;
    (request, away, missing)
}

#[tokio::test]
async fn a_record_on_its_way_to_another_shard_counts_there_once() {
    let (counters, world) = world_of(&settings(Cluster::shared().url()));
    let (request, away, missing) = across_shards(&counters, &world).await;
    let mut settling = counters.remote.settling(&request, 0, record(&request, 0, 30, world.now())).unwrap();
    let home = settling.at_home(false).await.unwrap();
    // Its home has booked it, and whoever reads the books finds it.
    let books = Says { spent: 30, lately: vec![(request.id, 0)], ..Says::default() };
    assert!(!counters.load(&missing, &books).await.unwrap(), "it is still to come");
    assert_eq!(settling.elsewhere(home).await.unwrap(), Settled::Applied);
    assert!(counters.load(&missing, &books).await.unwrap());
    assert_eq!(world.read(&away).await, (30, 0));
}

#[tokio::test]
async fn a_record_that_is_long_on_its_way_has_budgets_of_other_shards_loaded_again() {
    let (counters, world) = world_of(&settings(Cluster::shared().url()));
    let (request, away, missing) = across_shards(&counters, &world).await;
    let mut settling = counters.remote.settling(&request, 0, record(&request, 0, 30, world.now())).unwrap();
    let home = settling.at_home(false).await.unwrap();
    let books = Says { spent: 30, ..Says::default() };
    assert!(counters.load(&missing, &books).await.unwrap(), "it is booked long enough not to be waited for");
    world.pass(5 * SECOND + 1);
    settling.elsewhere(home).await.unwrap();
    assert_eq!(counters.read(&away).await.unwrap(), None, "it was counted, or not");
}

#[tokio::test]
async fn a_settlement_that_is_told_again_has_budgets_of_other_shards_loaded_again() {
    let (counters, world) = world_of(&settings(Cluster::shared().url()));
    let (request, away, missing) = across_shards(&counters, &world).await;
    let mut settling = counters.remote.settling(&request, 0, record(&request, 0, 30, world.now())).unwrap();
    // The other shard does not answer, and the record becomes durable.
    settling.at_home(false).await.unwrap();
    let books = Says { spent: 30, ..Says::default() };
    assert!(counters.load(&missing, &books).await.unwrap());
    assert_eq!(world.settle(&request, 0, 30).await, Settled::Duplicate);
    assert_eq!(counters.read(&away).await.unwrap(), None, "it may have been counted");
    let missing = world.missing(&hold(2).on(away.clone(), 1, 1_000).done()).await;
    assert!(counters.load(&missing, &books).await.unwrap());
    assert_eq!(world.read(&away).await, (30, 0));
}
