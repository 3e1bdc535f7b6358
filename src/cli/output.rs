//! The only place that writes to the terminal: documents to standard output, messages to standard error. A reader that
//! went away (`| head`) is no failure.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use serde_json::Value;

use super::table::Table;
use crate::manage::ManageError;

/// How this run prints.
pub(super) struct Output {
    json: bool,
    color: ColorChoice,
}

impl Output {
    pub fn new(json: bool, color: ColorChoice) -> Self {
        Output { json, color }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a document with `--json`, else what `human` makes of it.
    pub fn document(&self, document: &Value, human: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        if self.json { self.line(&serde_json::to_string_pretty(document)?) } else { self.line(&human(document)) }
    }

    /// Prints a document with `--json`, else a table: with colours and borders on a terminal, plain and aligned in a
    /// pipe.
    pub fn table(&self, document: &Value, table: impl FnOnce(&Value) -> Table) -> anyhow::Result<()> {
        let style = self.style();
        self.document(document, |document| table(document).render(style))
    }

    /// Like [`Output::table`] for several tables; empty ones are left out.
    pub fn tables(&self, document: &Value, tables: impl FnOnce(&Value) -> Vec<Table>) -> anyhow::Result<()> {
        let style = self.style();
        let shown = |document: &Value| {
            let tables = tables(document).into_iter().filter(|table| !table.is_empty());
            tables.map(|table| table.render(style)).collect::<Vec<_>>().join("\n\n")
        };
        self.document(document, shown)
    }

    pub fn line(&self, text: &str) -> anyhow::Result<()> {
        self.bytes(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
    }

    pub fn bytes(&self, bytes: &[u8]) -> anyhow::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        Ok(stdout.flush()?)
    }

    /// A remark beside the document.
    pub fn hint(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // There is nowhere left to tell that this failed.
        let _ = writeln!(stderr, "{text}");
    }

    /// Says what is being done, where somebody watches.
    pub fn progress(&self) -> Progress {
        Progress { shows: io::stderr().is_terminal() }
    }

    /// Why the command failed; with `--json` as an error object.
    pub fn failure(&self, error: &anyhow::Error) {
        match (self.json, error.downcast_ref::<ManageError>()) {
            (true, Some(refused)) => self.hint(&refused.body().to_string()),
            (true, None) => self.hint(&serde_json::json!({"error": {"message": format!("{error:#}")}}).to_string()),
            (false, _) => self.hint(&format!("{} {error:#}", self.paint_error("error:"))),
        }
    }

    pub fn version(&self) -> anyhow::Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        let document = serde_json::json!({"name": "tollward", "version": version});
        self.document(&document, |_| format!("tollward {version}"))
    }

    /// Whether what goes to standard output may have colours.
    pub fn colors_stdout(&self) -> bool {
        self.colors(io::stdout().is_terminal())
    }

    fn style(&self) -> Style {
        let terminal = io::stdout().is_terminal();
        Style { borders: terminal, colors: self.colors(terminal) }
    }

    fn colors(&self, terminal: bool) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            // https://no-color.org: set and not empty.
            ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    fn paint_error(&self, text: &str) -> String {
        if self.colors(io::stderr().is_terminal()) { format!("\x1b[1;31m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// One line of a terminal that is written again and again, and gone in the end. In a pipe there is none.
pub(super) struct Progress {
    shows: bool,
}

impl Progress {
    pub fn show(&mut self, what: &str) {
        self.write(&format!("\r\x1b[K{}", super::table::printable(what)));
    }

    fn write(&self, text: &str) {
        if self.shows {
            let mut stderr = io::stderr().lock();
            // There is nowhere left to tell that this failed.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.write("\r\x1b[K");
    }
}

/// The gate would refuse: told already, and the exit code says it again.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the gate would refuse this request")]
pub(super) struct Refused;

/// How a table looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub borders: bool,
    pub colors: bool,
}

/// Whether a failure only says that nobody reads any more.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
