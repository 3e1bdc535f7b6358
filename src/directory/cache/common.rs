//! Rows that many identities have in common, kept once: a hundred thousand keys belong to a thousand teams.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::domain::{Identity, Money, Organization, Project, Team, User};

/// The rows that identities in use share.
#[derive(Debug, Default)]
pub(super) struct Common {
    users: Rows<User>,
    teams: Rows<Team>,
    organizations: Rows<Organization>,
    projects: Rows<Project>,
}

impl Common {
    /// The same identity, holding the rows of another that has them too. Rows that differ in anything stay apart: what
    /// was read before a write is never taken for what was read after it. Their `spend` is zero: it changes with every flush
    /// of the ledger, and what is kept would tell of long ago.
    pub(super) fn share(&self, mut identity: Identity) -> Identity {
        if let Some(user) = &mut identity.user {
            Arc::make_mut(user).spend = Money::ZERO;
            self.users.share(&user.user_id.clone(), user);
        }
        if let Some(team) = &mut identity.team {
            Arc::make_mut(team).spend = Money::ZERO;
            self.teams.share(&team.team_id.clone(), team);
        }
        if let Some(organization) = &mut identity.organization {
            Arc::make_mut(organization).spend = Money::ZERO;
            self.organizations.share(&organization.organization_id.clone(), organization);
        }
        if let Some(project) = &mut identity.project {
            Arc::make_mut(project).spend = Money::ZERO;
            self.projects.share(&project.project_id.clone(), project);
        }
        identity
    }
}

/// The newest row of each id, while somebody holds it.
#[derive(Debug)]
struct Rows<R>(Mutex<HashMap<Arc<str>, Weak<R>, ahash::RandomState>>);

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Rows(Mutex::default())
    }
}

impl<R: PartialEq> Rows<R> {
    fn share(&self, id: &Arc<str>, row: &mut Arc<R>) {
        let mut rows = self.0.lock();
        match rows.get(id).and_then(Weak::upgrade) {
            Some(kept) if *kept == **row => *row = kept,
            _ => {
                // Those nobody holds any more go before the table would grow.
                if rows.len() == rows.capacity() {
                    rows.retain(|_, row| row.strong_count() > 0);
                }
                rows.insert(Arc::clone(id), Arc::downgrade(row));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_team(model: &str, spent: i64) -> Identity {
        let (models, spend) = (vec![model.to_owned()], Money::nanos(spent));
        let team = Team { team_id: "blue".into(), models, spend, ..Team::default() };
        Identity { team: Some(Arc::new(team)), ..Identity::default() }
    }

    fn shared(one: &Identity, other: &Identity) -> bool {
        Arc::ptr_eq(one.team.as_ref().unwrap(), other.team.as_ref().unwrap())
    }

    #[test]
    fn keys_of_one_team_hold_one_row_until_it_differs() {
        let common = Common::default();
        let first = common.share(of_team("gpt-4o", 0));
        assert!(shared(&first, &common.share(of_team("gpt-4o", 7))), "what was spent meanwhile makes no difference");
        let written = common.share(of_team("o3", 7));
        assert_eq!(written, of_team("o3", 0));
        assert!(shared(&written, &common.share(of_team("o3", 8))));
        // Read before the write, and late: it stays what it was.
        assert_eq!(common.share(of_team("gpt-4o", 7)), first);
    }

    #[test]
    fn rows_that_nobody_holds_make_room() {
        let common = Common::default();
        for number in 0..10_000 {
            let user = User { user_id: format!("user-{number}").into(), ..User::default() };
            drop(common.share(Identity { user: Some(Arc::new(user)), ..Identity::default() }));
        }
        assert!(common.users.0.lock().len() < 100);
    }
}
