//! Scopes: what a limit hangs on.

use std::fmt;
use std::sync::Arc;

use super::ids::KeyHash;

/// The kinds of scope, outermost first; refusals name them in this order where several limits would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScopeKind {
    Global,
    Organization,
    Project,
    Team,
    Member,
    User,
    Key,
    EndUser,
    Tag,
    AccessGroup,
    ModelPerOrganization,
    ModelPerProject,
    ModelPerTeam,
    ModelPerMember,
    ModelPerUser,
    ModelPerKey,
    ModelPerEndUser,
    TagPerKey,
}

impl ScopeKind {
    pub const ALL: [ScopeKind; 18] = [
        ScopeKind::Global,
        ScopeKind::Organization,
        ScopeKind::Project,
        ScopeKind::Team,
        ScopeKind::Member,
        ScopeKind::User,
        ScopeKind::Key,
        ScopeKind::EndUser,
        ScopeKind::Tag,
        ScopeKind::AccessGroup,
        ScopeKind::ModelPerOrganization,
        ScopeKind::ModelPerProject,
        ScopeKind::ModelPerTeam,
        ScopeKind::ModelPerMember,
        ScopeKind::ModelPerUser,
        ScopeKind::ModelPerKey,
        ScopeKind::ModelPerEndUser,
        ScopeKind::TagPerKey,
    ];

    /// The name in scopes, metrics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ScopeKind::Global => "global",
            ScopeKind::Organization => "organization",
            ScopeKind::Project => "project",
            ScopeKind::Team => "team",
            ScopeKind::Member => "team_member",
            ScopeKind::User => "user",
            ScopeKind::Key => "key",
            ScopeKind::EndUser => "end_user",
            ScopeKind::Tag => "tag",
            ScopeKind::AccessGroup => "access_group",
            ScopeKind::ModelPerOrganization => "model_per_organization",
            ScopeKind::ModelPerProject => "model_per_project",
            ScopeKind::ModelPerTeam => "model_per_team",
            ScopeKind::ModelPerMember => "model_per_team_member",
            ScopeKind::ModelPerUser => "model_per_user",
            ScopeKind::ModelPerKey => "model_per_key",
            ScopeKind::ModelPerEndUser => "model_per_end_user",
            ScopeKind::TagPerKey => "tag_per_key",
        }
    }
}

/// One thing limits hang on, as canonical text: `global`, `key:<sha256>`, `team_member:<team>:<user>`. `%` and `:`
/// inside a name are written `%25` and `%3A`, so two different things never share a text. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// A scope from its kind and names; e.g. `Scope::new(ScopeKind::Member, &[team, user])`.
    #[must_use]
    pub fn new(kind: ScopeKind, names: &[&str]) -> Self {
        let mut text = String::with_capacity(16 + names.iter().map(|name| name.len() + 1).sum::<usize>());
        text.push_str(kind.as_str());
        for name in names {
            text.push(':');
            for c in name.chars() {
                match c {
                    ':' => text.push_str("%3A"),
                    '%' => text.push_str("%25"),
                    c => text.push(c),
                }
            }
        }
        Scope(text.into())
    }

    #[must_use]
    pub fn global() -> Self {
        Scope::new(ScopeKind::Global, &[])
    }

    #[must_use]
    pub fn key(hash: &KeyHash) -> Self {
        Scope::new(ScopeKind::Key, &[&hash.to_string()])
    }

    /// Reads canonical text back, as ledgers and hold tokens carry it. `None` where the kind is unknown.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let kind = text.split(':').next()?;
        ScopeKind::ALL.iter().any(|known| known.as_str() == kind).then(|| Scope(text.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub fn kind(&self) -> ScopeKind {
        let name = self.0.split(':').next().unwrap_or_default();
        ScopeKind::ALL.into_iter().find(|kind| kind.as_str() == name).unwrap_or(ScopeKind::Global)
    }

    /// The names after the kind, decoded: `[team, user]` for a team member.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.0.split(':').skip(1).map(|name| name.replace("%3A", ":").replace("%25", "%")).collect()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_separators_never_collide_and_come_back_as_they_were() {
        let one = Scope::new(ScopeKind::Member, &["a:b", "c"]);
        let other = Scope::new(ScopeKind::Member, &["a", "b:c"]);
        assert_ne!(one, other);
        assert_eq!(one.names(), ["a:b", "c"]);
        assert_eq!(Scope::new(ScopeKind::Tag, &["100%3A"]).names(), ["100%3A"]);
        assert_eq!(Scope::parse(one.as_str()), Some(one));
        assert_eq!(Scope::parse("planet:earth"), None);
    }
}
