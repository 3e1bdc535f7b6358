//! Sessions of users: issuing one by hand, listing and revoking them.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Actor, ManageError, Manager, Result, on_fresh_rows};
use crate::authn::Sessions;
use crate::authn::session::{ChangedBy, NewSession, SessionError};
use crate::domain::{Secret, UserSession};

/// A session that was issued: what may be shown of it, and its token, which is shown once.
pub struct IssuedSession {
    row: Value,
    token: Secret,
}

impl IssuedSession {
    /// The document with the token in it.
    #[must_use]
    pub fn reveal(self) -> Value {
        let mut row = self.row;
        row["token"] = json!(self.token.expose());
        row
    }
}

impl Manager {
    fn sessions(&self) -> Sessions {
        Sessions::new(&self.config.identity.session, Arc::clone(&self.store))
    }

    pub async fn issue_session(
        &self,
        actor: &Actor,
        user_id: &str,
        team_id: Option<&str>,
        ttl: Option<Duration>,
    ) -> Result<IssuedSession> {
        self.require_role_of_admin(actor)?;
        let wanted = NewSession { user_id: user_id.into(), team_id: team_id.map(Arc::from), ttl };
        let issued = self.sessions().issue(&wanted, &by(actor), self.now).await?;
        Ok(IssuedSession { row: json!(issued.session), token: issued.token })
    }

    /// The sessions of a user that are not over.
    pub async fn list_sessions(&self, actor: &Actor, user_id: &str) -> Result<Value> {
        self.require_viewer(actor)?;
        let sessions = self.store.sessions_of_user(user_id).await?;
        let live = |session: &&UserSession| self.now < session.expires_at;
        Ok(json!(sessions.iter().filter(live).collect::<Vec<_>>()))
    }

    /// Revokes a session by its id or its token.
    pub async fn revoke_session(&self, actor: &Actor, session: &str) -> Result<Value> {
        self.require_role_of_admin(actor)?;
        on_fresh_rows(|| async {
            let revoked = self.sessions().revoke(session, &by(actor), self.now).await?;
            Ok(json!(revoked))
        })
        .await
    }

    /// Revokes every session of a user.
    pub async fn revoke_sessions(&self, actor: &Actor, user_id: &str) -> Result<Value> {
        self.require_role_of_admin(actor)?;
        let revoked = self.sessions().revoke_all(user_id, &by(actor), self.now).await?;
        Ok(json!({"user_id": user_id, "revoked": revoked}))
    }
}

fn by(actor: &Actor) -> ChangedBy {
    ChangedBy { name: actor.name(), key: actor.key_hash() }
}

impl From<SessionError> for ManageError {
    fn from(error: SessionError) -> Self {
        let message = error.to_string();
        match error {
            SessionError::Directory(error) => error.into(),
            SessionError::NoUser(user) => ManageError::not_found("user_id", "user", &user),
            SessionError::Deactivated(_) => ManageError::bad("user_id", message),
            SessionError::NotInTeam(_) => ManageError::bad("team_id", message),
            SessionError::Lifetime => ManageError::bad("ttl", message),
            SessionError::Disabled | SessionError::Key => ManageError::conflict(message),
        }
    }
}
