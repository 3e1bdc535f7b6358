//! The LiteLLM database as it is read: one read-only snapshot, one cursor a table, every row as JSON, and a bound in
//! time on whatever is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::ImportError;
use super::row::SourceRow;
use super::url::{Address, told};
use crate::directory::tls;
use crate::domain::Secret;

/// Rows that are read at a time.
const BATCH: usize = 500;
/// What the server may take for a statement, and what we wait for it.
const STATEMENT: &str = "60s";
const PATIENCE: Duration = Duration::from_secs(75);

/// A snapshot of the database.
pub(super) struct Source {
    client: Client,
    connection: JoinHandle<()>,
    schema: String,
    /// Columns by table, in order.
    tables: BTreeMap<String, Vec<String>>,
}

impl Source {
    pub(super) async fn open(url: &Secret) -> Result<Source, ImportError> {
        let address = Address::parse(url)?;
        let connect = |why: String| ImportError::Connect(why);
        let tls = tls::connector(address.config.get_ssl_mode(), address.roots.as_deref()).map_err(connect)?;
        let connected = tokio::time::timeout(PATIENCE, address.config.connect(tls)).await;
        let (client, connection) =
            connected.map_err(|_| connect("no answer".to_owned()))?.map_err(|error| connect(connecting(&error)))?;
        let connection = tokio::spawn(async move {
            // Whoever waits for an answer is told why there is none.
            let _ = connection.await;
        });
        let mut source = Source { client, connection, schema: address.schema, tables: BTreeMap::new() };
        source.begin().await?;
        Ok(source)
    }

    async fn begin(&mut self) -> Result<(), ImportError> {
        // Floats in as many digits as they have, times in UTC, whatever this database's defaults are.
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = '{STATEMENT}'; \
             SET LOCAL lock_timeout = '10s'; SET LOCAL extra_float_digits = 3; SET LOCAL timezone = 'UTC'"
        );
        self.ask(&begin).await?;
        let columns = format!(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = {} \
             AND table_name LIKE 'LiteLLM\\_%' ORDER BY table_name, ordinal_position",
            literal(&self.schema)
        );
        for row in self.ask(&columns).await? {
            if let [Some(table), Some(column)] = &row[..] {
                self.tables.entry(table.clone()).or_default().push(column.clone());
            }
        }
        if self.tables.is_empty() { Err(ImportError::NoTables(self.schema.clone())) } else { Ok(()) }
    }

    /// The tables of LiteLLM that are there.
    pub(super) fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub(super) fn has_column(&self, table: &str, column: &str) -> bool {
        self.tables.get(table).is_some_and(|columns| columns.iter().any(|known| known == column))
    }

    pub(super) async fn is_empty(&mut self, table: &str) -> Result<bool, ImportError> {
        let text = format!("SELECT 1 FROM {}.{} LIMIT 1", identifier(&self.schema), identifier(table));
        Ok(self.ask(&text).await?.is_empty())
    }

    /// Hands every row of a table to `take`, in the order of `order`; columns named by `unread` stay where they are. A
    /// table that is not there has no rows.
    pub(super) async fn each(
        &mut self,
        table: &str,
        order: &[&str],
        unread: &[&str],
        mut take: impl FnMut(SourceRow),
    ) -> Result<(), ImportError> {
        let Some(columns) = self.tables.get(table) else { return Ok(()) };
        let listed: Vec<_> = columns.iter().filter(|column| !unread.contains(&column.as_str())).collect();
        let listed: Vec<_> = listed.into_iter().map(|column| identifier(column)).collect();
        let order = order.iter().filter(|column| self.has_column(table, column)).map(|column| identifier(column));
        let order = order.collect::<Vec<_>>().join(", ");
        let order = if order.is_empty() { order } else { format!(" ORDER BY {order}") };
        let declare = format!(
            "DECLARE tollward_import NO SCROLL CURSOR FOR \
             SELECT row_to_json(r)::text FROM (SELECT {} FROM {}.{}{order}) r",
            listed.join(", "),
            identifier(&self.schema),
            identifier(table)
        );
        self.ask(&declare).await?;
        let fetch = format!("FETCH {BATCH} FROM tollward_import");
        loop {
            let rows = self.ask(&fetch).await?;
            let last = rows.len() < BATCH;
            for row in rows {
                let json = row.into_iter().next().flatten().unwrap_or_default();
                let row = SourceRow::parse(&json).map_err(|why| ImportError::Read(format!("{table}: {why}")))?;
                take(row);
            }
            if last {
                break;
            }
        }
        self.ask("CLOSE tollward_import").await.map(drop)
    }

    /// Runs statements; the rows of all of them.
    async fn ask(&self, text: &str) -> Result<Vec<Vec<Option<String>>>, ImportError> {
        let answer = tokio::time::timeout(PATIENCE, self.client.simple_query(text)).await;
        let answer = answer.map_err(|_| ImportError::Read(format!("no answer within {} s", PATIENCE.as_secs())))?;
        let messages = answer.map_err(|error| ImportError::Read(told(&error)))?;
        let rows = messages.into_iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|n| row.get(n).map(str::to_owned)).collect::<Vec<_>>())
            }
            _ => None,
        });
        Ok(rows.collect())
    }

    /// Ends the snapshot and the connection.
    pub(super) async fn close(self) {
        // The transaction read and has nothing to keep; dropping the connection ends it too.
        let _ = self.ask("ROLLBACK").await;
        drop(self.client);
        let _ = self.connection.await;
    }
}

/// Why there is no connection; TLS that cannot be had is the usual reason.
fn connecting(error: &tokio_postgres::Error) -> String {
    let text = told(error);
    if text.contains("ertificate") || text.contains("TLS") {
        return format!("{text} (name who signed it with sslrootcert=FILE, or do without TLS with sslmode=disable)");
    }
    text
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
