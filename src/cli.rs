//! The command line: serve, check, manage, verify. Documents go to standard output, everything else to standard error;
//! the exit code is 0, 1 when something was refused or failed, 2 when the command was not understood.

mod arguments;
mod budget;
mod check;
mod configuration;
mod import;
mod key;
mod ledger;
mod limits;
mod migrate;
mod model;
mod org;
mod output;
mod ready;
mod serve;
mod session;
mod store;
mod table;
mod team;
mod user;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Arguments, Command};
use output::Output;

use crate::config::Config;

/// Parses the command line and does what it says.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, all else is a misunderstanding; nothing is left to do if printing fails.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let output = Output::new(arguments.json, arguments.color);
    match dispatch(arguments, &output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<output::Refused>() => ExitCode::FAILURE,
        Err(error) => {
            output.failure(&error);
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: Arguments, output: &Output) -> anyhow::Result<()> {
    let file = arguments.config;
    match arguments.command {
        Command::Serve => {
            let file = configuration::path(file);
            // Logging needs the configuration, and reading the configuration may warn: defaults first.
            let (config, warnings) = Config::load(file.as_deref(), &|name| std::env::var(name).ok())?;
            crate::telemetry::log::init(&config.telemetry)?;
            for warning in warnings {
                tracing::warn!("{warning}");
            }
            serve::run(config, file)
        }
        Command::Ready { address } => ready::run(file, address, output),
        Command::Check(request) => check::run(configuration::load(file)?, &request, output),
        Command::Config(command) => configuration::run(file, &command, output),
        Command::Model(command) => model::run(&configuration::load(file)?, &command, output),
        Command::Ledger(command) => ledger::run(&configuration::load(file)?, &command, output),
        Command::Import(command) => import::run(&configuration::load(file)?, &command, output),
        Command::Migrate(command) => migrate::run(&configuration::load(file)?, &command, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tollward", &mut script);
            output.bytes(&script)
        }
        Command::Version => output.version(),
        Command::Key(command) => manage(file, |desk| key::run(desk, command, output)),
        Command::Team(command) => manage(file, |desk| team::run(desk, command, output)),
        Command::User(command) => manage(file, |desk| user::run(desk, command, output)),
        Command::Org(command) => manage(file, |desk| org::run(desk, command, output)),
        Command::Budget(command) => manage(file, |desk| budget::run(desk, command, output)),
        Command::Session(command) => manage(file, |desk| session::run(desk, command, output)),
    }
}

/// Opens the directory and runs one operation on it, on this thread.
fn manage<F>(file: Option<std::path::PathBuf>, operation: impl FnOnce(store::Desk) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let config = configuration::load(file)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let desk = store::Desk::open(config).await?;
        operation(desk).await
    })
}
