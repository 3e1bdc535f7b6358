//! Names that are no ids: what an identity provider calls a user, a team or an organization, and the claim that stands
//! for a key.

use std::sync::Arc;

use super::super::{Result, Store};
use crate::domain::KeyMapping;

/// A name to look up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Named {
    /// A user by its id, else by its id at the provider, else by its address.
    User { id: Option<Arc<str>>, email: Option<Arc<str>> },
    /// A team by its alias, where one team alone has it.
    Team { alias: Arc<str> },
    /// An organization by its alias, where one alone has it.
    Organization { alias: Arc<str> },
    /// The hash of the key that a claim stands for; the mapping of the issuer before the one of any issuer. An empty
    /// text where that mapping is switched off: the claim is known, and good for nothing.
    Key { issuer: Arc<str>, claim: Arc<str>, value: Arc<str> },
}

impl Named {
    pub(super) async fn look_up(&self, store: &dyn Store) -> Result<Option<Arc<str>>> {
        match self {
            Named::User { id, email } => {
                let user = store.user_named(id.as_deref(), email.as_deref()).await?;
                Ok(user.map(|user| user.user_id))
            }
            Named::Team { alias } => {
                let ids = store.teams_by_alias(alias).await?.into_iter().map(|team| team.team_id);
                Ok(only(ids))
            }
            Named::Organization { alias } => {
                let found = store.organizations_by_alias(alias).await?;
                Ok(only(found.into_iter().map(|organization| organization.organization_id)))
            }
            Named::Key { issuer, claim, value } => {
                for issuer in [&**issuer, ""] {
                    let mapping = store.key_mapping(issuer, claim, value).await?;
                    if let Some(KeyMapping { token, is_active, .. }) = mapping {
                        return Ok(Some(if is_active { token.to_string().into() } else { Arc::default() }));
                    }
                }
                Ok(None)
            }
        }
    }
}

fn only(mut ids: impl Iterator<Item = Arc<str>>) -> Option<Arc<str>> {
    let first = ids.next()?;
    ids.next().is_none().then_some(first)
}
