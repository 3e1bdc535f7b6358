//! What an import read, what became of it, and what could not be carried: counted by table, column and reason, with a
//! few rows by name.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::directory::import::{Imported, Obstacle};
use crate::domain::Account;

/// Rows named for one remark.
const EXAMPLES: usize = 3;

/// The rows of one table of LiteLLM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableReport {
    /// LiteLLM's name.
    pub table: &'static str,
    /// Ours.
    pub into: &'static str,
    pub read: u64,
    pub imported: u64,
    /// Were there before, and stay as they are.
    pub unchanged: u64,
    /// Are not imported; the remarks say why.
    pub skipped: u64,
}

/// What was not carried as it was, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    pub table: String,
    /// Empty where it is about the row.
    pub column: String,
    pub reason: String,
    /// Rows; zero where it is about a whole table.
    pub count: u64,
    /// A few of them, by name.
    pub examples: Vec<String>,
    /// Whether these rows were left out.
    pub skipped: bool,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    pub dry_run: bool,
    pub tables: Vec<TableReport>,
    /// What entities had spent, as opening records of the ledger.
    pub opening_records: u64,
    pub opening_nanodollars: i64,
    pub remarks: Vec<Remark>,
    /// Accounts on which something was spent before: what is counted of them must be loaded again.
    #[serde(skip)]
    pub accounts: Vec<Account>,
    #[serde(skip)]
    found: BTreeMap<(String, String, String), Remark>,
    /// Names of rows for people, by our table and the name in the directory.
    #[serde(skip)]
    names: BTreeMap<(&'static str, String), String>,
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Report {
        Report { dry_run, ..Report::default() }
    }

    /// A table that is read into another; answers its place.
    pub(super) fn table(&mut self, table: &'static str, into: &'static str) -> &mut TableReport {
        let place = self.tables.iter().position(|known| known.table == table).unwrap_or_else(|| {
            self.tables.push(TableReport { table, into, ..TableReport::default() });
            self.tables.len() - 1
        });
        &mut self.tables[place]
    }

    /// Something about a value that does not keep its row from being imported.
    pub(super) fn remark(&mut self, table: &str, column: &str, reason: &str, name: &str) {
        self.add(table, column, reason, name, false);
    }

    /// A row that is left out.
    pub(super) fn skip(&mut self, table: &'static str, column: &str, reason: &str, name: &str) {
        self.add(table, column, reason, name, true);
        if let Some(counted) = self.tables.iter_mut().find(|known| known.table == table) {
            counted.skipped += 1;
        }
    }

    /// Something about a whole table or column.
    pub(super) fn about(&mut self, table: &str, column: &str, reason: &str) {
        let place = (table.to_owned(), column.to_owned(), reason.to_owned());
        self.found.entry(place).or_insert_with(|| remark(table, column, reason, false));
    }

    /// How people know a row that the directory calls by a hash.
    pub(super) fn call(&mut self, into: &'static str, name: String, shown: String) {
        self.names.insert((into, name), shown);
    }

    fn add(&mut self, table: &str, column: &str, reason: &str, name: &str, skipped: bool) {
        let place = (table.to_owned(), column.to_owned(), reason.to_owned());
        let entry = self.found.entry(place).or_insert_with(|| remark(table, column, reason, skipped));
        entry.count += 1;
        entry.skipped |= skipped;
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(name.to_owned());
        }
    }

    /// Adds what the directory made of it.
    pub(super) fn finish(&mut self, imported: &Imported) {
        for report in &mut self.tables {
            let tally = imported.tables.get(report.into).copied().unwrap_or_default();
            (report.imported, report.unchanged) = (tally.imported, tally.unchanged);
        }
        for (into, name, obstacle) in &imported.obstacles {
            let table = self.tables.iter().find(|known| known.into == *into).map_or(*into, |known| known.table);
            let shown = self.names.get(&(*into, name.clone())).cloned();
            let shown = shown.unwrap_or_else(|| if name.len() == 64 { name[..8].to_owned() } else { name.clone() });
            if obstacle.skips() {
                self.skip(table, "", told(*obstacle), &shown);
            } else {
                self.remark(table, "", told(*obstacle), &shown);
            }
        }
        self.accounts.clone_from(&imported.accounts);
        self.opening_records = imported.records;
        self.opening_nanodollars = imported.opening.as_nanos();
        self.remarks = std::mem::take(&mut self.found).into_values().collect();
        self.names.clear();
    }
}

fn remark(table: &str, column: &str, reason: &str, skipped: bool) -> Remark {
    Remark {
        table: table.to_owned(),
        column: column.to_owned(),
        reason: reason.to_owned(),
        count: 0,
        examples: Vec::new(),
        skipped,
    }
}

fn told(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::RemovedHere => "imported before, and deleted or rotated here since: it stays away",
        Obstacle::NameTaken => "its alias or SSO id belongs to another row: imported without it",
        Obstacle::RowTaken => "another row has its name",
        Obstacle::StillAKey => {
            "rotated since it was imported, and still a key of its own here: delete it where it shall not work on"
        }
        Obstacle::KeyMissing => "the key it belongs to is not in the directory",
    }
}
