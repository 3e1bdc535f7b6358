//! `tollward team`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::limits::{Limits, Others, Page, put, put_list};
use super::output::Output;
use super::store::Desk;
use super::table::Table;
use crate::manage::Params;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a team
    Create {
        /// Its id; a random one without it
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        attributes: Box<Attributes>,
    },
    /// List teams
    List(Page),
    /// Show a team, its members and keys
    Info {
        /// The team's id
        team: String,
    },
    /// Change a team
    Update {
        /// The team's id
        team: String,
        #[command(flatten)]
        attributes: Box<Attributes>,
    },
    /// Delete teams with their keys
    Delete {
        /// Ids of teams
        #[arg(required = true)]
        teams: Vec<String>,
    },
    /// Refuse all use of a team's keys
    Block {
        /// The team's id
        team: String,
    },
    /// Let a blocked team's keys be used again
    Unblock {
        /// The team's id
        team: String,
    },
    /// Add a user to a team
    AddMember {
        /// The team's id
        team: String,
        /// The user's id
        user: String,
        /// Make the user an admin of the team
        #[arg(long)]
        admin: bool,
        /// Dollars the user may spend in the team
        #[arg(long, value_name = "DOLLARS")]
        max_budget: Option<f64>,
        /// How long that budget lasts, as in 30d
        #[arg(long, value_name = "DURATION")]
        budget_duration: Option<String>,
    },
}

/// What a team may be and do.
#[derive(Debug, Args)]
pub(super) struct Attributes {
    /// A name
    #[arg(long)]
    alias: Option<String>,
    /// The organization it belongs to
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// A model it may call; repeatable, all without one
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    others: Others,
}

impl Attributes {
    fn params(&self) -> Params {
        let mut params = Params::new();
        put(&mut params, "team_alias", self.alias.as_deref());
        put(&mut params, "organization_id", self.org.as_deref());
        put_list(&mut params, "models", &self.models);
        self.limits.write(&mut params);
        self.others.write(&mut params);
        params
    }
}

pub(super) async fn run(desk: Desk, command: Command, output: &Output) -> anyhow::Result<()> {
    let (manager, actor) = (&desk.manager, &desk.actor);
    match command {
        Command::Create { id, attributes } => {
            let mut params = attributes.params();
            put(&mut params, "team_id", id);
            output.table(&manager.create_team(actor, params).await?, Table::of_fields)
        }
        Command::List(page) => {
            let list = manager.list_teams(actor, page.offset(), page.size).await?;
            output.table(&list, |list| {
                let rows = list["teams"].as_array().map_or(&[][..], Vec::as_slice);
                let columns = [
                    ("ID", "team_id"),
                    ("ALIAS", "team_alias"),
                    ("ORG", "organization_id"),
                    ("MODELS", "models"),
                    ("SPEND", "spend"),
                    ("BUDGET", "max_budget"),
                    ("BLOCKED", "blocked"),
                ];
                Table::of_rows(rows, &columns).with_footer(format!("{} in all", list["total"]))
            })
        }
        Command::Info { team } => {
            let info = manager.team_info(actor, &team).await?;
            output.tables(&info, |info| {
                let members = info["team_memberships"].as_array().map_or(&[][..], Vec::as_slice);
                let columns = [("MEMBER", "user_id"), ("ROLE", "role"), ("SPEND", "spend"), ("BUDGET ID", "budget_id")];
                vec![Table::of_fields(&info["team_info"]), Table::of_rows(members, &columns), super::key::keys(info)]
            })
        }
        Command::Update { team, attributes } => {
            let mut params = attributes.params();
            put(&mut params, "team_id", Some(team));
            let answer = manager.update_team(actor, params).await?;
            output.table(&answer, |answer| Table::of_fields(&answer["data"]))
        }
        Command::Delete { teams } => {
            let mut params = Params::new();
            put_list(&mut params, "team_ids", &teams);
            let answer = manager.delete_teams(actor, params).await?;
            output.document(&answer, |_| format!("deleted {} team(s)", teams.len()))
        }
        Command::Block { team } => {
            let answer = manager.block_team(actor, &team, true).await?;
            output.document(&answer, |_| format!("blocked {team}"))
        }
        Command::Unblock { team } => {
            let answer = manager.block_team(actor, &team, false).await?;
            output.document(&answer, |_| format!("unblocked {team}"))
        }
        Command::AddMember { team, user, admin, max_budget, budget_duration } => {
            let mut params = Params::new();
            put(&mut params, "team_id", Some(team));
            put(&mut params, "member", Some(json!({"user_id": user, "role": if admin { "admin" } else { "user" }})));
            put(&mut params, "max_budget_in_team", max_budget);
            put(&mut params, "budget_duration", budget_duration);
            output.table(&manager.add_members(actor, params).await?, Table::of_fields)
        }
    }
}
