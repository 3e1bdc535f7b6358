//! Which headers say who calls, in every way of writing their names.

use crate::config::ProxyMappings;

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
}

impl IdentityHeaders {
    #[must_use]
    pub fn of(mappings: &ProxyMappings) -> Self {
        let entries = Field::ALL.into_iter().zip(mappings.entries());
        let mapped = entries.filter_map(|(field, (key, name))| Some((field, key, name?.to_ascii_lowercase())));
        IdentityHeaders { fields: mapped.collect() }
    }

    /// Whether a header of this name is one of them, or would be taken for one of them by a server that reads `_` as `-`
    /// (as CGI and its heirs do).
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        self.fields.iter().any(|(_, _, mapped)| is_alike(mapped, name))
    }

    /// Whether a header is none of them and only looks like one.
    pub(super) fn is_look_alike(&self, name: &str) -> bool {
        self.holds(name) && !self.fields.iter().any(|(_, _, mapped)| mapped == name)
    }
}

fn is_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.bytes().map(plain).eq(other.bytes().map(plain))
}
