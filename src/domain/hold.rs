//! Holds: what an admitted request has reserved until its true cost is known.

use std::sync::Arc;

use super::api::Api;
use super::charge::Charge;
use super::ids::HoldId;
use super::money::Money;
use super::record::{Account, Parties};
use super::time::Timestamp;

/// All that settlement needs to know of an admission. The counters keep it, and it travels, signed, in Envoy's dynamic
/// metadata, so a settlement works though the counters have forgotten the hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub id: HoldId,
    pub admitted_at: Timestamp,
    /// Limits and budgets charged at admission.
    pub charges: Vec<Charge>,
    /// Accounts the settled cost is booked to: one total for each scope the caller has, and one for each budget period
    /// that was charged.
    pub accounts: Vec<Account>,
    pub parties: Parties,
    /// How the response reports its usage.
    pub api: Api,
    pub model: Arc<str>,
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

/// What a running request has used so far, as its meter last reported it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Money,
}
