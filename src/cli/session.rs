//! `tollward session`.

use clap::Subcommand;

use super::output::Output;
use super::store::Desk;
use super::table::Table;
use crate::domain::BudgetDuration;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Issue a session; its token is shown once
    Issue {
        /// The user it is for
        #[arg(long, value_name = "ID")]
        user: String,
        /// The team the user acts for
        #[arg(long, value_name = "ID")]
        team: Option<String>,
        /// How long it lives, as in 8h [default and bound: `identity.session.ttl` of the configuration]
        #[arg(long, value_name = "DURATION")]
        ttl: Option<BudgetDuration>,
    },
    /// List the sessions of a user
    List {
        /// The user
        #[arg(long, value_name = "ID")]
        user: String,
    },
    /// End a session, or all of a user
    Revoke {
        /// The session: its id or its token
        #[arg(required_unless_present = "user", conflicts_with = "user")]
        session: Option<String>,
        /// Every session of this user
        #[arg(long, value_name = "ID")]
        user: Option<String>,
    },
}

pub(super) async fn run(desk: Desk, command: Command, output: &Output) -> anyhow::Result<()> {
    let (manager, actor) = (&desk.manager, &desk.actor);
    match command {
        Command::Issue { user, team, ttl } => {
            let ttl = ttl.map(BudgetDuration::as_duration);
            let issued = manager.issue_session(actor, &user, team.as_deref(), ttl).await?.reveal();
            if output.is_json() {
                return output.document(&issued, |_| String::new());
            }
            output.line(issued["token"].as_str().unwrap_or_default())?;
            output.hint("Store the token now: it is not kept here and cannot be shown again.");
            Ok(())
        }
        Command::List { user } => {
            let list = manager.list_sessions(actor, &user).await?;
            output.table(&list, |list| {
                let rows = list.as_array().map_or(&[][..], Vec::as_slice);
                let columns = [
                    ("ID", "sid"),
                    ("TEAM", "team_id"),
                    ("ISSUED", "issued_at"),
                    ("EXPIRES", "expires_at"),
                    ("REVOKED", "revoked_at"),
                ];
                Table::of_rows(rows, &columns)
            })
        }
        Command::Revoke { session, user } => match (session, user) {
            (Some(session), _) => {
                let revoked = manager.revoke_session(actor, &session).await?;
                output.document(&revoked, |revoked| format!("revoked {}", revoked["sid"].as_str().unwrap_or_default()))
            }
            (None, user) => {
                let revoked = manager.revoke_sessions(actor, &user.unwrap_or_default()).await?;
                output.document(&revoked, |revoked| format!("revoked {} session(s)", revoked["revoked"]))
            }
        },
    }
}
