use std::borrow::Cow;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::Config;
use crate::domain::{AuthMethod, Identity, KeyHash, Member, Organization, Project, Role, Timestamp, User};

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn key(change: impl FnOnce(&mut Key)) -> Key {
    let mut key = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
    change(&mut key);
    key
}

fn key_of(models: &[&str]) -> Identity {
    Identity { key: Some(key(|key| key.models = names(models))), ..Identity::default() }
}

fn team_of(key_models: &[&str], team_models: &[&str]) -> Identity {
    let team = Team { team_id: "t".into(), models: names(team_models), ..Team::default() };
    Identity { team: Some(Arc::new(team)), ..key_of(key_models) }
}

fn catalog() -> Catalog {
    let model_list = serde_json::from_value(json!([
        {"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o"}, "model_info": {"access_groups": ["premium"]}},
        {"model_name": "mini", "litellm_params": {"model": "azure/mini-1"}, "model_info": {"access_groups": ["cheap"]}},
        {"model_name": "mini", "litellm_params": {"model": "openai/gpt-mini"}, "model_info": {"access_groups": ["spare"]}},
        {"model_name": "vertex_ai/*", "litellm_params": {"model": "vertex_ai/*"}, "model_info": {"access_groups": ["google"]}},
    ]))
    .unwrap();
    let mut config = Config { model_list, ..Config::default() };
    config.litellm_settings.model_alias_map.insert("A".to_owned(), "M".to_owned());
    let provider_of = |model: &str| match model {
        "priced-alone" => Some("".into()),
        _ => model.starts_with("claude").then(|| Arc::from("anthropic")),
    };
    Catalog::new(&config, Arc::new(provider_of))
}

struct Setting {
    catalog: Catalog,
    groups: Vec<AccessGroup>,
    end_user: Option<EndUser>,
    owner_teams: Vec<Team>,
    fallbacks: Vec<Cow<'static, str>>,
    helpers: Vec<Cow<'static, str>>,
    api: Api,
}

impl Default for Setting {
    fn default() -> Self {
        Setting {
            catalog: catalog(),
            groups: Vec::new(),
            end_user: None,
            owner_teams: Vec::new(),
            fallbacks: Vec::new(),
            helpers: Vec::new(),
            api: Api::OpenAiChat,
        }
    }
}

impl Setting {
    /// What refuses, or the targets and access groups of what is allowed.
    fn ask(&self, identity: Identity, model: Option<&str>) -> Result<Vec<(String, Vec<String>)>, Denial> {
        let caller = Caller::new(AuthMethod::VirtualKey, Role::InternalUser, Arc::new(identity));
        let resolved = model_access(&ModelAsk {
            caller: &caller,
            api: self.api,
            model,
            fallbacks: &self.fallbacks,
            helpers: &self.helpers,
            catalog: &self.catalog,
            groups: &self.groups,
            end_user: self.end_user.as_ref(),
            owner_teams: &self.owner_teams,
        })?;
        let groups = |found: &Resolved<'_>| found.access_groups.iter().map(|&group| group.to_owned()).collect();
        Ok(resolved.iter().map(|found| (found.target.to_owned(), groups(found))).collect())
    }

    fn may(&self, identity: Identity, model: &str) -> bool {
        self.ask(identity, Some(model)).is_ok()
    }
}

#[test]
fn a_key_may_use_what_its_list_stands_for() {
    let setting = Setting::default();
    for (list, model, expected) in [
        (&[][..], "anything", true),
        (&["gpt-4o-mini"], "gpt-4o-mini", true),
        (&["gpt-4o-mini"], "gpt-4o", false),
        (&["*"], "anything", true),
        (&["all-proxy-models"], "anything", true),
        (&["openai/*"], "openai/o3", true),
        (&["openai/*"], "gpt-4o", true),
        (&["openai/*"], "claude-3", false),
        (&["openai/*"], "anthropic/x", false),
        (&["anthropic/claude-*"], "claude-3", true),
        (&["anthropic/claude-*"], "unknown-3", false),
        (&["gpt-4.1*"], "gpt-4.1-mini", true),
        (&["gpt-4.1*"], "gpt-4x1-mini", false),
        (&["openai/*"], "mini", false),
        (&["premium"], "gpt-4o", true),
        (&["cheap"], "mini", true),
        (&["spare"], "mini", true),
        (&["google"], "vertex_ai/gemini-2", true),
        (&["premium"], "mini", false),
        (&["all-team-models"], "gpt-4o", true),
        (&["no-default-models"], "gpt-4o", false),
        (&["no-default-models"], "no-default-models", false),
        (&["a", "b"], "a,b", true),
        (&["a"], "a,b", false),
        (&["a"], "a, a", true),
        (&["a"], "a,", false),
        (&["A"], "A", true),
        (&["M"], "A", true),
        (&["A"], "M", false),
    ] {
        assert_eq!(setting.may(key_of(list), model), expected, "{list:?} on {model}");
    }
}

#[test]
fn a_refusal_names_the_kind_of_list_and_nothing_it_holds() {
    let denial = Setting::default().ask(key_of(&["secret-model"]), Some("gpt-4o")).unwrap_err();
    assert_eq!((denial.status, denial.kind), (403, ErrorType::KeyModelAccessDenied));
    assert_eq!(denial.param.as_deref(), Some("model"));
    assert!(!denial.message.contains("secret-model"));
}

#[test]
fn every_list_above_the_request_binds() {
    let setting = Setting::default();
    let user = |models: &[&str]| Some(Arc::new(User { models: names(models), ..User::default() }));
    let (team, org) = ("model.team", "model.organization");
    let cases = [
        ("key leaves it to the team, which has it", team_of(&["all-team-models"], &["x"]), "x", None),
        ("key leaves it to the team, which has it not", team_of(&["all-team-models"], &["x"]), "y", Some(team)),
        ("the key narrows the team", team_of(&["x"], &["x", "y"]), "y", Some("model.key")),
        ("the key cannot widen the team", team_of(&["y"], &["x"]), "y", Some(team)),
        (
            "a personal key that leaves it to its owner",
            Identity { user: user(&["x"]), ..key_of(&["all-team-models"]) },
            "y",
            Some("model.user"),
        ),
        ("a team of all", team_of(&[], &["all-team-models"]), "y", None),
        ("a team without a list", team_of(&[], &[]), "y", None),
        (
            "a member's own list",
            Identity { member: Some(Box::new(member(&["x"]))), ..team_of(&[], &["x", "y"]) },
            "y",
            Some("model.team_member"),
        ),
        ("a user's list without a team", Identity { user: user(&["x"]), ..key_of(&[]) }, "y", Some("model.user")),
        ("a user's list in a team", Identity { user: user(&["x"]), ..team_of(&[], &[]) }, "y", None),
        (
            "a personal key of a user without personal models",
            Identity { user: user(&["no-default-models", "y"]), ..key_of(&[]) },
            "y",
            Some("model.user"),
        ),
        ("a team key of such a user", Identity { user: user(&["no-default-models"]), ..team_of(&[], &[]) }, "y", None),
        (
            "an organization's list",
            Identity {
                organization: Some(Arc::new(Organization { models: names(&["x"]), ..Organization::default() })),
                ..key_of(&["y"])
            },
            "y",
            Some(org),
        ),
        (
            "a project's list",
            Identity {
                project: Some(Arc::new(Project { models: names(&["x"]), ..Project::default() })),
                ..key_of(&["y"])
            },
            "y",
            Some("model.project"),
        ),
        ("nobody's lists", Identity::default(), "y", None),
    ];
    for (what, identity, model, refused_by) in cases {
        let result = setting.ask(identity, Some(model));
        assert_eq!(result.as_ref().err().map(|denial| denial.reason.as_ref()), refused_by, "{what}");
    }
    let confined = EndUser { models: names(&["x"]), ..EndUser::default() };
    let setting = Setting { end_user: Some(confined), ..Setting::default() };
    assert_eq!(setting.ask(key_of(&[]), Some("y")).unwrap_err().kind, ErrorType::CustomerModelAccessDenied);
}

fn member(models: &[&str]) -> Member {
    Member {
        team_id: "t".into(),
        user_id: "u".into(),
        user_email: None,
        role: Default::default(),
        budget_id: None,
        allowed_models: names(models),
        limits: Default::default(),
        spend: Default::default(),
    }
}

#[test]
fn fallbacks_of_the_client_must_be_allowed_too() {
    let setting = Setting { fallbacks: vec!["forbidden".into()], ..Setting::default() };
    assert!(!setting.may(key_of(&["a"]), "a"));
    assert!(setting.may(key_of(&["a", "forbidden"]), "a"));
}

#[test]
fn models_that_do_a_part_of_the_work_must_be_allowed_too() {
    let setting = Setting { helpers: vec!["adviser".into()], ..Setting::default() };
    assert!(!setting.may(key_of(&["a"]), "a"));
    assert!(setting.may(key_of(&["a", "adviser"]), "a"));
    let found = setting.ask(key_of(&[]), None).unwrap();
    assert_eq!(found.iter().map(|model| &*model.0).collect::<Vec<_>>(), ["adviser"], "a batch names no model itself");
    let nameless = Setting { fallbacks: vec!["b".into()], api: Api::Unmeterable, ..setting };
    assert!(nameless.ask(key_of(&["adviser"]), None).is_err(), "what is named in vain must be allowed too");
    assert!(nameless.ask(key_of(&["adviser", "b"]), None).is_ok());
}

#[test]
fn aliases_lead_to_their_target_and_cannot_widen_a_key() {
    let setting = Setting::default();
    let aliased = |models: &[&str], from: &str, to: &str| {
        let key = key(|key| {
            key.models = names(models);
            key.aliases.insert(from.to_owned(), to.to_owned());
        });
        Identity { key: Some(key), ..Identity::default() }
    };
    let target = |identity, model| setting.ask(identity, Some(model)).ok().map(|found| found[0].0.clone());
    assert_eq!(target(aliased(&["gpt-4o"], "fast", "gpt-4o"), "fast").as_deref(), Some("gpt-4o"));
    assert_eq!(target(aliased(&["cheap-one"], "cheap-one", "gpt-4o"), "cheap-one"), None, "only the target counts");
    assert_eq!(target(key_of(&[]), "A").as_deref(), Some("M"));
    for known in ["gpt-4o", "vertex_ai/gemini", "claude-3", "priced-alone", "A"] {
        let renamed = aliased(&["mini"], known, "mini");
        assert_eq!(target(renamed, known), None, "{known} goes to the upstream under its own name");
    }
    assert_eq!(target(aliased(&["N"], "M", "N"), "A").as_deref(), Some("N"), "a key's alias after the global one");

    let mut teamed = team_of(&["fancy"], &["x"]);
    Arc::make_mut(teamed.team.as_mut().unwrap()).model_aliases.insert("fancy".to_owned(), "gpt-4o".to_owned());
    assert_eq!(target(teamed.clone(), "fancy").as_deref(), Some("gpt-4o"), "a team may use its own aliases");
    teamed.key.as_mut().unwrap().models = names(&["x"]);
    assert_eq!(target(teamed, "fancy"), None, "the key's list binds still");
}

#[test]
fn access_groups_of_the_directory_grant_their_models() {
    let group = |assigned_team_ids: &[&str], assigned_key_ids: Vec<String>| AccessGroup {
        access_group_id: "g".into(),
        access_model_names: names(&["gpt-4o", "o3*"]),
        assigned_team_ids: names(assigned_team_ids),
        assigned_key_ids,
        ..AccessGroup::default()
    };
    let token = KeyHash::of("sk-1").to_string();
    let mut rotated = key_of(&["x"]);
    rotated.key.as_mut().unwrap().token = KeyHash::of("sk-2");
    let with_groups = |mut identity: Identity| {
        identity.key.as_mut().unwrap().access_group_ids = names(&["g"]);
        identity
    };
    let cases = [
        ("named by the key", with_groups(key_of(&["x"])), group(&[], vec![]), "gpt-4o", true),
        ("a pattern of the group", with_groups(key_of(&["x"])), group(&[], vec![]), "o3-mini", true),
        ("its own list besides", with_groups(key_of(&["x"])), group(&[], vec![]), "x", true),
        ("neither", with_groups(key_of(&["x"])), group(&[], vec![]), "y", false),
        ("a key of groups only", with_groups(key_of(&[])), group(&[], vec![]), "y", false),
        ("assigned to the key", key_of(&["x"]), group(&[], vec![token.clone()]), "gpt-4o", true),
        ("assigned before it was rotated", rotated, group(&[], vec![token]), "gpt-4o", true),
        ("assigned to another", key_of(&["x"]), group(&[], vec!["0".repeat(64)]), "gpt-4o", false),
        (
            "the team's list binds a key's group",
            with_groups(team_of(&["x"], &["x"])),
            group(&[], vec![]),
            "gpt-4o",
            false,
        ),
        ("assigned to the team", with_groups(team_of(&["x"], &["x"])), group(&["t"], vec![]), "gpt-4o", true),
    ];
    for (what, identity, group, model, expected) in cases {
        let setting = Setting { groups: vec![group], ..Setting::default() };
        assert_eq!(setting.may(identity, model), expected, "{what}");
    }
}

#[test]
fn the_access_groups_of_a_model_are_told_for_their_budgets() {
    let directory =
        AccessGroup { access_group_id: "g".into(), access_model_names: names(&["gpt-*"]), ..AccessGroup::default() };
    let setting = Setting { groups: vec![directory], ..Setting::default() };
    let found = setting.ask(key_of(&[]), Some("gpt-4o,mini")).unwrap();
    assert_eq!(found[0], ("gpt-4o".to_owned(), names(&["g", "premium"])));
    assert_eq!(found[1], ("mini".to_owned(), names(&["cheap", "spare"])));
}

#[test]
fn a_personal_key_may_use_the_models_of_its_owners_teams_where_that_is_on() {
    let identity = || {
        let user = User { models: names(&["no-default-models"]), ..User::default() };
        Identity { user: Some(Arc::new(user)), ..key_of(&[]) }
    };
    let team = |blocked| Team { models: names(&["x"]), blocked, ..Team::default() };
    let setting = |teams| Setting { owner_teams: teams, ..Setting::default() };
    assert!(!setting(vec![]).may(identity(), "x"));
    assert!(setting(vec![team(false)]).may(identity(), "x"));
    assert!(!setting(vec![team(false)]).may(identity(), "y"));
    assert!(!setting(vec![team(true)]).may(identity(), "x"), "a blocked team grants nothing");
}

#[test]
fn a_request_without_a_model_is_refused_where_a_list_confines_the_caller() {
    let setting = |api| Setting { api, ..Setting::default() };
    assert_eq!(setting(Api::OpenAiImages).ask(key_of(&["x"]), None).unwrap_err().status, 400);
    assert!(setting(Api::OpenAiImages).ask(key_of(&[]), None).is_ok());
    assert!(setting(Api::OpenAiImages).ask(key_of(&["*"]), None).is_ok());
    assert!(setting(Api::Free).ask(key_of(&["x"]), None).is_ok());
    assert!(setting(Api::NotModel).ask(key_of(&["x"]), None).is_ok());
}

fn some_entries() -> impl Strategy<Value = Vec<String>> {
    let entry = proptest::sample::select(vec![
        "gpt-4o",
        "mini",
        "M",
        "A",
        "*",
        "openai/*",
        "gpt-*",
        "premium",
        "all-proxy-models",
        "all-team-models",
        "no-default-models",
        "claude-3",
    ]);
    proptest::collection::vec(entry.prop_map(str::to_owned), 0..4)
}

proptest! {
    /// A child never gets more than its parent.
    #[test]
    fn no_key_member_or_alias_widens_what_its_team_may_use(
        key_models in some_entries(),
        member_models in some_entries(),
        team_models in some_entries(),
        aliases in proptest::collection::btree_map("gpt-4o|mini|A|M|claude-3", "gpt-4o|mini|A|M|claude-3", 0..3),
        model in proptest::sample::select(vec!["gpt-4o", "mini", "A", "M", "claude-3", "unknown", "all-team-models"]),
    ) {
        let setting = Setting::default();
        let mut child = team_of(&[], &[]);
        Arc::make_mut(child.team.as_mut().unwrap()).models.clone_from(&team_models);
        let bare_team = child.clone();
        let key = child.key.as_mut().unwrap();
        key.models = key_models;
        key.aliases = aliases;
        child.member = Some(Box::new(Member { allowed_models: member_models, ..member(&[]) }));
        if let Ok(found) = setting.ask(child, Some(model)) {
            // Whatever the key called it, what it leads to is the team's, under its own name or the one asked for.
            let target = found[0].0.as_str();
            prop_assert!(setting.may(bare_team.clone(), target) || setting.may(bare_team, model));
        }
    }
}
