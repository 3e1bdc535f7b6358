//! Plans, kept: what binds an identity is compiled once for each snapshot of it the directory hands out.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::config::Config;
use crate::domain::{Caller, Identity, KeyHash, Timestamp};
use crate::quota::Plan;

/// Plans kept at most. One that is used takes about 7 KB with what was bound under it, several times what its key takes
/// in the directory's cache; to compile one again takes microseconds.
const MOST: usize = 8_192;

/// What a plan is kept under.
#[derive(PartialEq, Eq, Hash)]
enum PlanKey {
    Key(KeyHash),
    /// The address of the snapshot, for callers without a key. The entry holds the snapshot, so that no other has its
    /// address while it stands here.
    Snapshot(usize),
}

/// The plans of identities seen lately, by key, or by snapshot where there is none.
pub struct Plans {
    kept: Cache<PlanKey, (Arc<Identity>, Arc<Plan>)>,
}

impl Plans {
    /// `size` is how many keys the directory keeps.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Plans { kept: Cache::new(size.clamp(16, MOST)) }
    }

    /// The plan of this caller. A plan belongs to one snapshot: when the directory read the key anew, it is compiled
    /// anew.
    #[must_use]
    pub fn of(&self, caller: &Caller, config: &Config, now: Timestamp) -> Arc<Plan> {
        let key = match &caller.identity.key {
            Some(key) => PlanKey::Key(key.token),
            None => PlanKey::Snapshot(Arc::as_ptr(&caller.identity) as usize),
        };
        if let Some((identity, plan)) = self.kept.get(&key)
            && Arc::ptr_eq(&identity, &caller.identity)
            && now < plan.valid_until
        {
            return plan;
        }
        let plan = Arc::new(Plan::of(caller, config, now));
        self.kept.insert(key, (Arc::clone(&caller.identity), Arc::clone(&plan)));
        plan
    }
}
