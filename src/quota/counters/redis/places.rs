//! Where a binding's counters lie: the names of its counters as Redis has them, and the shards they are spread over. Worked
//! out once a binding.

use std::sync::atomic::{AtomicI64, Ordering};

use smallvec::SmallVec;

use super::message::{EXACT, Writer, split};
use super::turns::Message;
use crate::domain::{Account, Binding, CounterKey, Hold, Kind, Period, Scope, Window};
use crate::quota::token;

/// Seconds after which Redis is told again what it keeps for two hours.
const TOLD_EVERY: i64 = 1_200;

/// A binding that was not told yet, and one that was seen once.
const NEVER: i64 = i64::MIN;
const ONCE: i64 = 0;

/// The part of a binding that lies in one shard.
pub(super) struct Part {
    pub(super) shard: u32,
    /// For each of its lines, which limit of the binding it is.
    pub(super) limits: SmallVec<[usize; 12]>,
    /// Whether a token or money limit is among all of the binding's, wherever they lie.
    pub(super) needs_meter: bool,
    /// The name of what all its holds share, and when it was last told to Redis in full (seconds since 1970).
    binding: [u8; 16],
    told_at: AtomicI64,
    /// What they share: the lines as the script judges them, the names of counters and accounts, and what the binding's
    /// tokens begin with, where this is the home.
    shared: Box<[u8]>,
    /// How many values say what its lines stand at.
    standings: usize,
    /// The names of its counters, `''` where a line before has the same.
    pub(super) counters: Box<[u8]>,
    pub(super) accounts: Box<[u8]>,
}

/// See the module. The first part is the home of the hold: there its record is booked.
pub(super) struct Places {
    shards: u32,
    pub(super) parts: SmallVec<[Part; 1]>,
}

/// The name of a counter. The first letter is its kind; the rest is unambiguous, since a period's id has no bar.
pub(super) fn name(key: &CounterKey) -> String {
    match (&key.window, key.kind) {
        (Window::Period(period), Kind::Spend) => budget_name(&key.scope, period),
        (_, Kind::Requests) => format!("r|{}", key.scope),
        (_, Kind::Tokens) => format!("t|{}", key.scope),
        (_, Kind::InFlight) => format!("f|{}", key.scope),
        (_, Kind::Spend) => budget_name(&key.scope, &Period::total()),
    }
}

pub(super) fn account_name(account: &Account) -> String {
    budget_name(&account.scope, &account.period)
}

fn budget_name(scope: &Scope, period: &Period) -> String {
    format!("s|{}|{scope}", period.id)
}

/// The scope and the id of the period in the name of a budget.
pub(super) fn budget_of(name: &str) -> Option<(Scope, &str)> {
    let (period, scope) = name.strip_prefix("s|")?.split_once('|')?;
    Some((Scope::parse(scope)?, period))
}

/// The shard of a scope: by its first name, so that a team lies with its members and models, and a scope lies in the
/// same place for ever, whoever asks.
pub(super) fn shard_of(scope: &Scope, shards: u32) -> u32 {
    if shards <= 1 {
        return 0;
    }
    let text = scope.as_str();
    let mut names = text.split(':');
    let (kind, first) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    let root = match kind {
        "team_member" | "model_per_team" | "model_per_team_member" => "team",
        "model_per_key" | "tag_per_key" => "key",
        "model_per_organization" => "organization",
        "model_per_project" => "project",
        "model_per_user" => "user",
        "model_per_end_user" => "end_user",
        other => other,
    };
    // FNV-1a: the same on every replica of every version.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in root.bytes().chain([b':']).chain(first.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    // Short names leave its upper half alone; this spreads it.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    ((hash >> 33) % u64::from(shards)) as u32
}

/// The beginning of its SHA-256.
fn named(shared: &[u8]) -> [u8; 16] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, shared);
    let mut name = [0; 16];
    name.copy_from_slice(&digest.as_ref()[..16]);
    name
}

/// A limit that a double can hold.
fn bounded(amount: i64) -> i64 {
    amount.clamp(-EXACT, EXACT)
}

impl Places {
    pub(super) fn of(binding: &Binding, shards: u32) -> Places {
        let mut order: SmallVec<[u32; 8]> = SmallVec::new();
        let limits = binding.limits();
        let of_limit = |limit: &crate::domain::Limit| shard_of(&limit.counter.scope, shards);
        let of_account = |account: &Account| shard_of(&account.scope, shards);
        order.extend(limits.iter().map(of_limit).chain(binding.accounts.iter().map(of_account)));
        order.sort_unstable();
        order.dedup();
        if order.is_empty() {
            order.push(0);
        }
        let needs_meter = limits.iter().any(|limit| matches!(limit.counter.kind, Kind::Tokens | Kind::Spend));
        let home = order[0];
        let part = |shard: u32| {
            let here: SmallVec<[usize; 12]> = (0..limits.len()).filter(|at| of_limit(&limits[*at]) == shard).collect();
            let (mut lines, mut names) = (Writer::default(), Writer::list(here.len()));
            for at in &here {
                let (limit, repeated) = (&limits[*at], binding.is_repeated(*at));
                let name = name(&limit.counter);
                let (hi, lo) =
                    if limit.counter.kind == Kind::Spend { split(limit.limit) } else { (0, bounded(limit.limit)) };
                lines.bytes(&name).int(hi).int(lo);
                match limit.soft_limit {
                    Some(soft) => lines.money(soft),
                    None => lines.bool(false).int(0),
                };
                match &limit.counter.window {
                    Window::Period(period) if limit.counter.kind == Kind::Spend && !period.is_total() => {
                        lines.int(period.start.as_millis()).int(period.end.as_millis())
                    }
                    _ => lines.bool(false).bool(false),
                };
                lines.bool(repeated);
                names.bytes(if repeated { "" } else { &name });
            }
            let own: SmallVec<[&Account; 8]> =
                binding.accounts.iter().filter(|account| of_account(account) == shard).collect();
            let mut accounts = Writer::list(own.len());
            for account in own {
                accounts.bytes(account_name(account));
            }
            let (counters, accounts) = (names.take(), accounts.take());
            let mut shared = Writer::default();
            shared.bytes(lines.take()).raw(&counters).raw(&accounts);
            shared.bytes(if shard == home { token::binding_bytes(binding) } else { Vec::new() });
            let mut shared = shared.take();
            // A name has sixteen bytes, and nothing else has.
            if shared.len() == 16 {
                shared.push(0xc0);
            }
            let standing = |at: &usize| if matches!(limits[*at].counter.window, Window::Period(_)) { 4 } else { 2 };
            Part {
                shard,
                standings: here.iter().map(standing).sum(),
                limits: here,
                needs_meter,
                binding: named(&shared),
                told_at: AtomicI64::new(NEVER),
                shared: shared.into(),
                counters: counters.into(),
                accounts: accounts.into(),
            }
        };
        let parts = order.into_iter().map(part).collect();
        Places { shards, parts }
    }

    pub(super) fn shards(&self) -> u32 {
        self.shards
    }
}

impl Part {
    pub(super) fn is_home(&self, places: &Places) -> bool {
        places.parts.first().is_some_and(|home| home.shard == self.shard)
    }

    /// What a hold keeps of its amounts: of requests and tokens nothing where they are in no window.
    fn kept_amounts(&self, hold: &Hold, how: How, writer: &mut Writer) {
        for (at, amount) in self.limits.iter().map(|at| (*at, hold.amounts.get(*at).copied().unwrap_or_default())) {
            let kind = hold.binding.limits().get(at).map(|limit| limit.counter.kind);
            match kind {
                Some(Kind::Requests | Kind::Tokens) if how == How::ChargeLate => writer.bool(false),
                _ => writer.int(amount.clamp(0, EXACT)),
            };
        }
    }

    /// Amounts held under the lines of this part, one after the other.
    fn amounts(&self, hold: &Hold, writer: &mut Writer) {
        for at in &self.limits {
            writer.int(hold.amounts.get(*at).copied().unwrap_or_default().clamp(0, EXACT));
        }
    }

    /// The message that asks to admit. What the holds share is told now and then, and where the script asks for it.
    pub(super) fn admit(&self, places: &Places, hold: &Hold, terms: &Asked<'_>, in_full: bool) -> Message {
        let now = hold.admitted_at.as_millis() / 1_000;
        let told_at = self.told_at.load(Ordering::Relaxed);
        // A kind of hold that is seen once, as of an end user who never comes back, is kept with its hold alone.
        let alone = told_at == NEVER && !in_full;
        let in_full = in_full || (!alone && now - told_at > TOLD_EVERY);
        if alone {
            self.told_at.store(ONCE, Ordering::Relaxed);
        } else if in_full {
            self.told_at.store(now, Ordering::Relaxed);
        }
        let binding: &[u8] = if alone { &self.shared } else { &self.binding };
        let mut kept = Writer::with_capacity(384 + binding.len());
        kept.array(6).bytes(terms.gateway).count(hold.input_tokens).count(hold.output_tokens);
        kept.int(hold.estimate.as_nanos().clamp(0, EXACT));
        self.kept_amounts(hold, terms.how, kept.array(self.limits.len()));
        kept.bytes(binding);
        let mut own = Vec::with_capacity(256);
        if self.is_home(places) {
            token::append_hold(hold, &mut own);
        }
        kept.bytes(own);
        let kept = kept.take();

        let mut head = Writer::with_capacity(64 + binding.len() + if in_full { self.shared.len() } else { 0 });
        head.array(7).bytes(terms.gateway).bool(terms.meter_required && self.needs_meter).int(terms.how as i64);
        head.count(terms.max_holds).bytes(binding).bytes(if in_full { &self.shared[..] } else { &[] });
        head.count(self.limits.len() as u64);
        let mut own = Writer::with_capacity(kept.len() + 32 + 9 * self.limits.len());
        own.bytes(hold.id.as_bytes()).bytes(kept);
        self.amounts(hold, &mut own);
        Message::Admission { head: head.take(), own: own.take(), standings: self.standings }
    }

    /// What a settlement needs where the counters no longer have the hold: counters, amounts, accounts.
    pub(super) fn in_full(&self, hold: &Hold, writer: &mut Writer) {
        writer.raw(&self.counters);
        self.amounts(hold, writer.array(self.limits.len()));
        writer.raw(&self.accounts);
    }
}

/// What is to be done with an admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Judge, then charge everything or nothing.
    Both = 0,
    Judge = 1,
    /// It took place: charge whatever the limits say.
    Charge = 2,
    /// The same, more than a minute ago: windows are past it.
    ChargeLate = 3,
}

/// How an admission is asked for.
pub(super) struct Asked<'a> {
    pub(super) gateway: &'a str,
    pub(super) meter_required: bool,
    pub(super) how: How,
    pub(super) max_holds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ScopeKind;

    #[test]
    fn what_belongs_together_lies_together_and_everything_lies_somewhere() {
        let team = shard_of(&Scope::new(ScopeKind::Team, &["red"]), 64);
        assert_eq!(shard_of(&Scope::new(ScopeKind::Member, &["red", "ann"]), 64), team);
        assert_eq!(shard_of(&Scope::new(ScopeKind::ModelPerTeam, &["red", "gpt-4o"]), 64), team);
        let spread: std::collections::HashSet<_> =
            (0..1_000).map(|n| shard_of(&Scope::new(ScopeKind::User, &[&n.to_string()]), 64)).collect();
        assert_eq!(spread.len(), 64);
        assert_eq!(shard_of(&Scope::global(), 1), 0);
    }

    #[test]
    fn the_name_of_a_budget_tells_its_scope() {
        let scope = Scope::new(ScopeKind::Tag, &["a|b"]);
        let account = Account { scope: scope.clone(), period: Period::total() };
        let name = account_name(&account);
        assert_eq!(budget_of(&name), Some((scope, &*Period::total().id)));
    }
}
