//! The table of states as a plain model, and any interleaving, duplicate or reordering of messages checked against it.
//! Time passes in steps of whole buckets here, so that a window is simply a list of charges younger than a minute.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::world::*;
use crate::domain::{Amount, Hold, Kind, Money, Progress, RecordStatus};
use crate::quota::counters::{Books, HoldState, Settled, Verdict};

const HOLDS: u8 = 4;
const MINUTE: i64 = 60 * SECOND;
const REQUESTS: Amount = 3;
const TOKENS: Amount = 100;
const SLOTS: Amount = 2;
const BUDGET: Amount = 150;
const TOKENS_HELD: Amount = 40;
const MONEY_HELD: Amount = 50;
const ESTIMATE: Amount = 7;

fn make(number: u8) -> Arc<Hold> {
    hold(number).requests(REQUESTS).tokens(TOKENS_HELD, TOKENS).in_flight(SLOTS).spend(MONEY_HELD, BUDGET).done()
}

fn gateway(number: u8) -> IpAddr {
    if number.is_multiple_of(2) { GATEWAY } else { OTHER_GATEWAY }
}

#[derive(Clone, Debug)]
enum Step {
    Admit(u8),
    Start(u8),
    Renew(u8, Amount),
    Settle(u8, Amount, Amount, bool),
    Release(u8),
    Pass(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..HOLDS;
    prop_oneof![
        5 => number().prop_map(Step::Admit),
        3 => number().prop_map(Step::Start),
        2 => (number(), 0..70i64).prop_map(|(number, used)| Step::Renew(number, used)),
        4 => (number(), 0..90i64, 0..80i64, any::<bool>())
            .prop_map(|(number, tokens, cost, forgotten)| Step::Settle(number, tokens, cost, forgotten)),
        2 => number().prop_map(Step::Release),
        4 => prop_oneof![8 => 1..10i64, 1 => Just(120i64)].prop_map(|buckets| Step::Pass(buckets * 5 * SECOND)),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Absent,
    Held {
        until: i64,
    },
    Started {
        until: i64,
        used: Amount,
    },
    /// Known until then; what was booked and what tokens stayed charged, where it expired.
    Ended {
        state: HoldState,
        known_until: i64,
        booked: Option<(Amount, Amount)>,
    },
}

impl State {
    fn name(self) -> HoldState {
        match self {
            State::Absent => HoldState::Absent,
            State::Held { .. } => HoldState::Held,
            State::Started { .. } => HoldState::Started,
            State::Ended { state, .. } => state,
        }
    }

    fn until(self) -> Option<i64> {
        match self {
            State::Held { until } | State::Started { until, .. } => Some(until),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Line {
    number: u8,
    at: i64,
    amount: Amount,
    held: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    last_start: Option<i64>,
    last_probe: Option<i64>,
    dead: bool,
}

#[derive(Debug)]
struct Model {
    now: i64,
    holds: [State; HOLDS as usize],
    requests: Vec<Line>,
    tokens: Vec<Line>,
    meters: [Meter; 2],
    booked: Vec<(u8, RecordStatus, u32, Amount)>,
}

impl Model {
    fn new() -> Self {
        Model {
            now: START,
            holds: [State::Absent; HOLDS as usize],
            requests: Vec::new(),
            tokens: Vec::new(),
            meters: [Meter::default(); 2],
            booked: Vec::new(),
        }
    }

    fn state(&mut self, number: u8) -> &mut State {
        &mut self.holds[usize::from(number)]
    }

    fn meter(&mut self, number: u8) -> &mut Meter {
        &mut self.meters[usize::from(number % 2)]
    }

    fn open(&self) -> Amount {
        self.holds.iter().filter(|state| state.until().is_some()).count() as Amount
    }

    fn spent(&self) -> Amount {
        self.booked.iter().map(|(_, _, _, cost)| cost).sum()
    }

    fn standing(&self, lines: &[Line]) -> (Amount, Amount) {
        let live = || lines.iter().filter(|line| line.at + MINUTE > self.now);
        let held = live().filter(|line| line.held).map(|line| line.amount).sum();
        (live().map(|line| line.amount).sum::<Amount>() - held, held)
    }

    fn pass(&mut self, time: i64) {
        self.now += time;
        let mut due: Vec<(i64, u8)> = (0..HOLDS)
            .filter_map(|number| Some((self.state(number).until().filter(|until| *until <= self.now)?, number)))
            .collect();
        due.sort_unstable();
        for (until, number) in due {
            let (state, meter) = (*self.state(number), *self.meter(number));
            let booked = match state {
                State::Started { used, .. } => {
                    self.close(number, used, false);
                    self.booked.push((number, RecordStatus::Unsettled, 0, used));
                    Some((used, used))
                }
                _ if meter.last_start.is_some_and(|start| start + 30 * SECOND >= until) => {
                    self.close(number, 0, true);
                    None
                }
                _ => {
                    self.meter(number).dead = true;
                    self.close(number, TOKENS_HELD, false);
                    self.booked.push((number, RecordStatus::Unmetered, 0, ESTIMATE));
                    Some((ESTIMATE, TOKENS_HELD))
                }
            };
            self.end(number, HoldState::Expired, booked);
        }
        for state in &mut self.holds {
            if matches!(state, State::Ended { known_until, .. } if *known_until <= self.now) {
                *state = State::Absent;
            }
        }
    }

    fn end(&mut self, number: u8, to: HoldState, booked: Option<(Amount, Amount)>) {
        let now = self.now;
        let state = self.state(number);
        let known_until = match *state {
            State::Ended { known_until, .. } => known_until,
            _ => now + 600 * SECOND,
        };
        *state = State::Ended { state: to, known_until, booked };
    }

    fn close(&mut self, number: u8, used: Amount, given_back: bool) {
        if given_back {
            self.requests.retain(|line| line.number != number || !line.held);
        }
        for line in self.requests.iter_mut().chain(&mut self.tokens).filter(|line| line.number == number && line.held) {
            line.held = false;
            line.amount = line.amount.min(if line.amount == 1 { 1 } else { used });
        }
        self.charge_tokens(number, used - TOKENS_HELD);
    }

    fn charge_tokens(&mut self, number: u8, amount: Amount) {
        self.tokens.push(Line { number, at: self.now, amount: amount.max(0), held: false });
    }

    /// What an admission must answer: admitted, refused, or the meter is dead.
    fn admit(&mut self, number: u8) -> &'static str {
        let now = self.now;
        if *self.state(number) != State::Absent {
            return "admitted";
        }
        let meter = *self.meter(number);
        if meter.dead && meter.last_probe.is_some_and(|probe| now < probe + 5 * SECOND) {
            return "meter dead";
        }
        // The lines of requests are marked as held to find them again; they all count as spent.
        let sum = |(spent, held): (Amount, Amount)| spent + held;
        if sum(self.standing(&self.requests)) + 1 > REQUESTS
            || sum(self.standing(&self.tokens)) + TOKENS_HELD > TOKENS
            || self.open() + 1 > SLOTS
            || self.spent() + (self.open() + 1) * MONEY_HELD > BUDGET
        {
            return "refused";
        }
        if meter.dead {
            self.meter(number).last_probe = Some(now);
        }
        self.requests.push(Line { number, at: now, amount: 1, held: true });
        self.tokens.push(Line { number, at: now, amount: TOKENS_HELD, held: true });
        *self.state(number) = State::Held { until: now + 30 * SECOND };
        "admitted"
    }

    fn started(&mut self, number: u8) {
        let now = self.now;
        *self.meter(number) = Meter { last_start: Some(now), last_probe: None, dead: false };
    }

    fn start(&mut self, number: u8) -> HoldState {
        let found = self.state(number).name();
        self.started(number);
        self.run(number, 0);
        found
    }

    fn renew(&mut self, number: u8, used: Amount) {
        if matches!(self.state(number), State::Held { .. }) {
            self.started(number);
        }
        self.run(number, used);
    }

    fn run(&mut self, number: u8, now_used: Amount) {
        let until = self.now + 45 * SECOND;
        let state = self.state(number);
        match *state {
            State::Held { .. } => *state = State::Started { until, used: now_used },
            State::Started { used, .. } => *state = State::Started { until, used: used.max(now_used) },
            _ => {}
        }
    }

    fn settle(&mut self, number: u8, tokens: Amount, cost: Amount, forgotten: bool) -> Settled {
        let (sequence, cost, settled) = match *self.state(number) {
            State::Held { .. } | State::Started { .. } => {
                self.close(number, tokens, false);
                (0, cost, Settled::Applied)
            }
            State::Ended { state: HoldState::Settled, .. } => return Settled::Duplicate,
            State::Ended { booked: Some((before, counted)), .. } => {
                self.charge_tokens(number, tokens - counted);
                (1, cost - before, Settled::Corrected)
            }
            State::Ended { .. } => {
                self.requests.push(Line { number, at: self.now, amount: 1, held: false });
                self.charge_tokens(number, tokens);
                (0, cost, Settled::Applied)
            }
            State::Absent if forgotten => {
                self.charge_tokens(number, tokens - TOKENS_HELD);
                (0, cost, Settled::Applied)
            }
            State::Absent => return Settled::Forgotten,
        };
        self.booked.push((number, RecordStatus::Usage, sequence, cost));
        self.end(number, HoldState::Settled, None);
        settled
    }

    fn release(&mut self, number: u8) -> HoldState {
        let found = self.state(number).name();
        if found == HoldState::Held {
            self.close(number, 0, true);
            self.end(number, HoldState::Released, None);
        }
        found
    }
}

async fn take(step: &Step, world: &World, model: &mut Model) -> Result<(), TestCaseError> {
    let hold = |number: &u8| make(*number);
    match step {
        Step::Admit(number) => {
            let said = match world.admit_from(&hold(number), gateway(*number)).await {
                Verdict::Admitted { remaining } => {
                    prop_assert_eq!(remaining.len(), 4);
                    "admitted"
                }
                Verdict::Refused(_) => "refused",
                Verdict::MeterDead { .. } => "meter dead",
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(said, model.admit(*number));
        }
        Step::Start(number) => {
            let found = world.counters.start(&hold(number), gateway(*number), Progress::default()).await;
            prop_assert_eq!(found.unwrap(), model.start(*number));
        }
        Step::Renew(number, used) => {
            let progress = Progress { input_tokens: 0, output_tokens: used.unsigned_abs(), cost: Money::nanos(*used) };
            world.counters.renew(&[(hold(number), progress)]).await.unwrap();
            model.renew(*number, *used);
        }
        Step::Settle(number, tokens, cost, forgotten) => {
            let hold = hold(number);
            let record = record(&hold, *tokens, *cost, world.now());
            let settled = world.counters.settle(&hold, *tokens, record, *forgotten).await.unwrap();
            prop_assert_eq!(settled, model.settle(*number, *tokens, *cost, *forgotten));
        }
        Step::Release(number) => {
            prop_assert_eq!(world.counters.release(hold(number).id).await.unwrap(), model.release(*number));
        }
        Step::Pass(time) => {
            world.pass(*time);
            model.pass(*time);
        }
    }
    check(world, model).await
}

/// Counters, open holds and books are what the model says; what is spent is what is booked.
async fn check(world: &World, model: &Model) -> Result<(), TestCaseError> {
    let holds = world.counters.holds().await.unwrap();
    let started = model.holds.iter().filter(|state| matches!(state, State::Started { .. })).count() as u64;
    prop_assert_eq!(holds, (model.open() as u64 - started, started));
    let (spent, held) = model.standing(&model.requests);
    prop_assert_eq!(world.read(&counter("t", Kind::Requests)).await, (spent + held, 0));
    prop_assert_eq!(world.read(&counter("t", Kind::Tokens)).await, model.standing(&model.tokens));
    prop_assert_eq!(world.read(&counter("t", Kind::InFlight)).await, (0, model.open()));
    let budget = counter("t", Kind::Spend);
    if let Some(standing) = world.counters.read(&budget).await.unwrap() {
        prop_assert_eq!(standing, (model.spent(), model.open() * MONEY_HELD));
    } else {
        prop_assert_eq!(model.open(), 0);
    }
    prop_assert_eq!(world.books.spent(&account_of(&budget)).await.unwrap().as_nanos(), model.spent());
    let line = |record: &crate::domain::Record| {
        (record.id.as_bytes()[0], record.status, record.sequence, record.cost.as_nanos())
    };
    let mut booked: Vec<_> = world.books.records.lock().iter().map(line).collect();
    let mut expected = model.booked.clone();
    let order = |line: &(u8, RecordStatus, u32, Amount)| (line.0, line.1.as_str(), line.2, line.3);
    booked.sort_by_key(order);
    expected.sort_by_key(order);
    prop_assert_eq!(booked, expected);
    for (number, meter) in model.meters.iter().enumerate() {
        prop_assert_eq!(world.counters.meter_is_dead(gateway(number as u8), world.now()).await.unwrap(), meter.dead);
    }
    Ok(())
}

pub(crate) fn any_interleaving_does_what_the_table_says(make_world: impl Fn() -> World) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner =
        TestRunner::new(ProptestConfig { cases: make_world().cases, failure_persistence: None, ..Default::default() });
    let outcome = runner.run(&vec(step(), 1..80), |steps| {
        runtime.block_on(async {
            let (world, mut model) = (make_world(), Model::new());
            for step in &steps {
                take(step, &world, &mut model).await?;
            }
            // Whatever happened, every hold ends and nothing held remains.
            take(&Step::Pass(45 * SECOND), &world, &mut model).await?;
            prop_assert_eq!(world.counters.holds().await.unwrap(), (0, 0));
            prop_assert_eq!(world.read(&counter("t", Kind::Tokens)).await.1, 0);
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
