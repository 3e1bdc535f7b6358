//! The models of a request where teams of a personal key's owner may lend theirs (`personal_key_model_access_from_teams`).
//! A team lends what its member could use with a key of the team: not what the membership or the team's organization
//! keeps from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Gate, ModelUse, Settings, unavailable};
use crate::authz::{self, ModelAsk};
use crate::domain::{Caller, Denial, Identity, Member, Organization, Team};

/// A team of the owner, and the owner as a member of it.
pub(super) struct Lender {
    team: Team,
    member: Caller,
}

impl Lender {
    fn new(caller: &Caller, team: Team, member: Member, organization: Option<Arc<Organization>>) -> Self {
        // A name that only the team's aliases give means something else to a personal key.
        let unnamed = Team { model_aliases: BTreeMap::new(), ..team.clone() };
        let identity = Identity {
            key: caller.identity.key.clone(),
            team: Some(Arc::new(unnamed)),
            member: Some(Box::new(member)),
            organization,
            project: caller.identity.project.clone(),
            ..Identity::default()
        };
        Lender { team, member: Caller { identity: Arc::new(identity), ..caller.clone() } }
    }

    /// Whether it may lend this one model.
    fn lends(&self, ask: &ModelAsk<'_>) -> bool {
        authz::model_access(&ModelAsk { caller: &self.member, owner_teams: &[], ..*ask }).is_ok()
    }
}

/// The models asked for, if the caller may use each of them by its own lists or by what one of the teams lends.
pub(super) fn models(ask: &ModelAsk<'_>, lenders: &[Lender]) -> Result<SmallVec<[ModelUse; 1]>, Denial> {
    if lenders.is_empty() {
        return Ok(authz::model_access(ask)?.iter().map(ModelUse::of).collect());
    }
    let mut models = SmallVec::new();
    if ask.model.is_none() {
        let nameless = ModelAsk { fallbacks: &[], helpers: &[], ..*ask };
        models.extend(authz::model_access(&nameless)?.iter().map(ModelUse::of));
    }
    for asked in authz::models_asked(ask) {
        let ask = ModelAsk { model: Some(asked.asked), fallbacks: &[], helpers: &[], ..*ask };
        let teams = lenders.iter().filter(|lender| lender.lends(&ask)).map(|lender| lender.team.clone());
        let teams: Vec<Team> = teams.collect();
        let allowed = authz::model_access(&ModelAsk { owner_teams: &teams, ..ask })?;
        models.extend(allowed.iter().map(|model| ModelUse { helps: asked.helps, ..ModelUse::of(model) }));
    }
    Ok(models)
}

impl Gate {
    /// The teams that may lend models to this caller: those of a personal key's owner.
    pub(super) async fn lenders(&self, settings: &Settings, caller: &Caller) -> Result<Vec<Lender>, Denial> {
        let identity = &*caller.identity;
        let wanted = settings.config.litellm_settings.personal_key_model_access_from_teams && identity.team.is_none();
        let Some(user) = identity.user.as_ref().filter(|_| wanted) else { return Ok(Vec::new()) };
        let store = self.directory.store();
        let unavailable = |error| unavailable(&error);
        let mut lenders = Vec::new();
        for member in store.memberships_of_user(&user.user_id).await.map_err(unavailable)? {
            let Some(team) = store.team(&member.team_id).await.map_err(unavailable)? else { continue };
            let organization = match &team.organization_id {
                None => None,
                // Lists of an organization that is gone must not turn into no lists.
                Some(id) => match store.organization(id).await.map_err(unavailable)? {
                    Some(organization) => Some(Arc::new(organization)),
                    None => continue,
                },
            };
            lenders.push(Lender::new(caller, team, member, organization));
        }
        Ok(lenders)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::authz::Catalog;
    use crate::domain::{Api, AuthMethod, Key, KeyHash, Limits, Money, Role, TeamRole, Timestamp, User};

    fn list(models: &[&str]) -> Vec<String> {
        models.iter().map(|&model| model.to_owned()).collect()
    }

    /// A personal key, whose owner may use `small` by itself.
    fn caller(key: &[&str]) -> Caller {
        let mut key_of_user = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
        key_of_user.models = list(key);
        let user = User { models: list(&["small"]), ..User::default() };
        let identity = Identity { key: Some(key_of_user), user: Some(Arc::new(user)), ..Identity::default() };
        Caller::new(AuthMethod::VirtualKey, Role::InternalUser, Arc::new(identity))
    }

    fn lender(caller: &Caller, team: &[&str], member: &[&str], organization: Option<&[&str]>) -> Lender {
        let team = Team { team_id: "t".into(), models: list(team), ..Team::default() };
        let member = Member {
            team_id: "t".into(),
            user_id: "u".into(),
            user_email: None,
            role: TeamRole::User,
            budget_id: None,
            allowed_models: list(member),
            limits: Limits::default(),
            spend: Money::ZERO,
        };
        let organization = organization.map(|models| Organization { models: list(models), ..Organization::default() });
        Lender::new(caller, team, member, organization.map(Arc::new))
    }

    fn used(caller: &Caller, lenders: &[Lender], model: &str, fallbacks: &[&str]) -> Result<Vec<String>, String> {
        let fallbacks: Vec<Cow<'_, str>> = fallbacks.iter().map(|&name| Cow::Borrowed(name)).collect();
        let ask = ModelAsk {
            caller,
            api: Api::OpenAiChat,
            model: Some(model),
            fallbacks: &fallbacks,
            helpers: &[],
            catalog: &Catalog::default(),
            groups: &[],
            end_user: None,
            owner_teams: &[],
        };
        let models = models(&ask, lenders).map_err(|denial| denial.reason.to_string())?;
        Ok(models.iter().map(|model| model.name.to_string()).collect())
    }

    #[test]
    fn a_team_lends_what_neither_membership_nor_organization_keeps_from_its_member() {
        type Lists<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a [&'a str]>);
        let cases: &[(&str, &[Lists<'_>], &[&str], bool)] = &[
            ("no team", &[], &[], false),
            ("a team of all models", &[(&[], &[], None)], &[], true),
            ("a team of the model", &[(&["large"], &[], None)], &[], true),
            ("a team of another", &[(&["other"], &[], None)], &[], false),
            ("a member of another", &[(&["large", "other"], &["other"], None)], &[], false),
            ("a member of the model", &[(&[], &["large"], None)], &[], true),
            ("an organization of another", &[(&["large"], &[], Some(&["other"]))], &[], false),
            ("an organization of the model", &[(&["large"], &[], Some(&["large"]))], &[], true),
            ("the second of two teams", &[(&[], &["other"], None), (&["large"], &[], None)], &[], true),
            (
                "two teams that each keep it back",
                &[(&["large"], &["other"], None), (&["other"], &[], None)],
                &[],
                false,
            ),
            ("a key of another", &[(&["large"], &[], None)], &["other"], false),
        ];
        for (about, teams, key, is_lent) in cases {
            let caller = caller(key);
            let lenders: Vec<Lender> =
                teams.iter().map(|(team, member, organization)| lender(&caller, team, member, *organization)).collect();
            assert_eq!(used(&caller, &lenders, "large", &[]).is_ok(), *is_lent, "{about}");
        }
    }

    #[test]
    fn each_model_of_a_request_is_lent_by_itself() {
        let caller = caller(&[]);
        let lenders = [
            lender(&caller, &["large"], &[], None),
            lender(&caller, &["huge"], &["huge"], None),
            lender(&caller, &["x"], &["y"], None),
        ];
        assert_eq!(used(&caller, &lenders, "small", &["large", "huge"]).unwrap(), ["small", "large", "huge"]);
        assert_eq!(used(&caller, &lenders, "small", &["large", "x"]).unwrap_err(), "model.user");
    }
}
