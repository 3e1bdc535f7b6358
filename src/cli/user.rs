//! `tollward user`.

use clap::{Args, Subcommand};

use super::limits::{Limits, Others, Page, put, put_list};
use super::output::Output;
use super::store::Desk;
use super::table::Table;
use crate::manage::Params;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user and a first key
    Create {
        /// Its id; a random one without it
        #[arg(long)]
        id: Option<String>,
        /// Create no key
        #[arg(long)]
        no_key: bool,
        /// A team to join; repeatable
        #[arg(long = "team", value_name = "ID")]
        teams: Vec<String>,
        #[command(flatten)]
        attributes: Box<Attributes>,
    },
    /// List users
    List(Page),
    /// Show a user, its teams and keys
    Info {
        /// The user's id
        user: String,
    },
    /// Change a user
    Update {
        /// The user's id
        user: String,
        #[command(flatten)]
        attributes: Box<Attributes>,
    },
    /// Delete users with their keys
    Delete {
        /// Ids of users
        #[arg(required = true)]
        users: Vec<String>,
    },
}

/// What a user may be and do.
#[derive(Debug, Args)]
pub(super) struct Attributes {
    /// A name
    #[arg(long)]
    alias: Option<String>,
    /// An e-mail address
    #[arg(long)]
    email: Option<String>,
    /// A role, as in internal_user or proxy_admin
    #[arg(long)]
    role: Option<String>,
    /// The organization it belongs to
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// A model its own keys may call; repeatable, all without one
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
        put(&mut params, "user_alias", self.alias.as_deref());
        put(&mut params, "user_email", self.email.as_deref());
        put(&mut params, "user_role", self.role.as_deref());
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
        Command::Create { id, no_key, teams, attributes } => {
            let mut params = attributes.params();
            put(&mut params, "user_id", id);
            put(&mut params, "auto_create_key", Some(!no_key));
            put_list(&mut params, "teams", &teams);
            super::key::secret(output, &manager.create_user(actor, params).await?.reveal())
        }
        Command::List(page) => {
            let list = manager.list_users(actor, page.offset(), page.size).await?;
            output.table(&list, |list| {
                let rows = list["users"].as_array().map_or(&[][..], Vec::as_slice);
                let columns = [
                    ("ID", "user_id"),
                    ("ALIAS", "user_alias"),
                    ("EMAIL", "user_email"),
                    ("ROLE", "user_role"),
                    ("SPEND", "spend"),
                    ("BUDGET", "max_budget"),
                ];
                Table::of_rows(rows, &columns).with_footer(format!("{} in all", list["total"]))
            })
        }
        Command::Info { user } => {
            let info = manager.user_info(actor, Some(&user)).await?;
            output.tables(&info, |info| vec![Table::of_fields(&info["user_info"]), super::key::keys(info)])
        }
        Command::Update { user, attributes } => {
            let mut params = attributes.params();
            put(&mut params, "user_id", Some(user));
            let answer = manager.update_user(actor, params).await?;
            output.table(&answer, |answer| Table::of_fields(&answer["data"]))
        }
        Command::Delete { users } => {
            let mut params = Params::new();
            put_list(&mut params, "user_ids", &users);
            let answer = manager.delete_users(actor, params).await?;
            output.document(&answer, |_| format!("deleted {} user(s)", users.len()))
        }
    }
}
