//! Claims that stand for a virtual key: the request is then that key's, with all its limits.

use std::sync::Arc;

use super::super::assertion::{Assertion, KeyClaim};
use super::super::virtual_key::unavailable;
use super::{Ask, Name, Resolver, created};
use crate::config::Unregistered;
use crate::directory::{DirectoryError, KeyFilter};
use crate::domain::{Denial, ErrorType, Identity, Key, KeyHash, KeyMapping, Timestamp, Trace};

impl Resolver {
    /// The key that a claim stands for; `None` where the other claims decide. 403 where the mapping is switched off,
    /// whatever becomes of claims that nobody mapped.
    pub(super) async fn mapped(&self, claim: &KeyClaim, trace: &mut Trace) -> Result<Option<KeyHash>, Denial> {
        let Some(value) = &claim.value else {
            return match claim.unregistered {
                Unregistered::FallbackTeamMapping => Ok(None),
                Unregistered::Reject | Unregistered::AutoRegister => Err(refused(
                    "jwt.key_claim_missing",
                    "the token lacks the claim that stands for a key, and one is required",
                )),
            };
        };
        match self.look_up(claim, value).await? {
            Some(key) => {
                trace.step("claim", format_args!("{} stands for the key {key}", claim.claim));
                Ok(Some(key))
            }
            None if claim.unregistered == Unregistered::Reject => Err(refused(
                "jwt.key_claim_unknown",
                "the token's claim stands for no key; an administrator must map it",
            )),
            None => Ok(None),
        }
    }

    async fn look_up(&self, claim: &KeyClaim, value: &Arc<str>) -> Result<Option<KeyHash>, Denial> {
        let (issuer, claim) = (Arc::clone(&claim.issuer), Arc::clone(&claim.claim));
        let name = Name::Key { issuer, claim, value: Arc::clone(value) };
        let found = self.directory.id_of(&name).await.map_err(|error| unavailable(&error))?;
        // A text that is no hash: the mapping is switched off. Other claims must not decide then, for they may allow more.
        found.map(|token| token.parse().map_err(|_| switched_off())).transpose()
    }

    /// Makes a key for the caller and lets the claim stand for it, where that is wanted. Nobody knows the key's text: it
    /// is used through the claim alone.
    pub(super) async fn register(
        &self,
        assertion: &Assertion,
        identity: &Identity,
        ask: &Ask<'_>,
    ) -> Result<Option<KeyHash>, Denial> {
        let Some(claim) = &assertion.key_claim else { return Ok(None) };
        let (Unregistered::AutoRegister, Some(value)) = (claim.unregistered, &claim.value) else { return Ok(None) };
        let (key, is_new) = match self.existing_key(claim, identity).await? {
            Some(key) => (key, false),
            None => (new_key(identity, ask.now)?, true),
        };
        let token = key.token;
        let mapping = KeyMapping {
            id: format!("jwt-{token}-{}", KeyHash::of(&format!("{}\n{}\n{value}", claim.issuer, claim.claim))),
            jwt_issuer: claim.issuer.to_string(),
            jwt_claim_name: claim.claim.to_string(),
            jwt_claim_value: value.to_string(),
            token,
            description: Some("made when its bearer first called".to_owned()),
            is_active: true,
            created_at: ask.now,
            updated_at: ask.now,
        };
        let audit = created("jwt_key_mappings", &mapping.id, &mapping, ask.now);
        let store = self.directory.store();
        match store.put_key_mapping(&mapping, is_new.then_some(&key), true, audit).await {
            Ok(()) => Ok(Some(token)),
            // Another request was faster; what it mapped counts.
            Err(DirectoryError::Exists { .. }) => {
                let found = store.key_mapping(&claim.issuer, &claim.claim, value).await;
                match found.map_err(|error| unavailable(&error))?.filter(|mapping| mapping.is_active) {
                    Some(mapping) => Ok(Some(mapping.token)),
                    None => Err(switched_off()),
                }
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    /// A key that the user has for the team, where one may be taken.
    async fn existing_key(&self, claim: &KeyClaim, identity: &Identity) -> Result<Option<Key>, Denial> {
        let Some(user) = identity.user.as_ref().filter(|_| claim.map_existing) else { return Ok(None) };
        let team_id = identity.team.as_ref().map(|team| team.team_id.to_string());
        let filter = KeyFilter {
            user_id: Some(user.user_id.to_string()),
            team_id: team_id.clone(),
            decides: true,
            limit: 100,
            ..KeyFilter::default()
        };
        let keys = self.directory.store().list_keys(&filter).await.map_err(|error| unavailable(&error))?;
        let same_team = |key: &Key| key.team_id.as_deref() == team_id.as_deref() && !key.blocked;
        Ok(keys.rows.into_iter().find(same_team))
    }
}

fn new_key(identity: &Identity, now: Timestamp) -> Result<Key, Denial> {
    let mut random = [0u8; 32];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Denial::new(ErrorType::Internal, "internal.random", "no randomness is available"))?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Key {
        user_id: identity.user.as_ref().map(|user| Arc::clone(&user.user_id)),
        team_id: identity.team.as_ref().map(|team| Arc::clone(&team.team_id)),
        organization_id: identity.organization.as_ref().map(|row| Arc::clone(&row.organization_id)),
        created_by: Some("identity provider".to_owned()),
        ..Key::new(KeyHash::of(&text), now)
    })
}

fn switched_off() -> Denial {
    refused("jwt.key_claim_unknown", "the mapping of the token's claim is switched off")
}

fn refused(reason: &'static str, message: &'static str) -> Denial {
    Denial { status: 403, ..Denial::new(ErrorType::AuthError, reason, message) }
}

#[cfg(test)]
mod tests;
