//! Which headers say who calls, in every way of writing their names.

use std::sync::Arc;

use crate::config::ProxyMappings;
use crate::request::is_alike;

/// What a header says of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    UserId,
    UserEmail,
    TeamId,
    TeamAlias,
    OrgId,
    Models,
    MaxBudget,
    UserRole,
}

impl Field {
    const ALL: [Field; 8] = [
        Field::UserId,
        Field::UserEmail,
        Field::TeamId,
        Field::TeamAlias,
        Field::OrgId,
        Field::Models,
        Field::MaxBudget,
        Field::UserRole,
    ];
}

/// The identity headers of a configuration.
#[derive(Clone, Debug, Default)]
pub struct IdentityHeaders {
    /// What is read, its key in the configuration, and the header's name in lower case.
    pub(super) fields: Vec<(Field, &'static str, String)>,
    /// Headers that say it by a signature.
    signed: Vec<String>,
}

impl IdentityHeaders {
    #[must_use]
    pub fn of(mappings: &ProxyMappings) -> Self {
        let entries = Field::ALL.into_iter().zip(mappings.entries());
        let mapped = entries.filter_map(|(field, (key, name))| Some((field, key, name?.to_ascii_lowercase())));
        IdentityHeaders { fields: mapped.collect(), signed: Vec::new() }
    }

    /// These, and headers that say it by a signature; `None` where there are neither.
    #[must_use]
    pub fn keep(headers: Option<Arc<IdentityHeaders>>, signed: Vec<String>) -> Option<Arc<IdentityHeaders>> {
        if signed.is_empty() {
            return headers;
        }
        let fields = headers.map(|headers| headers.fields.clone()).unwrap_or_default();
        Some(Arc::new(IdentityHeaders { fields, signed }))
    }

    /// Whether a header of this name is one of them, or would be taken for one of them by a server that reads `_` as
    /// `-`.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.fields.iter().map(|(_, _, mapped)| mapped).chain(&self.signed).any(|known| is_alike(known, name))
    }

    /// Whether a header is none of them and only looks like one.
    pub(super) fn is_look_alike(&self, name: &str) -> bool {
        self.holds(name) && !self.fields.iter().any(|(_, _, mapped)| mapped == name)
    }
}
