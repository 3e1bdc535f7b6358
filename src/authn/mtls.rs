//! The certificate of Envoy's peer (`source.principal`), which Envoy verified: the first entry of `identity.mtls` that it
//! fits says whom it stands for. No header is read, `x-forwarded-client-cert` neither.

use std::sync::Arc;

use async_trait::async_trait;

use super::assertion::{Assertion, Named, RoleClaim, TeamClaim};
use super::{Ask, Authenticator, Identified};
use crate::config::MtlsEntry;
use crate::domain::peer::{BadPattern, Captures};
use crate::domain::{AuthMethod, Denial, Grant, KeyHash, PeerPattern, PeerText, Role, Trace};

/// See the module.
#[derive(Debug)]
pub struct Mtls {
    entries: Vec<Entry>,
}

/// Whom the principals of one pattern stand for.
#[derive(Debug)]
struct Entry {
    /// As it is written, for explanations.
    text: String,
    pattern: PeerPattern,
    user_id: Option<PeerText>,
    user_email: Option<PeerText>,
    team_id: Option<PeerText>,
    team_alias: Option<PeerText>,
    key: Option<KeyHash>,
    role: Option<Role>,
    grant: Option<Arc<Grant>>,
}

impl Mtls {
    /// # Errors
    /// A principal or a text that cannot be read.
    pub fn new(entries: &[MtlsEntry]) -> Result<Self, String> {
        let entries = entries.iter().map(Entry::new).collect::<Result<_, _>>();
        Ok(Mtls { entries: entries.map_err(|error| format!("identity.mtls {error}"))? })
    }

    fn find<'t>(&self, principal: &'t str) -> Option<(&Entry, Captures<'t>)> {
        // A connection without a certificate has none.
        if principal.is_empty() {
            return None;
        }
        self.entries.iter().find_map(|entry| Some((entry, entry.pattern.captures(principal)?)))
    }
}

impl Entry {
    fn new(entry: &MtlsEntry) -> Result<Self, BadPattern> {
        let pattern = PeerPattern::parse(&entry.principal)?;
        let read = |text: &Option<String>| text.as_ref().map(|text| PeerText::parse(text, pattern.stars())).transpose();
        let models = entry.models.clone();
        Ok(Entry {
            text: entry.principal.clone(),
            user_id: read(&entry.user_id)?,
            user_email: read(&entry.user_email)?,
            team_id: read(&entry.team_id)?,
            team_alias: read(&entry.team_alias)?,
            key: entry.key_hash(),
            role: entry.role,
            grant: models.map(|models| Arc::new(Grant { models: vec![models], ..Grant::default() })),
            pattern,
        })
    }

    fn assertion(&self, captures: &Captures<'_>) -> Assertion {
        let with = |text: &Option<PeerText>| text.as_ref().map(|text| Arc::<str>::from(text.with(captures)));
        let team = with(&self.team_id).map(Named::Id).or_else(|| with(&self.team_alias).map(Named::Alias));
        Assertion {
            key: self.key,
            user_id: with(&self.user_id),
            user_email: with(&self.user_email),
            role: self.role.map_or(RoleClaim::None, RoleClaim::AtMost),
            teams: TeamClaim { one: team, ..TeamClaim::default() },
            grant: self.grant.clone(),
            ..Assertion::new(AuthMethod::Mtls)
        }
    }
}

#[async_trait]
impl Authenticator for Mtls {
    fn name(&self) -> &'static str {
        "mtls"
    }

    fn knows(&self, ask: &Ask<'_>) -> bool {
        self.find(ask.view.http.source_principal).is_some()
    }

    async fn authenticate(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Identified, Denial> {
        let (entry, captures) = self.find(ask.view.http.source_principal).ok_or_else(super::missing)?;
        trace.step("identity", format_args!("the certificate fits identity.mtls {}", entry.text));
        Ok(Identified::Assertion(Arc::new(entry.assertion(&captures))))
    }
}

#[cfg(test)]
mod tests;
