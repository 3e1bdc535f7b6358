//! `tollward budget`.

use clap::Subcommand;

use super::limits::{Limits, Others, Page, put};
use super::output::Output;
use super::store::Desk;
use super::table::Table;
use crate::manage::Params;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a budget
    Create {
        /// Its id; a random one without it
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        limits: Box<Limits>,
        #[command(flatten)]
        others: Others,
    },
    /// List budgets
    List(Page),
    /// Change a budget for all that refer to it
    Update {
        /// The budget's id
        budget: String,
        #[command(flatten)]
        limits: Box<Limits>,
        #[command(flatten)]
        others: Others,
    },
    /// Delete a budget
    Delete {
        /// The budget's id
        budget: String,
    },
}

pub(super) async fn run(desk: Desk, command: Command, output: &Output) -> anyhow::Result<()> {
    let (manager, actor) = (&desk.manager, &desk.actor);
    let params = |id: Option<String>, limits: &Limits, others: &Others| {
        let mut params = Params::new();
        put(&mut params, "budget_id", id);
        limits.write(&mut params);
        others.write(&mut params);
        params
    };
    match command {
        Command::Create { id, limits, others } => {
            let answer = manager.create_budget(actor, params(id, &limits, &others)).await?;
            output.table(&answer, Table::of_fields)
        }
        Command::List(page) => {
            let list = manager.list_budgets(actor, page.offset(), page.size).await?;
            output.table(&list, |list| {
                let rows = list.as_array().map_or(&[][..], Vec::as_slice);
                let columns = [
                    ("ID", "budget_id"),
                    ("BUDGET", "max_budget"),
                    ("PERIOD", "budget_duration"),
                    ("RPM", "rpm_limit"),
                    ("TPM", "tpm_limit"),
                    ("PARALLEL", "max_parallel_requests"),
                ];
                Table::of_rows(rows, &columns)
            })
        }
        Command::Update { budget, limits, others } => {
            let answer = manager.update_budget(actor, params(Some(budget), &limits, &others)).await?;
            output.table(&answer, Table::of_fields)
        }
        Command::Delete { budget } => {
            let answer = manager.delete_budget(actor, &budget).await?;
            output.document(&answer, |_| format!("deleted {budget}"))
        }
    }
}
