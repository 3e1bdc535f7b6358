//! Limits a credential brings along: each holds where it is lower than the user's own.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::domain::{Grant, Identity, Limits};

/// Identities with narrowed limits kept at most.
const MOST: usize = 4_096;

/// Identities whose user is held to what a grant says, one for each snapshot and grant: whoever shows them again gets
/// the same one, so that what is compiled for it is compiled once.
pub(super) struct Narrowed {
    kept: Cache<(usize, Vec<u8>), (Arc<Identity>, Arc<Identity>)>,
}

impl Default for Narrowed {
    fn default() -> Self {
        Narrowed { kept: Cache::new(MOST) }
    }
}

impl Narrowed {
    /// The identity, or a copy of it with the lower limits.
    pub(super) fn of(&self, identity: Arc<Identity>, grant: Option<&Grant>) -> Arc<Identity> {
        let Some(grant) = grant.filter(|grant| grant.limits_user()) else { return identity };
        let asked = (grant.max_budget, &grant.limits);
        // Entries hold the snapshot they were made of: while one stands here, its address is nobody else's.
        let key = (Arc::as_ptr(&identity) as usize, serde_json::to_vec(&asked).unwrap_or_default());
        if let Some((_, narrowed)) = self.kept.get(&key) {
            return narrowed;
        }
        let mut copy = Identity::clone(&identity);
        let user = copy.user.get_or_insert_default();
        user.limits = lower(std::mem::take(&mut user.limits), grant);
        let narrowed = Arc::new(copy);
        self.kept.insert(key, (identity, Arc::clone(&narrowed)));
        narrowed
    }
}

fn lower(own: Limits, grant: &Grant) -> Limits {
    fn least<T: Ord + Copy>(one: Option<T>, other: Option<T>) -> Option<T> {
        one.into_iter().chain(other).min()
    }
    let of_grant = &grant.limits;
    let budget = least(grant.max_budget, of_grant.max_budget);
    Limits {
        max_budget: least(own.max_budget, budget),
        rpm_limit: least(own.rpm_limit, of_grant.rpm_limit),
        tpm_limit: least(own.tpm_limit, of_grant.tpm_limit),
        max_parallel_requests: least(own.max_parallel_requests, of_grant.max_parallel_requests),
        ..own
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Money, User};

    fn identity(max_budget: Option<i64>) -> Arc<Identity> {
        let limits = Limits { max_budget: max_budget.map(Money::nanos), ..Limits::default() };
        let user = User { user_id: "u".into(), limits, ..User::default() };
        Arc::new(Identity { user: Some(Box::new(user)), ..Identity::default() })
    }

    fn budget(identity: &Identity) -> Option<i64> {
        identity.user.as_ref()?.limits.max_budget.map(Money::as_nanos)
    }

    #[test]
    fn a_grant_lowers_limits_and_never_lifts_them() {
        let narrowed = Narrowed::default();
        for (own, granted, expected) in [(Some(5), 3, 3), (Some(3), 5, 3), (None, 7, 7)] {
            let grant = Grant { max_budget: Some(Money::nanos(granted)), ..Grant::default() };
            assert_eq!(budget(&narrowed.of(identity(own), Some(&grant))), Some(expected), "{own:?} {granted}");
        }
    }

    #[test]
    fn one_snapshot_and_one_grant_give_one_identity() {
        let (narrowed, own) = (Narrowed::default(), identity(Some(5)));
        let grant = Grant { max_budget: Some(Money::nanos(1)), ..Grant::default() };
        let first = narrowed.of(Arc::clone(&own), Some(&grant));
        assert!(Arc::ptr_eq(&first, &narrowed.of(Arc::clone(&own), Some(&grant))));
        assert!(Arc::ptr_eq(&own, &narrowed.of(Arc::clone(&own), Some(&Grant::default()))));
        assert!(Arc::ptr_eq(&own, &narrowed.of(Arc::clone(&own), None)));
    }
}
