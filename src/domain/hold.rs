//! Holds: what an admitted request has reserved until its true cost is known.

use std::sync::Arc;

use smallvec::SmallVec;

use super::api::Api;
use super::charge::{Amount, Charge, Limit};
use super::ids::HoldId;
use super::memo::Memo;
use super::money::Money;
use super::record::{Account, Parties, Record, RecordStatus};
use super::time::Timestamp;
use super::usage::Usage;

/// What a request is bound by: the limits it is charged under and the accounts its cost is booked to. A caller who asks
/// the same again is bound by the same, so holds share it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Limits and budgets charged at admission.
    limits: Vec<Limit>,
    /// For each limit, whether one before it names the same counter.
    repeated: Vec<bool>,
    /// Accounts the settled cost is booked to: one total for each scope the caller has, and one for each budget period
    /// that is charged.
    pub accounts: Vec<Account>,
    pub parties: Parties,
    /// The model, as asked.
    pub model: Arc<str>,
    /// What the counters, the signer of tokens and the gate worked out, each for itself.
    pub(crate) seats: Memo,
    pub(crate) places: Memo,
    pub(crate) token: Memo,
    pub(crate) standing: Memo,
}

impl Binding {
    #[must_use]
    pub fn new(limits: Vec<Limit>, accounts: Vec<Account>, parties: Parties, model: Arc<str>) -> Self {
        let repeats = |at: usize| limits[..at].iter().any(|before| before.counter == limits[at].counter);
        let repeated = (0..limits.len()).map(repeats).collect();
        Binding { limits, repeated, accounts, parties, model, ..Binding::default() }
    }

    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Whether a limit before this one names the same counter, which is charged once.
    #[must_use]
    pub fn is_repeated(&self, at: usize) -> bool {
        self.repeated.get(at).copied().unwrap_or_default()
    }
}

/// Amounts held, one for each limit of a binding.
pub type Amounts = SmallVec<[Amount; 12]>;

/// All that settlement needs to know of an admission. The counters keep it, and it travels, signed, in Envoy's dynamic
/// metadata, so a settlement works though the counters have forgotten the hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub id: HoldId,
    pub admitted_at: Timestamp,
    pub binding: Arc<Binding>,
    /// What is held under each limit of the binding.
    pub amounts: Amounts,
    /// How the response reports its usage.
    pub api: Api,
    /// Name under which the price is found again at settlement; empty where the price is `estimate` itself.
    pub priced_as: Arc<str>,
    pub price_version: Arc<str>,
    /// The input in tokens as estimated, for responses that do not tell.
    pub input_tokens: u64,
    /// Characters of the input, for models priced so.
    pub input_characters: u64,
    /// Output tokens held for one choice.
    pub output_tokens: u64,
    /// What is booked when no meter ever saw the request.
    pub estimate: Money,
    /// Whether the held amount is a true bound (the output is capped).
    pub bounded: bool,
}

impl Hold {
    /// Every limit with the amount held under it.
    pub fn charges(&self) -> impl Iterator<Item = Charge<'_>> + Clone {
        self.binding.limits.iter().zip(&self.amounts).map(|(limit, amount)| limit.charge(*amount))
    }

    /// The record of this hold where nobody knows what it really used: what is told here is booked, as an estimate.
    #[must_use]
    pub fn estimated(&self, status: RecordStatus, progress: Progress, settled_at: Timestamp) -> Record {
        let Progress { input_tokens, output_tokens, cost } = progress;
        Record {
            id: self.id,
            sequence: 0,
            status,
            admitted_at: self.admitted_at,
            settled_at,
            parties: self.binding.parties.clone(),
            model: Arc::clone(&self.binding.model),
            usage: Usage { input_tokens, output_tokens, ..Usage::default() },
            cost,
            price_version: Arc::clone(&self.price_version),
            estimated: true,
            accounts: self.binding.accounts.clone(),
        }
    }

    /// One of [`Hold::charges`].
    #[must_use]
    pub fn charge(&self, at: usize) -> Option<Charge<'_>> {
        Some(self.binding.limits.get(at)?.charge(*self.amounts.get(at)?))
    }
}

/// What a running request has used so far, as its meter last reported it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Money,
}
