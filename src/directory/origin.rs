//! Where the directory is: the configuration's URL, and what else depends on which engine it names.

use std::path::PathBuf;
use std::sync::Arc;

use super::migrations::{Mode, Schema};
use super::postgres::{self, Place};
use super::{DirectoryError, Result, sqlite};
use crate::config::{Config, is_postgres};
use crate::domain::Secret;

/// See the module.
#[derive(Clone)]
pub(super) enum Origin {
    File(PathBuf),
    Postgres(Arc<Place>),
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Origin::File(file) => file.fmt(f),
            Origin::Postgres(_) => f.write_str("PostgreSQL"),
        }
    }
}

impl Origin {
    /// `directory.url`, else `general_settings.database_url`, else `DATABASE_URL`, else `sqlite://tollward.db`.
    pub(super) fn of(config: &Config) -> Result<Origin> {
        let configured = config.directory.url.as_ref().or(config.general_settings.database_url.as_ref()).cloned();
        let environment = || std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty()).map(Secret::new);
        let url = configured.or_else(environment).unwrap_or_else(|| Secret::new("sqlite://tollward.db"));
        if is_postgres(url.expose()) {
            return Ok(Origin::Postgres(Arc::new(Place::of(&config.directory, &url)?)));
        }
        let url = url.expose();
        let file = url.strip_prefix("sqlite://").filter(|file| !file.is_empty() && !file.starts_with(':'));
        // What follows the scheme may hold a password and is not repeated.
        file.map(|file| Origin::File(PathBuf::from(file))).ok_or_else(|| {
            let scheme = url.split_once("://").map_or("no scheme", |(scheme, _)| scheme);
            DirectoryError::Unavailable(format!(
                "directory.url has {scheme:?} where sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE is \
                 expected, as in sqlite://tollward.db"
            ))
        })
    }

    pub(super) fn default_spool(&self) -> PathBuf {
        match self {
            Origin::File(file) => {
                let mut folder = file.as_os_str().to_owned();
                folder.push(".spool");
                folder.into()
            }
            Origin::Postgres(_) => PathBuf::from("tollward.spool"),
        }
    }
}

/// Brings the tables of the configured directory to the version of this program, or with `Mode::Check` only looks.
/// Answers how they were found.
pub async fn migrate(config: &Config, mode: Mode) -> Result<Schema> {
    match Origin::of(config)? {
        Origin::File(file) => sqlite::migrate(&file, mode).await,
        Origin::Postgres(place) => postgres::migrate(&place, mode).await,
    }
}
