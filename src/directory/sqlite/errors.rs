//! What SQLite's errors mean to a caller.

use rusqlite::ErrorCode;

use super::super::DirectoryError;

pub(super) fn unavailable(why: impl std::fmt::Display) -> DirectoryError {
    DirectoryError::Unavailable(why.to_string())
}

/// A full or read-only disk is `Full`, and values that cannot be kept are `Refused`: nothing was written. A value of the wrong type is `Corrupt`. All else is the
/// database's trouble, never the credential's.
pub(super) fn of(error: rusqlite::Error) -> DirectoryError {
    match &error {
        rusqlite::Error::SqliteFailure(failure, _)
            if matches!(failure.code, ErrorCode::DiskFull | ErrorCode::ReadOnly)
                || failure.extended_code == rusqlite::ffi::SQLITE_IOERR_WRITE =>
        {
            DirectoryError::Full(error.to_string())
        }
        rusqlite::Error::SqliteFailure(failure, _)
            if matches!(failure.code, ErrorCode::TooBig | ErrorCode::TypeMismatch) =>
        {
            DirectoryError::Refused(error.to_string())
        }
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::Utf8Error(..) => DirectoryError::Corrupt(error.to_string()),
        _ => unavailable(error),
    }
}

/// The unique columns that a write ran into, as `table.column` names.
pub(super) fn violated(error: &rusqlite::Error) -> Option<&str> {
    match error {
        rusqlite::Error::SqliteFailure(failure, message) if failure.code == ErrorCode::ConstraintViolation => {
            Some(message.as_deref().unwrap_or_default())
        }
        _ => None,
    }
}
