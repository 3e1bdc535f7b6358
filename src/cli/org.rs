//! `tollward org`.

use clap::Subcommand;

use super::limits::{Limits, Others, Page, put, put_list};
use super::output::Output;
use super::store::Desk;
use super::table::Table;
use crate::manage::Params;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an organization
    Create {
        /// Its name
        alias: String,
        /// Its id; a random one without it
        #[arg(long)]
        id: Option<String>,
        /// A model it may call; repeatable, all without one
        #[arg(long = "model", value_name = "NAME")]
        models: Vec<String>,
        #[command(flatten)]
        limits: Box<Limits>,
        #[command(flatten)]
        others: Others,
    },
    /// List organizations
    List(Page),
    /// Show an organization
    Info {
        /// The organization's id
        org: String,
    },
    /// Delete organizations that have no teams left
    Delete {
        /// Ids of organizations
        #[arg(required = true)]
        orgs: Vec<String>,
    },
}

pub(super) async fn run(desk: Desk, command: Command, output: &Output) -> anyhow::Result<()> {
    let (manager, actor) = (&desk.manager, &desk.actor);
    match command {
        Command::Create { alias, id, models, limits, others } => {
            let mut params = Params::new();
            put(&mut params, "organization_alias", Some(alias));
            put(&mut params, "organization_id", id);
            put_list(&mut params, "models", &models);
            limits.write(&mut params);
            others.write(&mut params);
            output.table(&manager.create_organization(actor, params).await?, Table::of_fields)
        }
        Command::List(page) => {
            let list = manager.list_organizations(actor, page.offset(), page.size).await?;
            output.table(&list, |list| {
                let rows = list.as_array().map_or(&[][..], Vec::as_slice);
                let columns = [
                    ("ID", "organization_id"),
                    ("ALIAS", "organization_alias"),
                    ("MODELS", "models"),
                    ("SPEND", "spend"),
                    ("BUDGET", "max_budget"),
                ];
                Table::of_rows(rows, &columns)
            })
        }
        Command::Info { org } => output.table(&manager.organization_info(actor, &org).await?, Table::of_fields),
        Command::Delete { orgs } => {
            let mut params = Params::new();
            put_list(&mut params, "organization_ids", &orgs);
            let answer = manager.delete_organizations(actor, params).await?;
            output.document(&answer, |_| format!("deleted {} organization(s)", orgs.len()))
        }
    }
}
