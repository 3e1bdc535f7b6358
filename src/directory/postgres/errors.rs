//! What PostgreSQL's errors mean to a caller.

use tokio_postgres::error::SqlState;

use super::super::DirectoryError;
use super::super::session::Failure;

pub(super) fn unavailable(why: impl std::fmt::Display) -> DirectoryError {
    DirectoryError::Unavailable(why.to_string())
}

/// Classes of SQLSTATE that are about the values and not about the database: data exceptions, and limits such as that of
/// an entry of an index.
const OF_VALUES: [&str; 2] = ["22", "54"];

/// A full disk is `Full`, and values that cannot be kept are `Refused`: nothing was written. All else is the database's trouble, never the credential's.
pub(super) fn of(error: &tokio_postgres::Error) -> DirectoryError {
    let said = said(error);
    match error.code() {
        Some(code) if *code == SqlState::DISK_FULL => DirectoryError::Full(said),
        Some(code) if OF_VALUES.iter().any(|class| code.code().starts_with(class)) => DirectoryError::Refused(said),
        Some(code) if *code == SqlState::INVALID_SQL_STATEMENT_NAME || *code == SqlState::DUPLICATE_PSTATEMENT => {
            unavailable(format!("{said}: behind a pooler in transaction mode set directory.prepared_statements: off"))
        }
        _ => unavailable(said),
    }
}

/// The whole of an error: the library's own text leaves out what the server said.
pub(super) fn said(error: &tokio_postgres::Error) -> String {
    let mut text = match error.as_db_error() {
        Some(server) => format!("{} ({})", server.message(), server.code().code()),
        None => error.to_string(),
    };
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause.filter(|_| text.len() < 500) {
        let more = error.to_string();
        if !text.contains(&more) && !more.contains(&text) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

/// Why a statement changed nothing: the unique index says what is taken.
pub(super) fn failure(error: &tokio_postgres::Error) -> Failure {
    let Some(server) = error.as_db_error().filter(|error| *error.code() == SqlState::UNIQUE_VIOLATION) else {
        return Failure::Other(of(error));
    };
    Failure::Taken(match server.constraint() {
        Some("keys_by_alias") => Some("key alias"),
        Some("users_by_sso_user_id") => Some("SSO user of"),
        Some("access_groups_by_name") => Some("name of access group"),
        _ => None,
    })
}
