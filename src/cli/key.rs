//! `tollward key`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::limits::{Limits, Others, Page, put, put_list};
use super::output::Output;
use super::store::Desk;
use super::table::Table;
use crate::manage::{KeyName, Params};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Issue a key; its secret is shown once
    Create(Box<Create>),
    /// List keys
    List(List),
    /// Show a key
    Info {
        /// The key: its secret, hash or alias
        key: String,
    },
    /// Change a key
    Update(Box<Update>),
    /// Delete keys
    Delete {
        /// Keys: secrets, hashes or aliases
        #[arg(required = true)]
        keys: Vec<String>,
    },
    /// Refuse all use of a key
    Block {
        /// The key: its secret, hash or alias
        key: String,
    },
    /// Let a blocked key be used again
    Unblock {
        /// The key: its secret, hash or alias
        key: String,
    },
    /// Give a key a new secret
    Regenerate {
        /// The key: its secret, hash or alias
        key: String,
        /// How long the old secret keeps working, as in 1h
        #[arg(long, value_name = "DURATION")]
        grace_period: Option<String>,
        /// How long the key lives from now, as in 30d
        #[arg(long, value_name = "DURATION")]
        expires_in: Option<String>,
    },
}

/// What a key may be and do.
#[derive(Debug, Args)]
pub(super) struct Attributes {
    /// A unique name
    #[arg(long)]
    alias: Option<String>,
    /// The team it belongs to
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// The user it belongs to
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The organization it belongs to
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// A model it may call; repeatable, all without one
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// A tag every request of it carries; repeatable
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// A route or group of routes it may use; repeatable
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// An address or network it may be used from, as in 10.0.0.0/8; repeatable
    #[arg(long = "allowed-ip", value_name = "ADDRESS")]
    allowed_ips: Vec<String>,
    /// A budget row it refers to
    #[arg(long, value_name = "ID")]
    budget: Option<String>,
    /// How long it lives from now, as in 30d; `never` lifts an expiry
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    others: Others,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// What it is for
    #[arg(long = "type", value_name = "TYPE", value_parser = ["llm_api", "management", "read_only", "default"])]
    key_type: Option<String>,
    #[command(flatten)]
    attributes: Attributes,
}

#[derive(Debug, Args)]
pub(super) struct Update {
    /// The key: its secret, hash or alias
    key: String,
    /// Dollars it has spent, as of now; only while no server runs
    #[arg(long, value_name = "DOLLARS", allow_negative_numbers = true)]
    spend: Option<f64>,
    #[command(flatten)]
    attributes: Attributes,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Of this user
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Of this team
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Of this organization
    #[arg(long, value_name = "ID")]
    org: Option<String>,
    /// With this alias
    #[arg(long)]
    alias: Option<String>,
    #[command(flatten)]
    page: Page,
}

impl Attributes {
    fn params(&self) -> Params {
        let mut params = Params::new();
        put(&mut params, "key_alias", self.alias.as_deref());
        put(&mut params, "team_id", self.team.as_deref());
        put(&mut params, "user_id", self.user.as_deref());
        put(&mut params, "organization_id", self.org.as_deref());
        put_list(&mut params, "models", &self.models);
        put_list(&mut params, "tags", &self.tags);
        put_list(&mut params, "allowed_routes", &self.routes);
        put_list(&mut params, "allowed_ips", &self.allowed_ips);
        put(&mut params, "budget_id", self.budget.as_deref());
        let expires_in = self.expires_in.as_deref().map(|text| if text == "never" { "-1" } else { text });
        put(&mut params, "duration", expires_in);
        self.limits.write(&mut params);
        self.others.write(&mut params);
        params
    }
}

pub(super) async fn run(desk: Desk, command: Command, output: &Output) -> anyhow::Result<()> {
    let (manager, actor) = (&desk.manager, &desk.actor);
    match command {
        Command::Create(create) => {
            let mut params = create.attributes.params();
            put(&mut params, "key_type", create.key_type);
            secret(output, &manager.generate_key(actor, params).await?.reveal())
        }
        Command::List(list) => {
            let mut params = Params::new();
            put(&mut params, "user_id", list.user);
            put(&mut params, "team_id", list.team);
            put(&mut params, "organization_id", list.org);
            put(&mut params, "key_alias", list.alias);
            put(&mut params, "page", Some(list.page.page));
            put(&mut params, "size", Some(list.page.size));
            put(&mut params, "return_full_object", Some(true));
            output.table(&manager.list_keys(actor, params).await?, keys_table)
        }
        Command::Info { key } => {
            let info = manager.key_info(actor, Some(&KeyName::new(key))).await?;
            output.table(&info, |info| Table::of_fields(&info["info"]))
        }
        Command::Update(update) => {
            let mut params = update.attributes.params();
            put(&mut params, "key", Some(update.key));
            put(&mut params, "spend", update.spend);
            output.table(&manager.update_key(actor, params).await?, Table::of_fields)
        }
        Command::Delete { keys } => {
            let mut params = Params::new();
            put_list(&mut params, "keys", &keys);
            let answer = manager.delete_keys(actor, params).await?;
            output.document(&answer, |_| format!("deleted {} key(s)", keys.len()))
        }
        Command::Block { key } => {
            let name = KeyName::new(key);
            let answer = manager.block_key(actor, &name, true).await?;
            output.document(&answer, |_| format!("blocked {}", name.shown()))
        }
        Command::Unblock { key } => {
            let name = KeyName::new(key);
            let answer = manager.block_key(actor, &name, false).await?;
            output.document(&answer, |_| format!("unblocked {}", name.shown()))
        }
        Command::Regenerate { key, grace_period, expires_in } => {
            let mut params = Params::new();
            put(&mut params, "grace_period", grace_period);
            put(&mut params, "duration", expires_in);
            secret(output, &manager.regenerate_key(actor, Some(&KeyName::new(key)), params).await?.reveal())
        }
    }
}

/// Prints a row that holds a fresh secret, and says so beside it.
pub(super) fn secret(output: &Output, row: &Value) -> anyhow::Result<()> {
    output.table(row, Table::of_fields)?;
    if !output.is_json() && row["key"].is_string() {
        output.hint("Store the key now: it is not kept here and cannot be shown again.");
    }
    Ok(())
}

/// A page of keys.
fn keys_table(document: &Value) -> Table {
    let footer =
        format!("page {} of {}, {} in all", document["current_page"], document["total_pages"], document["total_count"]);
    keys(document).with_footer(footer)
}

/// The rows of `keys`.
pub(super) fn keys(document: &Value) -> Table {
    const COLUMNS: [(&str, &str); 9] = [
        ("KEY", "key_name"),
        ("ALIAS", "key_alias"),
        ("STATUS", "status"),
        ("USER", "user_id"),
        ("TEAM", "team_id"),
        ("MODELS", "models"),
        ("SPEND", "spend"),
        ("BUDGET", "max_budget"),
        ("HASH", "token"),
    ];
    let rows = document["keys"].as_array().map_or(&[][..], Vec::as_slice);
    Table::of_rows(rows, &COLUMNS)
}
