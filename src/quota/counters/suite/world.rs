//! A world to test counters in: a clock that obeys, books that remember, holds made in a line.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::domain::{
    Account, Amount, Amounts, Api, Binding, CounterKey, Hold, HoldId, Kind, Limit, Money, Parties, Period, Progress,
    Record, RecordStatus, Scope, ScopeKind, Timestamp, Usage, Window,
};
use crate::quota::counters::clock::Clock;
use crate::quota::counters::{
    Books, Counters, CountersError, RecordName, Refusal, Remaining, Settled, Sum, Terms, Unseeded, Verdict,
};

/// A round moment: the start of a bucket, an hour and a day.
pub(crate) const START: i64 = 1_800_057_600_000;
pub(crate) const SECOND: i64 = 1_000;
pub(crate) const GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const OTHER_GATEWAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn new() -> Self {
        TestClock(AtomicI64::new(START))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::millis(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
pub(crate) struct TestBooks {
    pub(crate) records: Mutex<Vec<Record>>,
    pub(crate) started: Mutex<Vec<HoldId>>,
    pub(crate) progressed: Mutex<Vec<(HoldId, Progress)>>,
}

#[async_trait]
impl Books for TestBooks {
    fn book(&self, record: Record) {
        self.records.lock().push(record);
    }
    fn started(&self, hold: &Arc<Hold>, _: Progress) {
        self.started.lock().push(hold.id);
    }
    fn progressed(&self, running: &[(HoldId, Progress)]) {
        self.progressed.lock().extend_from_slice(running);
    }
    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        let records = self.records.lock();
        Ok(records.iter().filter(|record| record.accounts.contains(account)).map(|record| record.cost).sum())
    }
    async fn sum(&self, account: &Account) -> Result<Sum, CountersError> {
        let counted = self.records.lock().iter().map(|record| (record.id, record.sequence)).collect();
        Ok(Sum { spent: self.spent(account).await?, counted, lately: Vec::new() })
    }
    async fn are_written(&self, records: &[RecordName]) -> Result<Vec<bool>, CountersError> {
        Ok(vec![false; records.len()])
    }
    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError> {
        Ok(self.records.lock().iter().any(|record| record.id == hold))
    }
}

/// The books of a world in which these holds are settled for 30 nano-dollars while the books are read: one before it and one
/// after it, each time.
pub(crate) struct BusyBooks<'w> {
    pub(crate) world: &'w World,
    pub(crate) before: Mutex<Vec<Arc<Hold>>>,
    pub(crate) after: Mutex<Vec<Arc<Hold>>>,
}

impl BusyBooks<'_> {
    async fn settle_one(&self, holds: &Mutex<Vec<Arc<Hold>>>) {
        let hold = holds.lock().pop();
        if let Some(hold) = hold {
            self.world.settle(&hold, 0, 30).await;
        }
    }
}

#[async_trait]
impl Books for BusyBooks<'_> {
    fn book(&self, _: Record) {}
    fn started(&self, _: &Arc<Hold>, _: Progress) {}
    fn progressed(&self, _: &[(HoldId, Progress)]) {}
    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        Ok(self.sum(account).await?.spent)
    }
    async fn sum(&self, account: &Account) -> Result<Sum, CountersError> {
        self.settle_one(&self.before).await;
        let sum = self.world.books.sum(account).await?;
        self.settle_one(&self.after).await;
        Ok(sum)
    }
    async fn are_written(&self, records: &[RecordName]) -> Result<Vec<bool>, CountersError> {
        self.world.books.are_written(records).await
    }
    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError> {
        self.world.books.knows(hold).await
    }
}

pub(crate) struct World {
    pub(crate) counters: Arc<dyn Counters>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) books: Arc<TestBooks>,
    /// How many holds may be open, and how many may wait.
    pub(crate) max_holds: usize,
    pub(crate) max_waiting: usize,
    /// Whether starts and renewals are told to the books, because what is in flight is lost with the counters.
    pub(crate) journals: bool,
    /// How many random cases there is time for.
    pub(crate) cases: u32,
}

impl World {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn pass(&self, millis: i64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    /// Admits as the quota does: loads budgets that are not loaded.
    pub(crate) async fn admit_from(&self, hold: &Arc<Hold>, gateway: IpAddr) -> Verdict {
        loop {
            let terms = Terms { gateway, meter_required: true };
            match self.counters.admit(hold.clone(), terms).await.unwrap() {
                Verdict::Unseeded(missing) => {
                    for budget in missing {
                        self.counters.load(&budget, &*self.books).await.unwrap();
                    }
                }
                verdict => return verdict,
            }
        }
    }

    /// The budget of this hold, which is not loaded.
    pub(crate) async fn missing(&self, hold: &Arc<Hold>) -> Unseeded {
        let terms = Terms { gateway: GATEWAY, meter_required: true };
        match self.counters.admit(hold.clone(), terms).await.unwrap() {
            Verdict::Unseeded(mut missing) if missing.len() == 1 => missing.remove(0),
            other => panic!("a budget that is not loaded expected, got {other:?}"),
        }
    }

    pub(crate) async fn admit(&self, hold: &Arc<Hold>) -> Verdict {
        self.admit_from(hold, GATEWAY).await
    }

    pub(crate) async fn admitted(&self, hold: &Arc<Hold>) -> Vec<Remaining> {
        match self.admit(hold).await {
            Verdict::Admitted { remaining } => remaining,
            other => panic!("admitted expected, got {other:?}"),
        }
    }

    pub(crate) async fn refused(&self, hold: &Arc<Hold>) -> Refusal {
        match self.admit(hold).await {
            Verdict::Refused(refusal) => refusal,
            other => panic!("refused expected, got {other:?}"),
        }
    }

    pub(crate) async fn start(&self, hold: &Arc<Hold>) -> crate::quota::counters::HoldState {
        self.counters.start(hold, GATEWAY, Progress::default()).await.unwrap()
    }

    pub(crate) async fn settle(&self, hold: &Arc<Hold>, tokens: Amount, cost: i64) -> Settled {
        self.counters.settle(hold, tokens, record(hold, tokens, cost, self.now()), false).await.unwrap()
    }

    /// Spent, then held.
    pub(crate) async fn read(&self, counter: &CounterKey) -> (Amount, Amount) {
        self.counters.read(counter).await.unwrap().unwrap()
    }

    /// Status, sequence and cost of all that is booked.
    pub(crate) fn booked(&self) -> Vec<(RecordStatus, u32, i64)> {
        let line = |record: &Record| (record.status, record.sequence, record.cost.as_nanos());
        self.books.records.lock().iter().map(line).collect()
    }
}

pub(crate) fn account_of(counter: &CounterKey) -> Account {
    let Window::Period(period) = &counter.window else { panic!("{counter:?} is no budget") };
    Account { scope: counter.scope.clone(), period: period.clone() }
}

pub(crate) fn record(hold: &Hold, tokens: Amount, cost: i64, now: Timestamp) -> Record {
    Record {
        id: hold.id,
        sequence: 0,
        status: RecordStatus::Usage,
        admitted_at: hold.admitted_at,
        settled_at: now,
        parties: Parties::default(),
        model: hold.binding.model.clone(),
        usage: Usage { output_tokens: tokens.unsigned_abs(), ..Usage::default() },
        cost: Money::nanos(cost),
        price_version: hold.price_version.clone(),
        estimated: false,
        accounts: hold.binding.accounts.clone(),
    }
}

pub(crate) fn scope(name: &str) -> Scope {
    Scope::new(ScopeKind::Team, &[name])
}

pub(crate) fn counter(name: &str, kind: Kind) -> CounterKey {
    let window = match kind {
        Kind::Requests | Kind::Tokens => Window::Minute,
        Kind::InFlight => Window::InFlight,
        Kind::Spend => Window::Period(Period::total()),
    };
    CounterKey { scope: scope(name), kind, window }
}

/// The day that begins at [`START`], or one after it.
pub(crate) fn day(number: i64) -> Period {
    let start = START + number * 86_400 * SECOND;
    Period {
        id: format!("1d@{start}").into(),
        start: Timestamp::millis(start),
        end: Timestamp::millis(start + 86_400 * SECOND),
    }
}

pub(crate) fn budget_of(name: &str, period: Period) -> CounterKey {
    CounterKey { scope: scope(name), kind: Kind::Spend, window: Window::Period(period) }
}

/// A hold in the making; each line adds a charge. The estimate is 7 nano-dollars.
#[derive(Clone)]
pub(crate) struct Make {
    hold: Hold,
    limits: Vec<Limit>,
    accounts: Vec<Account>,
}

pub(crate) fn hold(number: u8) -> Make {
    let hold = Hold {
        id: HoldId::new([number; 16]),
        admitted_at: Timestamp::millis(START),
        binding: Arc::default(),
        amounts: Amounts::new(),
        api: Api::OpenAiChat,
        priced_as: "model".into(),
        price_version: "1".into(),
        input_tokens: 3,
        input_characters: 12,
        output_tokens: 4,
        estimate: Money::nanos(7),
        bounded: true,
    };
    Make { hold, limits: Vec::new(), accounts: Vec::new() }
}

impl Make {
    pub(crate) fn on(mut self, counter: CounterKey, amount: Amount, limit: Amount) -> Self {
        if counter.kind == Kind::Spend {
            self = self.booked(&counter);
        }
        self.limits.push(Limit { counter, limit, soft_limit: None });
        self.hold.amounts.push(amount);
        self
    }

    /// Books to the account of a budget, whether it is charged or not.
    pub(crate) fn booked(mut self, budget: &CounterKey) -> Self {
        let account = account_of(budget);
        if !self.accounts.contains(&account) {
            self.accounts.push(account);
        }
        self
    }

    pub(crate) fn requests(self, limit: Amount) -> Self {
        self.on(counter("t", Kind::Requests), 1, limit)
    }

    pub(crate) fn tokens(self, amount: Amount, limit: Amount) -> Self {
        self.on(counter("t", Kind::Tokens), amount, limit)
    }

    pub(crate) fn in_flight(self, limit: Amount) -> Self {
        self.on(counter("t", Kind::InFlight), 1, limit)
    }

    pub(crate) fn spend(self, amount: Amount, limit: Amount) -> Self {
        self.on(counter("t", Kind::Spend), amount, limit)
    }

    pub(crate) fn soft(mut self, soft_limit: Amount) -> Self {
        if let Some(limit) = self.limits.last_mut() {
            limit.soft_limit = Some(Money::nanos(soft_limit));
        }
        self
    }

    pub(crate) fn numbered(mut self, number: u32) -> Self {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        self.hold.id = HoldId::new(id);
        self
    }

    pub(crate) fn done(self) -> Arc<Hold> {
        let binding = Binding::new(self.limits, self.accounts, Parties::default(), "model".into());
        Arc::new(Hold { binding: Arc::new(binding), ..self.hold })
    }
}
