//! Several replicas over one Redis, which fails now and then.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::directory::testing::TempStore;
use crate::domain::RecordStatus;
use crate::real::wait::eventually;

/// A replica whose upkeep runs until it is dropped.
struct Replica {
    counters: Arc<RedisCounters>,
    books: Arc<TestBooks>,
    written: mpsc::UnboundedSender<(Vec<Record>, Vec<bool>)>,
    stop: CancellationToken,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Replica {
    fn start(settings: &RedisSettings) -> Replica {
        Replica::with(settings, |_| {})
    }

    fn with(settings: &RedisSettings, change: impl FnOnce(&mut RedisCounters)) -> Replica {
        let books = Arc::new(TestBooks::default());
        let mut counters = RedisCounters::new(books.clone(), settings).unwrap();
        change(&mut counters);
        let (counters, stop) = (Arc::new(counters), CancellationToken::new());
        let (written, hears) = mpsc::unbounded_channel();
        tokio::spawn(Arc::clone(&counters).run(hears, stop.clone()));
        Replica { counters, books, written, stop }
    }

    /// Admits, and loads from `books` what is not loaded.
    async fn admit(&self, hold: &Arc<Hold>, books: &dyn Books) -> Result<Verdict, CountersError> {
        loop {
            let terms = Terms { gateway: GATEWAY, meter_required: false };
            match self.counters.admit(hold.clone(), terms).await? {
                Verdict::Unseeded(missing) => {
                    for budget in missing {
                        self.counters.load(&budget, books).await?;
                    }
                }
                verdict => return Ok(verdict),
            }
        }
    }

    async fn admitted(&self, hold: &Arc<Hold>) {
        let verdict = self.admit(hold, &*self.books).await;
        assert!(matches!(verdict, Ok(Verdict::Admitted { .. })), "{verdict:?}");
    }

    async fn settle(&self, hold: &Arc<Hold>, cost: i64) -> Settled {
        let record = record(hold, 1, cost, Timestamp::now());
        self.counters.settle(hold, 1, record, false).await.unwrap()
    }
}

/// A hold of this moment.
fn now(number: u8) -> Make {
    hold(number)
}

fn hasty(url: String) -> RedisSettings {
    RedisSettings { timeout: Duration::from_millis(200), ..settings(url) }
}

#[tokio::test]
async fn what_one_replica_admits_counts_at_every_other() {
    let settings = settings(Redis::shared().url());
    let (one, other) = (Replica::start(&settings), Replica::start(&settings));
    one.admitted(&now(1).requests(1).done()).await;
    let refused = other.admit(&now(2).requests(1).done(), &*other.books).await.unwrap();
    assert!(matches!(refused, Verdict::Refused(_)), "{refused:?}");
    eventually("both replicas are seen", || async {
        let seen = one.counters.replicas.load(Ordering::Relaxed);
        if seen == 2 { Ok(()) } else { Err(format!("{seen}")) }
    })
    .await;
}

#[tokio::test]
async fn room_made_at_one_replica_wakes_who_waits_at_another() {
    let redis = Redis::start(&[]);
    let settings = settings(redis.url());
    let (one, other) = (Replica::start(&settings), Replica::start(&settings));
    eventually("both replicas listen", || async {
        let patterns = redis.command(&["PUBSUB", "NUMPAT"]);
        let clients = redis.command(&["CLIENT", "LIST", "TYPE", "PUBSUB"]);
        if clients.lines().count() == 2 { Ok(()) } else { Err(patterns) }
    })
    .await;
    let (first, second) = (now(1).in_flight(1).done(), now(2).in_flight(1).done());
    one.admitted(&first).await;
    let Ok(Verdict::Refused(refusal)) = other.admit(&second, &*other.books).await else { panic!("one slot") };
    let counters = other.counters.clone();
    let wait = tokio::spawn(async move {
        counters.wait_for_room(&counter("t", Kind::InFlight), refusal.epoch, Duration::from_secs(30)).await
    });
    one.settle(&first, 0).await;
    assert!(wait.await.unwrap());
    other.admitted(&second).await;
}

#[tokio::test]
async fn what_a_dead_replica_booked_is_booked_by_another_and_only_once() {
    let settings = settings(Redis::shared().url());
    let dead = Replica::start(&settings);
    let one = now(1).spend(10, 100).done();
    dead.admitted(&one).await;
    assert_eq!(dead.settle(&one, 7).await, Settled::Applied);
    drop(dead);
    let heir = Replica::with(&settings, |counters| counters.orphaned = Duration::from_millis(50));
    eventually("its record is found", || async {
        let found = heir.books.records.lock().clone();
        if found.is_empty() { Err("nothing yet") } else { Ok(found) }.map_err(String::from)
    })
    .await;
    let found = heir.books.records.lock().clone();
    assert_eq!((found.len(), found[0].id, found[0].cost), (1, one.id, Money::nanos(7)));
    heir.written.send((found.clone(), vec![true])).unwrap();
    let stream = format!("{}:{{0}}:books", settings.prefix);
    eventually("its entry is dropped", || async {
        let left = Redis::shared().command(&["XLEN", &stream]);
        if left == "0" { Ok(()) } else { Err(left) }
    })
    .await;
    assert_eq!(heir.counters.read(&counter("t", Kind::Spend)).await.unwrap(), Some((7, 0)), "still what it was");
}

#[tokio::test]
async fn what_was_booked_and_never_answered_is_found_by_the_replica_that_asked() {
    let settings = settings(Redis::shared().url());
    let asked = Replica::start(&settings);
    let one = now(1).spend(10, 100).done();
    asked.admitted(&one).await;
    assert_eq!(asked.settle(&one, 7).await, Settled::Applied);
    let name = asked.counters.remote.turns.replica.clone();
    drop(asked);
    // The same replica as it is when a master dies between booking a record and saying so: it lives, and asks again.
    let same = Replica::with(&settings, |counters| {
        Arc::get_mut(&mut counters.remote.turns).unwrap().replica = name;
        // Longer than it takes to tell that it lives.
        counters.orphaned = Duration::from_secs(2);
    });
    assert_eq!(same.settle(&one, 7).await, Settled::Duplicate);
    eventually("its record is found", || async {
        let found = same.books.records.lock().clone();
        if found.is_empty() { Err("nothing yet") } else { Ok(found) }.map_err(String::from)
    })
    .await;
    let found = same.books.records.lock().clone();
    assert_eq!((found.len(), found[0].id, found[0].cost), (1, one.id, Money::nanos(7)));
    assert_eq!(same.counters.read(&counter("t", Kind::Spend)).await.unwrap(), Some((7, 0)));
}

#[tokio::test]
async fn a_record_that_was_there_before_makes_its_budget_load_again() {
    let settings = settings(Redis::shared().url());
    let one = Replica::start(&settings);
    let hold = now(1).spend(10, 100).done();
    one.admitted(&hold).await;
    one.settle(&hold, 7).await;
    let records = one.books.records.lock().clone();
    one.written.send((records, vec![false])).unwrap();
    eventually("the budget is not loaded any more", || async {
        let standing = one.counters.read(&counter("t", Kind::Spend)).await.unwrap();
        if standing.is_none() { Ok(()) } else { Err(format!("{standing:?}")) }
    })
    .await;
    one.admitted(&now(2).spend(10, 100).done()).await;
    assert_eq!(one.counters.read(&counter("t", Kind::Spend)).await.unwrap(), Some((7, 10)));
}

#[tokio::test]
async fn while_redis_is_silent_rates_go_on_here_budgets_wait_and_all_of_it_is_told_after() {
    let redis = Redis::start(&[]);
    let one = Replica::start(&hasty(redis.url()));
    let paid = now(1).requests(3).spend(10, 100).done();
    one.admitted(&paid).await;
    redis.signal("STOP");
    let rated = |number| now(number).requests(3).in_flight(2).done();
    for number in [2, 3] {
        one.admitted(&rated(number)).await;
    }
    let over = one.admit(&rated(4), &*one.books).await.unwrap();
    assert!(matches!(over, Verdict::Refused(Refusal { never: false, .. })), "{over:?}");
    assert!(one.admit(&now(5).spend(1, 100).done(), &*one.books).await.is_err());
    assert!(one.counters.is_down());
    one.counters.start(&rated(2), GATEWAY, Progress::default()).await.unwrap();
    assert_eq!(one.settle(&rated(2), 0).await, Settled::Queued);
    assert_eq!(one.settle(&paid, 7).await, Settled::Queued);
    one.admitted(&rated(6)).await;
    redis.signal("CONT");
    eventually("all of it is told", || async {
        let left = one.counters.backlog();
        if left == 0 && !one.counters.is_down() { Ok(()) } else { Err(format!("{left} left")) }
    })
    .await;
    assert_eq!(one.counters.read(&counter("t", Kind::Requests)).await.unwrap(), Some((4, 0)), "1, 2, 3 and 6");
    assert_eq!(one.counters.read(&counter("t", Kind::InFlight)).await.unwrap(), Some((0, 2)), "3 and 6");
    assert_eq!(one.counters.read(&counter("t", Kind::Spend)).await.unwrap(), Some((7, 0)));
    let booked: Vec<_> = one.books.records.lock().iter().map(|record| (record.id, record.cost.as_nanos())).collect();
    assert_eq!(booked, [(rated(2).id, 0), (paid.id, 7)]);
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_loads_what_was_spent_and_books_what_was_in_flight() {
    let mut redis = Redis::start(&[]);
    let one = Replica::start(&hasty(redis.url()));
    let (before, running) = (now(1).spend(10, 100).done(), now(2).spend(10, 100).done());
    one.admitted(&before).await;
    one.settle(&before, 7).await;
    one.admitted(&running).await;
    redis.stop();
    assert_eq!(one.settle(&running, 9).await, Settled::Queued);
    redis.run();
    redis.wait();
    eventually("all of it is told", || async {
        let left = one.counters.backlog();
        if left == 0 && !one.counters.is_down() { Ok(()) } else { Err(format!("{left} left")) }
    })
    .await;
    one.admitted(&now(3).spend(10, 100).done()).await;
    assert_eq!(one.counters.read(&counter("t", Kind::Spend)).await.unwrap(), Some((16, 10)));
    let statuses: Vec<_> = one.books.records.lock().iter().map(|record| record.status).collect();
    assert_eq!(statuses, [RecordStatus::Usage; 2]);
}

#[tokio::test]
async fn a_redis_that_comes_back_older_than_it_was_loads_what_was_spent() {
    let mut redis = Redis::start(&[]);
    let one = Replica::start(&hasty(redis.url()));
    let spend = async |number, cost| {
        let hold = now(number).spend(10, 200).done();
        one.admitted(&hold).await;
        one.settle(&hold, cost).await;
    };
    spend(1, 10).await;
    assert_eq!(redis.command(&["SAVE"]), "OK");
    spend(2, 90).await;
    redis.stop();
    redis.run();
    redis.wait();
    assert_ne!(redis.command(&["DBSIZE"]), "0", "it remembers");
    eventually("it answers again", || async { one.counters.holds().await.map_err(|error| error.to_string()) }).await;
    one.admitted(&now(3).spend(10, 200).done()).await;
    assert_eq!(one.counters.read(&counter("t", Kind::Spend)).await.unwrap(), Some((100, 10)));
}

#[tokio::test]
async fn a_hold_that_its_shards_end_apart_is_counted_in_both_as_it_is_booked() {
    let clock = Arc::new(TestClock::new());
    let books = Arc::new(TestBooks::default());
    let settings = settings(Cluster::shared().url());
    let counters = RedisCounters::with_clock(books.clone(), &settings, Some(clock.clone())).unwrap();
    let counters = Arc::new(counters);
    let (stop, (_written, hears)) = (CancellationToken::new(), mpsc::unbounded_channel());
    tokio::spawn(Arc::clone(&counters).run(hears, stop.clone()));
    let world =
        World { counters: counters.clone(), clock, books, max_holds: 300, max_waiting: 4, journals: false, cases: 1 };
    // Two budgets that lie in different shards; the home is the lower one.
    let shard = |name: &str| places::shard_of(&scope(name), settings.shards);
    let names: Vec<String> = (0..100).map(|number| format!("team-{number}")).collect();
    let home = names.iter().find(|name| shard(name) == 0).unwrap();
    let other = names.iter().find(|name| shard(name) == 1).unwrap();
    let (home, other) = (counter(home, Kind::Spend), counter(other, Kind::Spend));
    let both = |number| hold(number).on(home.clone(), 10, 100).on(other.clone(), 10, 100).done();
    world.admitted(&both(1)).await;
    let progress = Progress { input_tokens: 1, output_tokens: 2, cost: Money::nanos(7) };
    world.counters.start(&both(1), GATEWAY, progress).await.unwrap();
    // Redis is asked all the time; only this hold is not renewed.
    for _ in 0..11 {
        world.pass(4 * SECOND);
        world.counters.holds().await.unwrap();
    }
    world.pass(2 * SECOND);
    // The other shard is asked first, and ends the hold before it is booked.
    assert_eq!(world.counters.read(&other).await.unwrap(), None, "nobody knows yet what will be booked");
    let early = hold(2).on(other.clone(), 10, 100).done();
    world.admitted(&early).await;
    world.counters.holds().await.unwrap();
    assert_eq!(world.booked(), [(RecordStatus::Unsettled, 0, 7)]);
    eventually("it is loaded again", || async {
        let standing = counters.read(&other).await.unwrap();
        if standing.is_none() { Ok(()) } else { Err(format!("{standing:?}")) }
    })
    .await;
    world.admitted(&hold(3).on(other.clone(), 10, 100).done()).await;
    assert_eq!((world.read(&home).await, world.read(&other).await), ((7, 0), (7, 20)));
    stop.cancel();
}

#[tokio::test]
async fn what_one_shard_refuses_and_another_does_not_is_refused_and_charged_nowhere() {
    let world = world_at(Cluster::shared().url());
    let shard = |name: &str| places::shard_of(&scope(name), 8);
    let names: Vec<String> = (0..100).map(|number| format!("team-{number}")).collect();
    let [first, second] = [2, 5].map(|number| names.iter().find(|name| shard(name) == number).unwrap());
    for (number, (full, free)) in [(1, (first, second)), (3, (second, first))] {
        let [full, free] = [full, free].map(|name| counter(name, Kind::InFlight));
        let both = |number| hold(number).on(full.clone(), 1, 1).on(free.clone(), 1, 9).done();
        world.admitted(&both(number)).await;
        let refusal = world.refused(&both(number + 1)).await;
        assert_eq!((refusal.charge, refusal.held, refusal.may_be_released), (0, 1, true));
        assert_eq!((world.read(&full).await, world.read(&free).await), ((0, 1), (0, 1)));
        world.counters.release(both(number).id).await.unwrap();
    }
}

/// All at once, so that they travel in a few calls.
async fn together(world: &World, holds: &[Arc<Hold>]) -> Vec<Verdict> {
    let terms = Terms { gateway: GATEWAY, meter_required: false };
    let asking = holds.iter().map(|hold| world.counters.admit(hold.clone(), terms));
    futures_util::future::join_all(asking).await.into_iter().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_travels_together_is_judged_one_after_the_other() {
    let world = world_at(Redis::shared().url());
    let (key, team) = (counter("k", Kind::Tokens), counter("t", Kind::Requests));
    // Callers of two kinds, in turn, with amounts of their own; they share the second limit.
    let make = |number: u8| {
        let mine = if number.is_multiple_of(2) { key.clone() } else { counter("l", Kind::Tokens) };
        hold(number).on(mine, i64::from(number), 1_000).on(team.clone(), 1, 50).done()
    };
    let holds: Vec<Arc<Hold>> = (1..=60).map(make).collect();
    let verdicts = together(&world, &holds).await;
    let (mut even, mut odd, mut left) = (1_000, 1_000, 50);
    for (hold, verdict) in holds.iter().zip(verdicts) {
        let own = if hold.amounts[0] % 2 == 0 { &mut even } else { &mut odd };
        match verdict {
            Verdict::Admitted { remaining } => {
                (*own, left) = (*own - hold.amounts[0], left - 1);
                assert_eq!((remaining[0].remaining, remaining[1].remaining), (*own, left));
            }
            Verdict::Refused(refusal) => {
                let charge = if left == 0 { 1 } else { 0 };
                assert_eq!(refusal.charge, charge, "{refusal:?}");
                assert!(left == 0 || hold.amounts[0] > *own, "{refusal:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(left, 0);
    assert_eq!(world.read(&team).await, (50, 0));
}

#[tokio::test]
async fn a_hold_asked_for_twice_in_one_call_is_charged_once_and_given_back_whole() {
    let world = world_at(Redis::shared().url());
    let one = |number| hold(number).requests(9).in_flight(9).spend(10, 200).done();
    world.admitted(&one(1)).await;
    let verdicts = together(&world, &[one(2), one(2), one(3), one(2), one(1)]).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Admitted { .. })), "{verdicts:?}");
    assert_eq!(
        (world.read(&counter("t", Kind::InFlight)).await, world.counters.holds().await.unwrap()),
        ((0, 3), (3, 0))
    );
    // Given back and asked for again together, and then by itself.
    let again = [one(2), one(3)];
    let (released, verdicts) = tokio::join!(world.counters.release(one(2).id), together(&world, &again));
    assert_eq!((released.unwrap(), verdicts.len()), (crate::quota::counters::HoldState::Held, 2));
    assert_eq!(
        (world.read(&counter("t", Kind::InFlight)).await, world.counters.holds().await.unwrap()),
        ((0, 2), (2, 0))
    );
    assert_eq!(world.read(&counter("t", Kind::Spend)).await, (0, 20));
    world.pass(31 * SECOND);
    assert_eq!((world.counters.holds().await.unwrap(), world.booked().len()), ((0, 0), 2), "nothing is left open");
}

#[tokio::test]
async fn the_user_of_the_documentation_may_do_all_that_is_needed() {
    let redis = Redis::start(&[]);
    let page = include_str!("../../../../../docs/replicas.md");
    let line = page.lines().find(|line| line.starts_with("ACL SETUSER")).unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert_eq!(redis.command(&words), "OK");
    let settings = RedisSettings {
        url: Secret::new(redis.url().replace("redis://", "redis://tollward:PASSWORD@")),
        prefix: "tollward".to_owned(),
        ..settings(redis.url())
    };
    let one = Replica::with(&settings, |counters| counters.orphaned = Duration::from_millis(50));
    assert_eq!(one.counters.eviction_policy().await.unwrap(), "noeviction");
    let hold = now(1).requests(9).tokens(1, 9).in_flight(9).spend(10, 200).done();
    one.admitted(&hold).await;
    one.counters.start(&hold, GATEWAY, Progress::default()).await.unwrap();
    one.counters.renew(&[(hold.clone(), Progress::default())]).await.unwrap();
    assert_eq!(one.settle(&hold, 7).await, Settled::Applied);
    let records = one.books.records.lock().clone();
    one.written.send((records, vec![true])).unwrap();
    assert_eq!(one.counters.budgets().await.unwrap().len(), 1);
    eventually("it listens, and what was written is dropped", || async {
        let (left, heard) = (redis.command(&["XLEN", "tollward:{0}:books"]), redis.command(&["PUBSUB", "NUMPAT"]));
        if left == "0" && heard == "1" { Ok(()) } else { Err(format!("{left} left, {heard} patterns")) }
    })
    .await;
    one.counters.sweep().await;
    assert!(!one.counters.is_down());
}

#[tokio::test]
async fn a_replica_that_was_silent_hides_no_loss_from_the_others() {
    let redis = Redis::start(&[]);
    let settings = settings(redis.url());
    let ((busy, world), (silent, _)) = (world_of(&settings), world_of(&settings));
    world.admitted(&hold(1).spend(10, 100).done()).await;
    assert_eq!(silent.holds().await.unwrap(), (1, 0));
    let keys = ["clock", "c:s|total|team:t", "o"].map(|key| format!("{}:{{0}}:{key}", settings.prefix));
    let copy = |from: &str, to: &str| assert_eq!(redis.command(&["COPY", from, to, "REPLACE"]), "1", "{from}");
    keys.iter().for_each(|key| copy(key, &format!("saved:{key}")));
    world.settle(&hold(1).spend(10, 100).done(), 0, 30).await;
    // Redis comes back as it was before, and answers first the one that has not heard of the settlement.
    keys.iter().for_each(|key| copy(&format!("saved:{key}"), key));
    silent.holds().await.unwrap();
    assert_eq!(busy.read(&counter("t", Kind::Spend)).await.unwrap(), None, "it is loaded again");
}

#[tokio::test]
async fn what_is_told_too_late_for_any_window_takes_nothing_off_it() {
    let (counters, world) = world_of(&settings(Redis::shared().url()));
    world.admitted(&hold(1).tokens(500, 10_000).done()).await;
    let late = hold(2).tokens(4_000, 10_000).in_flight(5).done();
    let terms = Terms { gateway: GATEWAY, meter_required: false };
    counters.remote.admit(&late, terms, places::How::ChargeLate).await.unwrap();
    assert_eq!(world.settle(&late, 100, 0).await, Settled::Applied);
    assert_eq!(world.read(&counter("t", Kind::Tokens)).await, (0, 500));
    assert_eq!(world.read(&counter("t", Kind::InFlight)).await, (0, 0));
}

#[tokio::test]
async fn a_silence_of_redis_ends_no_stream_before_its_replica_could_renew_it() {
    let (counters, world) = world_of(&settings(Redis::shared().url()));
    let running = hold(1).spend(10, 100).done();
    world.admitted(&running).await;
    world.start(&running).await;
    let beat = || {
        let mut message = message::Writer::list(2);
        message.bytes("H").bytes("replica");
        counters.remote.ask(0, message.take())
    };
    beat().await.unwrap();
    // Nobody could tell it anything for longer than a stream lives unrenewed.
    world.pass(46 * SECOND);
    beat().await.unwrap();
    assert_eq!(counters.holds().await.unwrap(), (0, 1));
    counters.renew(&[(running.clone(), Progress { cost: Money::nanos(3), ..Progress::default() })]).await.unwrap();
    for _ in 0..7 {
        world.pass(4 * SECOND);
        beat().await.unwrap();
    }
    assert_eq!(world.settle(&running, 0, 10).await, Settled::Applied);
    // One that its replica does not renew ends all the same.
    let silent = hold(2).spend(10, 100).done();
    world.admitted(&silent).await;
    world.start(&silent).await;
    world.pass(46 * SECOND);
    for _ in 0..6 {
        beat().await.unwrap();
        world.pass(4 * SECOND);
    }
    assert_eq!(counters.holds().await.unwrap(), (0, 0));
}

/// What this replica's ledger has pending, over a directory.
struct Pending {
    store: TempStore,
    pending: Arc<TestBooks>,
}

#[async_trait]
impl Unwritten for Pending {
    fn pending_on(&self, account: &Account) -> Vec<(HoldId, u32, Money)> {
        let records = self.pending.records.lock();
        let here = records.iter().filter(|record| record.accounts.contains(account));
        here.map(|record| (record.id, record.sequence, record.cost)).collect()
    }

    async fn written(&self, account: &Account) -> Result<Money, CountersError> {
        Ok(self.store.store.spent(account).await.unwrap())
    }

    async fn has_written(&self, records: &[(HoldId, u32)]) -> Result<Vec<bool>, CountersError> {
        Ok(self.store.store.knows_records(records).await.unwrap())
    }
}

#[tokio::test]
async fn what_was_spent_counts_every_record_once_wherever_it_is() {
    let settings = settings(Redis::shared().url());
    let (one, other) = (Replica::start(&settings), Replica::start(&settings));
    let pending = Arc::new(Pending { store: TempStore::sqlite().await, pending: one.books.clone() });
    let books = SharedBooks { books: one.books.clone(), counters: one.counters.clone(), unwritten: pending.clone() };
    let account = account_of(&counter("t", Kind::Spend));
    let book = async |replica: &Replica, number: u8, cost: i64| {
        let hold = now(number).booked(&counter("t", Kind::Spend)).done();
        replica.admitted(&hold).await;
        replica.settle(&hold, cost).await;
    };
    // In one's ledger and the stream; in the stream alone; in the directory and the stream.
    book(&one, 1, 1).await;
    book(&other, 2, 20).await;
    book(&other, 3, 300).await;
    let third = other.books.records.lock()[1].clone();
    pending.store.store.write_records(&[third]).await.unwrap();
    assert_eq!(books.spent(&account).await.unwrap(), Money::nanos(321));
    for number in [1, 2, 3] {
        assert!(books.knows(now(number).done().id).await.unwrap());
    }
    assert!(!books.knows(now(4).done().id).await.unwrap());
}
