//! Limits a credential brings along: each holds where it is lower than what the directory says.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::domain::{Grant, Identity, Limits, Member, Money, Team, TeamRole, User};

/// Identities with narrowed limits kept at most.
const MOST: usize = 4_096;

/// Identities whose caller is held to what a grant says, one for each snapshot and grant: whoever shows them again gets
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
        lower(&mut copy, grant);
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
        let user = user_id.map(|user_id| Arc::new(User { user_id, user_email, ..User::default() }));
        let team = team_id.map(|team_id| Arc::new(Team { team_id, ..Team::default() }));
        let mut identity = Identity { user, team, ..Identity::default() };
        lower(&mut identity, grant);
        let identity = Arc::new(identity);
        if let Some(key) = key {
            self.alone.insert(key, Arc::clone(&identity));
        }
        identity
    }
}

/// Lowers the limits of the user, also of one without a row. A user's budget binds no calls for a team, so there the
/// membership is lowered too, with or without a row. Without a user the key, the team or the organization is, whichever
/// stands closest to the caller.
fn lower(identity: &mut Identity, grant: &Grant) {
    let granted = grant.all_limits();
    let key = identity.key.as_ref();
    let team_id = key.and_then(|key| key.team_id.clone()).or(identity.team.as_ref().map(|team| team.team_id.clone()));
    let user_id = key.and_then(|key| key.user_id.clone()).or(identity.user.as_ref().map(|user| user.user_id.clone()));
    let lower = |limits: &mut Limits| *limits = std::mem::take(limits).lowered(&granted);
    if let Some(user_id) = user_id {
        let new = || Arc::new(User { user_id: Arc::clone(&user_id), ..User::default() });
        let user = Arc::make_mut(identity.user.get_or_insert_with(new));
        lower(&mut user.limits);
        if let Some(team_id) = team_id {
            let member = identity.member.get_or_insert_with(|| Box::new(member_without_row(team_id, user_id)));
            lower_budget(&mut member.limits, granted.max_budget, &user.limits);
        }
    } else if let Some(key) = &mut identity.key {
        lower(&mut key.limits);
    } else if let Some(team) = &mut identity.team {
        lower(&mut Arc::make_mut(team).limits);
    } else if let Some(organization) = &mut identity.organization {
        lower(&mut Arc::make_mut(organization).limits);
    }
}

/// A member's rate limits are the user's, which bind calls for a team as they are. Where the member has no budget of
/// its own, the one that is granted renews with the user's.
fn lower_budget(limits: &mut Limits, granted: Option<Money>, of_user: &Limits) {
    if granted.is_some() && limits.max_budget.is_none() && limits.budget_duration.is_none() {
        limits.budget_duration = of_user.budget_duration;
    }
    *limits = std::mem::take(limits).lowered(&Limits { max_budget: granted, ..Limits::default() });
}

fn member_without_row(team_id: Arc<str>, user_id: Arc<str>) -> Member {
    Member {
        team_id,
        user_id,
        user_email: None,
        role: TeamRole::User,
        budget_id: None,
        allowed_models: Vec::new(),
        limits: Limits::default(),
        spend: Money::ZERO,
    }
}

#[cfg(test)]
mod tests;
