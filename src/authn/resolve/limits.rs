//! Limits a credential brings along: each holds where it is lower than the user's own.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::domain::{Grant, Identity, Limits, Team, User};

/// Identities with narrowed limits kept at most.
const MOST: usize = 4_096;

/// Identities whose user is held to what a grant says, one for each snapshot and grant: whoever shows them again gets
/// the same one, so that what is compiled for it is compiled once.
pub(super) struct Narrowed {
    kept: Cache<(usize, Vec<u8>), (Arc<Identity>, Arc<Identity>)>,
    /// Of callers of whom the directory is not asked, by all that is said of them.
    alone: Cache<Vec<u8>, Arc<Identity>>,
}

impl Default for Narrowed {
    fn default() -> Self {
        Narrowed { kept: Cache::new(MOST), alone: Cache::new(MOST) }
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

    /// The identity of a user and a team of whom nothing is known but their names and what the grant says.
    pub(super) fn alone(
        &self,
        user_id: Option<Arc<str>>,
        user_email: Option<Arc<str>>,
        team_id: Option<Arc<str>>,
        grant: &Grant,
    ) -> Arc<Identity> {
        let asked = (&user_id, &user_email, &team_id, grant.max_budget, &grant.limits);
        let key = serde_json::to_vec(&asked).ok();
        if let Some(identity) = key.as_ref().and_then(|key| self.alone.get(key)) {
            return identity;
        }
        let limits = lower(Limits::default(), grant);
        let user = user_id.map(|user_id| Box::new(User { user_id, user_email, limits, ..User::default() }));
        let team = team_id.map(|team_id| Box::new(Team { team_id, ..Team::default() }));
        let identity = Arc::new(Identity { user, team, ..Identity::default() });
        if let Some(key) = key {
            self.alone.insert(key, Arc::clone(&identity));
        }
        identity
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
    use crate::domain::Money;

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
    fn who_stands_alone_is_held_to_the_grant_and_one_grant_gives_one_identity() {
        let narrowed = Narrowed::default();
        let grant = |nanos| Grant { max_budget: Some(Money::nanos(nanos)), is_unchecked: true, ..Grant::default() };
        let of = |user: &str, nanos| narrowed.alone(Some(user.into()), None, Some("t".into()), &grant(nanos));
        let first = of("ada", 7);
        assert_eq!((budget(&first), first.team.as_ref().map(|team| &*team.team_id)), (Some(7), Some("t")));
        assert!(Arc::ptr_eq(&first, &of("ada", 7)));
        assert!(!Arc::ptr_eq(&first, &of("ada", 8)) && !Arc::ptr_eq(&first, &of("grace", 7)));
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
