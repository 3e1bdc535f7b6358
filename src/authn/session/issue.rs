//! Issuing sessions, and what ends them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::keys::{self, SigningKey};
use super::token;
use crate::config;
use crate::directory::{AuditEntry, DirectoryError, SharedStore};
use crate::domain::{KeyHash, Secret, SessionKey, Timestamp, User, UserSession};

/// How often a session is tried to be written: its user or its key may go meanwhile, or another replica makes the key.
const TRIES: usize = 2;

/// Issues sessions and revokes them.
#[derive(Clone)]
pub struct Sessions {
    store: SharedStore,
    config: config::Session,
}

/// Who is to have a session.
#[derive(Clone, Debug)]
pub struct NewSession {
    pub user_id: Arc<str>,
    /// The team to act for, which the user must be in.
    pub team_id: Option<Arc<str>>,
    /// How long it lives; `identity.session.ttl`, which bounds it, where that is not said.
    pub ttl: Option<Duration>,
}

/// A session and its token, which is not kept anywhere.
#[derive(Clone, Debug)]
pub struct Issued {
    pub session: UserSession,
    pub token: Secret,
}

/// Whom the audit log names.
#[derive(Clone, Debug)]
pub struct ChangedBy {
    pub name: String,
    pub key: Option<KeyHash>,
}

/// Why no session is issued.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    #[error("sessions are switched off: identity.session.enabled is false")]
    Disabled,
    #[error("user {0:?} does not exist")]
    NoUser(Arc<str>),
    #[error("user {0:?} is deactivated")]
    Deactivated(Arc<str>),
    #[error("the user is not in team {0:?}")]
    NotInTeam(Arc<str>),
    #[error("a session lives at least a second, and at most as long as identity.session.ttl says")]
    Lifetime,
    #[error("there is no randomness, or a key that signs sessions cannot be read")]
    Key,
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

impl From<keys::Unusable> for SessionError {
    fn from(_: keys::Unusable) -> Self {
        SessionError::Key
    }
}

impl Sessions {
    #[must_use]
    pub fn new(config: &config::Session, store: SharedStore) -> Self {
        Sessions { store, config: config.clone() }
    }

    /// A session for a user, by a token that is shown this once.
    ///
    /// # Errors
    /// [`SessionError`]; nothing was written then.
    pub async fn issue(&self, wanted: &NewSession, by: &ChangedBy, now: Timestamp) -> Result<Issued, SessionError> {
        if !self.config.enabled {
            return Err(SessionError::Disabled);
        }
        let longest = self.config.ttl.as_duration();
        let ttl = wanted.ttl.unwrap_or(longest);
        if ttl < Duration::from_secs(1) || ttl > longest {
            return Err(SessionError::Lifetime);
        }
        let mut tries = 1;
        loop {
            match self.try_issue(wanted, ttl, by, now).await {
                // A row that the session refers to may have gone since it was read; the next try tells.
                Err(SessionError::Directory(DirectoryError::Exists { .. } | DirectoryError::Unavailable(_)))
                    if tries < TRIES =>
                {
                    tries += 1;
                }
                issued => return issued,
            }
        }
    }

    async fn try_issue(
        &self,
        wanted: &NewSession,
        ttl: Duration,
        by: &ChangedBy,
        now: Timestamp,
    ) -> Result<Issued, SessionError> {
        self.check(wanted).await?;
        let key = self.signing_key(by, now).await?;
        let second = |at: Timestamp| Timestamp::millis(at.as_millis().div_euclid(1_000) * 1_000);
        let session = UserSession {
            sid: keys::random_hex::<16>()?.into(),
            user_id: Arc::clone(&wanted.user_id),
            team_id: wanted.team_id.clone(),
            kid: Arc::clone(&key.kid),
            issued_at: second(now),
            expires_at: second(now.plus(ttl)),
            revoked_at: None,
        };
        let token = token::write(&session, &self.config.audience, &SigningKey::of(&key)?);
        let after = serde_json::to_value(&session).ok();
        let audit = AuditEntry { after, ..line("created", "sessions", &session.sid, by, now) };
        self.store.put_session(&session, true, audit).await?;
        Ok(Issued { session, token })
    }

    async fn check(&self, wanted: &NewSession) -> Result<(), SessionError> {
        let user = self.store.user(&wanted.user_id).await?;
        let user = user.ok_or_else(|| SessionError::NoUser(Arc::clone(&wanted.user_id)))?;
        if !User::is_active(&user) {
            return Err(SessionError::Deactivated(user.user_id));
        }
        if let Some(team_id) = &wanted.team_id {
            let teams = self.store.memberships_of_user(&user.user_id).await?;
            if !teams.iter().any(|member| member.team_id == *team_id) {
                return Err(SessionError::NotInTeam(Arc::clone(team_id)));
            }
        }
        Ok(())
    }

    /// The key of this period, made where there is none. Of several replicas that make it at once, one does.
    async fn signing_key(&self, by: &ChangedBy, now: Timestamp) -> Result<SessionKey, SessionError> {
        let period_start = self.period_start(now);
        let of_period = |keys: Vec<SessionKey>| keys.into_iter().find(|key| key.period_start == period_start);
        if let Some(key) = of_period(self.store.session_keys().await?) {
            return Ok(key);
        }
        let key = keys::generate(period_start, now)?;
        let after = Some(json!({"kid": key.kid, "period_start": key.period_start}));
        let audit = AuditEntry { after, ..line("created", "session_keys", &key.kid, by, now) };
        match self.store.put_session_key(&key, audit).await {
            Ok(()) => Ok(key),
            Err(error @ DirectoryError::Exists { .. }) => {
                let key = of_period(self.store.session_keys().await?);
                key.ok_or(SessionError::Directory(error))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn period_start(&self, now: Timestamp) -> Timestamp {
        keys::period_start(now, self.config.rotate_every.as_duration())
    }

    /// Revokes a session by its id or its token; one that is revoked stays so. Answers it as it is then.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] where there is no such session.
    pub async fn revoke(&self, named: &str, by: &ChangedBy, now: Timestamp) -> Result<UserSession, DirectoryError> {
        let sid = token::named(named).unwrap_or_else(|| Arc::from(named));
        let before = self.store.session(&sid).await?.ok_or_else(|| {
            let shown = if named.starts_with(token::PREFIX) { Secret::masked(named) } else { named.to_owned() };
            DirectoryError::NotFound { what: "session", name: shown }
        })?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let after = UserSession { revoked_at: Some(now), ..before.clone() };
        let value = |session: &UserSession| serde_json::to_value(session).ok();
        let audit = AuditEntry {
            before: value(&before),
            after: value(&after),
            ..line("revoked", "sessions", &after.sid, by, now)
        };
        self.store.put_session(&after, false, audit).await?;
        Ok(after)
    }

    /// Revokes every session of a user; answers how many there were.
    pub async fn revoke_all(&self, user_id: &str, by: &ChangedBy, now: Timestamp) -> Result<u64, DirectoryError> {
        let audit = AuditEntry {
            after: Some(json!({"user_id": user_id, "revoked_at": now})),
            ..line("revoked", "sessions", user_id, by, now)
        };
        self.store.revoke_sessions_of_user(user_id, audit).await
    }

    /// Deletes sessions that are over, and keys that no session needs any more; answers how many rows.
    pub async fn sweep(&self, now: Timestamp) -> Result<u64, DirectoryError> {
        self.store.sweep_sessions(now, self.period_start(now)).await
    }
}

fn line(action: &'static str, table: &'static str, id: &str, by: &ChangedBy, now: Timestamp) -> AuditEntry {
    AuditEntry {
        at: now,
        changed_by: by.name.clone(),
        changed_by_key: by.key,
        action,
        table,
        object_id: id.to_owned(),
        before: None,
        after: None,
    }
}
