//! Keeping the directory as the identity provider has it: the role of a user and the teams it is in, written where they
//! differ.

use std::sync::Arc;

use super::super::assertion::{Assertion, Named, RoleClaim};
use super::super::virtual_key::unavailable;
use super::{Ask, Resolver, audit};
use crate::directory::DirectoryError;
use crate::domain::{Denial, Identity, Member, Role, TeamRole, User};

/// How often a role is written to a row that others change at the same moment.
const ATTEMPTS: usize = 8;

impl Resolver {
    /// Writes role and memberships as they are claimed, where the rules ask for it and they differ. A user without a row
    /// stays without one.
    pub(super) async fn sync(&self, assertion: &Assertion, identity: &Identity, ask: &Ask<'_>) -> Result<(), Denial> {
        let rules = &assertion.rules;
        if !rules.sync_user_role_and_teams && !rules.join_claimed_teams {
            return Ok(());
        }
        if !self.is_latest(assertion, identity) {
            return Ok(());
        }
        // A row that was created has the time of it; a name without a row has none.
        let Some(user) = identity.user.as_ref().filter(|user| user.created_at.as_millis() > 0) else { return Ok(()) };
        if let (true, RoleClaim::Is(role)) = (rules.sync_user_role_and_teams, assertion.role)
            && user.user_role != Some(role)
        {
            self.set_role(&user.user_id, role, ask).await.map_err(|error| unavailable(&error))?;
        }
        self.memberships(assertion, user, ask).await
    }

    async fn set_role(&self, user_id: &str, role: Role, ask: &Ask<'_>) -> Result<(), DirectoryError> {
        let store = self.directory.store();
        let mut attempts = 0;
        loop {
            // As it is now: what was kept may be older than what an administrator wrote a moment ago.
            let Some(row) = store.user(user_id).await?.filter(|row| row.user_role != Some(role)) else { return Ok(()) };
            let changed = User { user_role: Some(role), updated_at: ask.now, ..row.clone() };
            let entry = audit("updated", "users", user_id, Some(&row), Some(&changed), ask.now);
            attempts += 1;
            match store.put_user(&changed, false, entry).await {
                // Somebody was faster, as another request of the same user may be.
                Err(DirectoryError::Changed { .. }) if attempts < ATTEMPTS => {}
                written => return written,
            }
        }
    }

    /// Whether no token of this user that was issued later has been seen: an older one says what no longer holds, and two
    /// that differ would write in turns.
    fn is_latest(&self, assertion: &Assertion, identity: &Identity) -> bool {
        let Some(user) = &identity.user else { return false };
        let claims = assertion.grant.as_ref().map(|grant| &grant.claims);
        let issued = claims.and_then(|claims| claims.get("iat")?.as_f64()).unwrap_or_default();
        if self.synced.get(&user.user_id).is_some_and(|latest| issued < latest) {
            return false;
        }
        self.synced.insert(Arc::clone(&user.user_id), issued);
        true
    }

    async fn memberships(&self, assertion: &Assertion, user: &User, ask: &Ask<'_>) -> Result<(), Denial> {
        let mut claimed: Vec<Arc<str>> = assertion.teams.list.clone();
        if let Some(Named::Id(id)) = &assertion.teams.one {
            claimed.push(Arc::clone(id));
        }
        let members = self.directory.memberships(&user.user_id).await.map_err(|error| unavailable(&error))?;
        let store = self.directory.store();
        for team_id in claimed.iter().filter(|id| !members.iter().any(|member| member.team_id == **id)) {
            if store.team(team_id).await.map_err(|error| unavailable(&error))?.is_none() {
                continue;
            }
            let member = Member {
                team_id: Arc::clone(team_id),
                user_id: Arc::clone(&user.user_id),
                user_email: user.user_email.as_deref().map(str::to_owned),
                role: TeamRole::User,
                budget_id: None,
                allowed_models: Vec::new(),
                limits: crate::domain::Limits::default(),
                spend: crate::domain::Money::ZERO,
            };
            let id = format!("{team_id}/{}", user.user_id);
            let entry = audit("created", "team_members", &id, None, Some(&member), ask.now);
            super::put(store.put_member(&member, true, entry).await)?;
        }
        // Where the token names no team and gives no list, it says nothing about teams.
        let says_nothing = claimed.is_empty() && !assertion.teams.list_given;
        if !assertion.rules.sync_user_role_and_teams || says_nothing {
            return Ok(());
        }
        for member in members.iter().filter(|member| !claimed.contains(&member.team_id)) {
            let id = format!("{}/{}", member.team_id, user.user_id);
            let entry = audit("deleted", "team_members", &id, Some(member), None, ask.now);
            match store.delete_member(&member.team_id, &user.user_id, entry).await {
                Ok(()) | Err(DirectoryError::NotFound { .. }) => {}
                Err(error) => return Err(unavailable(&error)),
            }
        }
        Ok(())
    }
}
