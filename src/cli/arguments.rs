//! What may stand on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ColorChoice, Parser, Subcommand};

use super::{budget, check, configuration, import, key, ledger, migrate, model, org, session, team, user};

/// The heading of what every command takes, so that it does not stand among a command's own.
const GLOBAL: &str = "Global options";

/// An Envoy external-authorization service for AI traffic.
#[derive(Debug, Parser)]
#[command(name = "tollward", version, about, arg_required_else_help = true, disable_help_subcommand = true)]
pub(super) struct Arguments {
    /// The configuration file [default: tollward.yaml, where there is one]
    #[arg(long, short, global = true, env = "TOLLWARD_CONFIG", value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of a table
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto, help_heading = GLOBAL)]
    pub color: ColorChoice,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve Envoy, the management API and metrics
    Serve,
    /// Ask a running server whether it is ready (for health checks)
    Ready {
        /// Its operations port [default: `listen.ops` of the configuration]
        address: Option<SocketAddr>,
    },
    /// Explain what the gate would decide about a request
    Check(check::Request),
    /// Look at the configuration
    #[command(subcommand)]
    Config(configuration::Command),
    /// Manage virtual keys
    #[command(subcommand)]
    Key(key::Command),
    /// Manage teams
    #[command(subcommand)]
    Team(team::Command),
    /// Manage users
    #[command(subcommand)]
    User(user::Command),
    /// Manage organizations
    #[command(subcommand)]
    Org(org::Command),
    /// Manage budgets that others refer to
    #[command(subcommand)]
    Budget(budget::Command),
    /// Issue and end sessions of users
    #[command(subcommand)]
    Session(session::Command),
    /// See the models of the configuration
    #[command(subcommand)]
    Model(model::Command),
    /// Look after the ledger
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Move in from another gate
    #[command(subcommand)]
    Import(import::Command),
    /// Bring the directory's tables to this version
    Migrate(migrate::Command),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_users_type_is_understood() {
        for line in [
            "tollward serve",
            "tollward ready",
            "tollward ready 127.0.0.1:9003 --json",
            "tollward --config x.yaml serve",
            "tollward check --path /v1/chat/completions --header authorization:Bearer\\ x --source 10.0.0.1",
            "tollward config validate --json",
            "tollward config schema",
            "tollward key create --alias a --team t --user u --model m --model n --max-budget 1.5 --budget-duration 30d",
            "tollward key create --rpm 5 --tpm 100 --max-parallel 2 --expires-in 30d --tag a --set guardrails=[\"g\"]",
            "tollward key update k --clear max_budget --expires-in never",
            "tollward key list --team t --page 2 --json",
            "tollward key regenerate k --grace-period 1h",
            "tollward team add-member t u --admin --max-budget 3",
            "tollward user create --id u --role internal_user --no-key",
            "tollward org create acme --max-budget 100",
            "tollward budget create --id b --rpm 3",
            "tollward session issue --user u --team t --ttl 8h",
            "tollward session list --user u --json",
            "tollward session revoke 0a1b",
            "tollward session revoke --user u",
            "tollward model list",
            "tollward ledger verify",
            "tollward import litellm --from postgres://u:p@h/d --dry-run --json",
            "tollward completions bash",
            "tollward version",
        ] {
            let words = line.replace("\\ ", "\u{0}");
            let words = words.split(' ').map(|word| word.replace('\u{0}', " "));
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
        for line in [
            "tollward key create --max-budget much",
            "tollward key",
            "tollward key delete",
            "tollward session issue --user u --ttl long",
            "tollward session revoke",
            "tollward session revoke 0a1b --user u",
            "tollward fly",
        ] {
            assert!(Arguments::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
