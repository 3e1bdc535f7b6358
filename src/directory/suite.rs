//! What every store does, written once against [`Store`] and run for each engine.

mod samples;
mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use self::samples::{
    bare, budget, computed_from, day_account, key, limits, member, now, object, organization, project, put_family,
    record, team, total, user,
};
use self::sessions::{
    a_period_has_one_key_and_keeps_it_while_a_session_needs_it, a_session_comes_back_until_it_is_swept,
    sessions_end_with_their_user_and_with_their_key,
};
use super::import::{Bundle, Incoming, Obstacle, Tally, opening_id};
use super::testing::{TempStore, audit};
use super::{AuditEntry, DirectoryError, KeyFilter, Store};
use crate::domain::{
    AccessGroup, Budget, DeprecatedKey, EndUser, HoldId, Identity, Key, KeyHash, KeyMapping, Limits, Member, Money,
    Organization, Parties, Principal, Project, Record, RecordStatus, Role, Scope, ScopeKind, Tag, Team, TeamRole, User,
};

/// Runs every behaviour against every engine.
macro_rules! suite {
    ($($engine:ident),+ => $behaviours:tt) => {
        $(suite! { @one $engine $behaviours })+
    };
    (@one $engine:ident { $($behaviour:ident),+ $(,)? }) => {
        mod $engine {
            $(#[tokio::test]
            async fn $behaviour() {
                let store = super::TempStore::$engine().await;
                super::$behaviour(&*store.store).await;
            })+
        }
    };
}

suite! { sqlite, postgres, pgbouncer => {
    a_key_comes_back_with_every_attribute,
    one_query_finds_all_that_belongs_to_a_key,
    one_query_finds_all_that_a_token_names,
    a_user_is_named_by_id_then_by_the_providers_id_then_by_address,
    a_linked_budget_fills_only_what_is_absent,
    a_key_that_names_what_is_not_there_says_so,
    an_end_user_a_tag_or_a_group_whose_budget_is_not_there_says_so,
    a_rotated_key_works_until_it_is_revoked_and_keeps_its_spend,
    what_exists_is_not_created_twice_and_what_is_missing_not_changed,
    keys_are_listed_by_filter_and_page,
    deleting_a_user_or_team_takes_its_keys_along,
    every_entity_comes_back_as_it_was_put,
    a_setting_is_written_once,
    a_record_is_booked_once_and_read_back,
    spend_reaches_every_entity_and_the_books_add_up,
    an_entity_created_late_has_what_its_scope_spent,
    an_update_leaves_the_spend_alone,
    a_row_is_replaced_only_while_it_is_what_the_change_was_computed_from,
    days_that_leave_the_ledger_stay_in_the_books,
    an_import_writes_once_and_brings_nothing_back,
    an_import_completes_an_end_user_who_was_first_seen_by_spending,
    an_import_does_not_let_a_secret_that_was_removed_here_work_again,
    a_claim_stands_for_one_key_and_goes_with_it,
    a_session_comes_back_until_it_is_swept,
    sessions_end_with_their_user_and_with_their_key,
    a_period_has_one_key_and_keeps_it_while_a_session_needs_it,
} }

async fn a_key_comes_back_with_every_attribute(store: &dyn Store) {
    let full = key("sk-a");
    store.create_key(&full, audit()).await.unwrap();
    assert_eq!(store.key(&full.token).await.unwrap().as_ref(), Some(&full));
    assert_eq!(store.key_by_alias("alias of sk-a").await.unwrap().as_ref(), Some(&full));
    let changed = Key { updated_at: now().plus_millis(1), key_alias: None, ..bare("sk-a") };
    store.update_key(&changed, audit()).await.unwrap();
    assert_eq!(store.key(&full.token).await.unwrap(), Some(changed));
    store.delete_key(&full.token, audit()).await.unwrap();
    assert_eq!(store.key(&full.token).await.unwrap(), None);
}

async fn one_query_finds_all_that_belongs_to_a_key(store: &dyn Store) {
    put_family(store).await;
    store.create_key(&Key { organization_id: None, ..key("sk-a") }, audit()).await.unwrap();
    let found = store.identity(&KeyHash::of("sk-a"), now()).await.unwrap().unwrap();
    assert_eq!(found.dangling, None);
    assert_eq!(&*found.user.unwrap().user_id, "u");
    assert_eq!(&*found.team.unwrap().team_id, "t");
    assert_eq!(found.member.unwrap().role, TeamRole::Admin);
    assert_eq!(&*found.organization.unwrap().organization_id, "o", "the team's, where the key has none");
    assert_eq!(&*found.project.unwrap().project_id, "p");
    assert_eq!(store.identity(&KeyHash::of("sk-unknown"), now()).await.unwrap(), None);
}

async fn one_query_finds_all_that_a_token_names(store: &dyn Store) {
    put_family(store).await;
    let principal = |user: Option<&str>, team: Option<&str>| Principal {
        user_id: user.map(Arc::from),
        team_id: team.map(Arc::from),
        organization_id: None,
    };
    let found = store.principal(&principal(Some("u"), Some("t"))).await.unwrap();
    assert_eq!((found.key, found.dangling), (None, None));
    assert_eq!(&*found.user.unwrap().user_id, "u");
    assert_eq!(&*found.team.unwrap().team_id, "t");
    assert_eq!(found.member.unwrap().role, TeamRole::Admin);
    assert_eq!(&*found.organization.unwrap().organization_id, "o", "the team's, where the token names none");
    let alone = store.principal(&principal(Some("u"), None)).await.unwrap();
    assert!(alone.user.is_some() && alone.team.is_none() && alone.member.is_none());
    let nobody = store.principal(&principal(Some("nobody"), Some("none"))).await.unwrap();
    let name = User { user_id: "nobody".into(), ..User::default() };
    assert_eq!(nobody, Identity { user: Some(Arc::new(name)), ..Identity::default() }, "a name without a row");
    assert_eq!(store.principal(&Principal::default()).await.unwrap(), Identity::default());
}

async fn a_user_is_named_by_id_then_by_the_providers_id_then_by_address(store: &dyn Store) {
    let named = |id: &str, sso: Option<&str>, email: &str| User {
        user_id: id.into(),
        sso_user_id: sso.map(str::to_owned),
        user_email: Some(email.into()),
        created_at: now(),
        updated_at: now(),
        ..User::default()
    };
    for user in [
        named("ada", Some("sso-1"), "Ada@Example.com"),
        named("sso-1", None, "other@example.com"),
        named("twin-1", None, "twin@example.com"),
        named("twin-2", None, "TWIN@example.com"),
    ] {
        store.put_user(&user, true, audit()).await.unwrap();
    }
    for (id, email, expected) in [
        (Some("ada"), None, Some("ada")),
        (Some("sso-1"), None, Some("sso-1")),
        (Some("sso-1b"), Some("OTHER@example.COM"), Some("sso-1")),
        (None, Some("ADA@example.COM"), Some("ada")),
        (None, Some("other@example.com"), Some("sso-1")),
        (Some("unknown"), Some("nobody@example.com"), None),
        (None, None, None),
        (Some(""), Some(""), None),
    ] {
        let found = store.user_named(id, email).await.unwrap().map(|user| user.user_id);
        assert_eq!(found.as_deref(), expected, "{id:?} {email:?}");
    }
    for (id, email) in [(None, "twin@example.com"), (Some("another"), "ada@example.com")] {
        let found = store.user_named(id, Some(email)).await;
        let is_refused = matches!(found, Err(DirectoryError::Ambiguous { .. }));
        assert!(is_refused, "{id:?} {email}: several have it, or who has it is another at the provider");
    }
}

async fn a_linked_budget_fills_only_what_is_absent(store: &dyn Store) {
    for (id, rpm) in [("kb", 1), ("ob", 2), ("pb", 3), ("mb", 4), ("tmb", 5)] {
        store.put_budget(&budget(id, rpm), true, audit()).await.unwrap();
    }
    let mb = Budget { allowed_models: vec!["m".to_owned()], ..budget("mb", 4) };
    store.put_budget(&mb, false, audit()).await.unwrap();
    let link = |id: &str| Some(id.to_owned());
    let own = Limits { rpm_limit: Some(100), ..Limits::default() };
    let of_members = link("tmb");
    store.put_team(&Team { team_member_budget_id: of_members, ..team("t") }, true, audit()).await.unwrap();
    store.put_member(&Member { budget_id: link("mb"), ..member("t", "own") }, true, audit()).await.unwrap();
    store.put_member(&member("t", "default"), true, audit()).await.unwrap();
    store.put_organization(&Organization { budget_id: link("ob"), ..organization("o") }, true, audit()).await.unwrap();
    let with_own = Project { budget_id: link("pb"), limits: own, ..project("p") };
    store.put_project(&with_own, true, audit()).await.unwrap();
    for (user, rpm_of_member, models) in [("own", 4, 1), ("default", 5, 0)] {
        let row = Key {
            budget_id: link("kb"),
            user_id: Some(user.into()),
            team_id: Some("t".into()),
            organization_id: Some("o".into()),
            project_id: Some("p".into()),
            ..bare(user)
        };
        store.create_key(&row, audit()).await.unwrap();
        let found = store.identity(&row.token, now()).await.unwrap().unwrap();
        assert_eq!(found.dangling, None);
        let member = found.member.unwrap();
        assert_eq!(member.allowed_models.len(), models);
        assert_eq!(member.limits.rpm_limit, Some(rpm_of_member));
        assert_eq!(found.key.unwrap().limits.rpm_limit, Some(1));
        assert_eq!(found.organization.unwrap().limits.rpm_limit, Some(2));
        assert_eq!(found.project.unwrap().limits.rpm_limit, Some(100), "its own limit stands");
        assert_eq!(store.key(&row.token).await.unwrap().unwrap().limits, Limits::default(), "the row stays as it is");
    }
    let linked = EndUser { user_id: "e".into(), budget_id: link("kb"), ..EndUser::default() };
    store.put_end_user(&linked, true, audit()).await.unwrap();
    assert_eq!(store.end_user("e").await.unwrap().unwrap().limits.rpm_limit, Some(1));
}

async fn a_key_that_names_what_is_not_there_says_so(store: &dyn Store) {
    store.put_team(&Team { organization_id: Some("gone".into()), ..team("orphan") }, true, audit()).await.unwrap();
    let cases = [
        (Key { user_id: Some("nobody".into()), ..bare("1") }, None),
        (Key { team_id: Some("x".into()), ..bare("2") }, Some("team \"x\"")),
        (Key { organization_id: Some("x".into()), ..bare("3") }, Some("organization \"x\"")),
        (Key { project_id: Some("x".into()), ..bare("4") }, Some("project \"x\"")),
        (Key { team_id: Some("orphan".into()), ..bare("5") }, Some("organization \"gone\"")),
        (Key { budget_id: Some("x".to_owned()), ..bare("6") }, Some("budget \"x\"")),
    ];
    for (row, expected) in cases {
        store.create_key(&row, audit()).await.unwrap();
        let found = store.identity(&row.token, now()).await.unwrap().unwrap();
        assert_eq!(found.dangling.as_deref(), expected);
    }
}

async fn an_end_user_a_tag_or_a_group_whose_budget_is_not_there_says_so(store: &dyn Store) {
    store.put_budget(&budget("b", 7), true, audit()).await.unwrap();
    let link = || Some("b".to_owned());
    let end_user = EndUser { user_id: "e".into(), budget_id: link(), ..EndUser::default() };
    store.put_end_user(&end_user, true, audit()).await.unwrap();
    store.put_tag(&Tag { tag_name: "t".into(), budget_id: link(), ..Tag::default() }, true, audit()).await.unwrap();
    let group = AccessGroup { access_group_id: "g".into(), budget_id: link(), ..AccessGroup::default() };
    store.put_access_group(&group, true, audit()).await.unwrap();
    for dangling in [None, Some("budget \"b\"".to_owned())] {
        let end_user = store.end_user("e").await.unwrap().unwrap();
        let (tag, group) = (store.tags().await.unwrap().remove(0), store.access_groups().await.unwrap().remove(0));
        let limits = [end_user.limits.rpm_limit, tag.limits.rpm_limit, group.limits.rpm_limit];
        assert_eq!(limits, [dangling.is_none().then_some(7); 3]);
        assert_eq!([end_user.dangling, tag.dangling, group.dangling], [(); 3].map(|()| dangling.clone()));
        if dangling.is_none() {
            store.delete_budget("b", audit()).await.unwrap();
        }
    }
}

async fn a_rotated_key_works_until_it_is_revoked_and_keeps_its_spend(store: &dyn Store) {
    let old = bare("sk-old");
    let new = Key { rotation_count: 1, first_token: old.token, ..bare("sk-new") };
    store.create_key(&old, audit()).await.unwrap();
    let accounts = vec![total(old.scope()), day_account(old.scope())];
    store.write_records(&[record(1, 500, accounts.clone())]).await.unwrap();
    let revoke_at = now().plus_millis(1_000);
    store.rotate_key(&old.token, &new, Some(revoke_at), audit()).await.unwrap();
    for (hash, at, works) in [
        (&new.token, revoke_at, true),
        (&old.token, now(), true),
        (&old.token, revoke_at.plus_millis(-1), true),
        (&old.token, revoke_at, false),
    ] {
        let found = store.identity(hash, at).await.unwrap().map(|found| found.key.unwrap().token);
        assert_eq!(found, works.then_some(new.token));
    }
    assert_eq!(store.revoked_at(&old.token).await.unwrap(), Some(revoke_at));
    // What was in flight is booked where everything else is.
    store.write_records(&[record(2, 20, accounts.clone())]).await.unwrap();
    assert_eq!(store.key(&new.token).await.unwrap().unwrap(), Key { spend: Money::nanos(520), ..new.clone() });
    for account in accounts {
        assert_eq!(store.spent(&account).await.unwrap(), Money::nanos(520), "{account:?}");
    }
    let verification = store.verify().await.unwrap();
    assert_eq!((verification.differences, verification.records), (vec![], 2), "a rotation books nothing");
    let filter = KeyFilter { first_token: Some(old.token), limit: 10, ..KeyFilter::default() };
    assert_eq!(store.list_keys(&filter).await.unwrap().rows[0].token, new.token, "it is found by its first hash");
    let taken = store.create_key(&bare("sk-old"), audit()).await;
    assert!(
        matches!(&taken, Err(DirectoryError::Exists { what: "key", .. })),
        "its books are nobody else's: {taken:?}"
    );

    let again = Key { first_token: old.token, ..bare("sk-newer") };
    store.rotate_key(&new.token, &again, None, audit()).await.unwrap();
    assert!(store.identity(&old.token, now()).await.unwrap().is_some(), "the grace period outlives another rotation");
    assert!(store.identity(&new.token, now()).await.unwrap().is_none(), "without a grace period it ends at once");
    let missing = store.rotate_key(&new.token, &bare("sk-x"), None, audit()).await;
    assert!(matches!(missing, Err(DirectoryError::NotFound { .. })), "{missing:?}");
}

async fn what_exists_is_not_created_twice_and_what_is_missing_not_changed(store: &dyn Store) {
    store.create_key(&key("sk-a"), audit()).await.unwrap();
    let twice = store.create_key(&Key { key_alias: None, ..key("sk-a") }, audit()).await;
    assert!(matches!(&twice, Err(DirectoryError::Exists { what: "key", .. })), "{twice:?}");
    let alias = store.create_key(&Key { key_alias: Some("alias of sk-a".into()), ..key("sk-b") }, audit()).await;
    assert!(matches!(&alias, Err(DirectoryError::Exists { what: "key alias", .. })), "{alias:?}");
    assert_eq!(store.key(&KeyHash::of("sk-b")).await.unwrap(), None);
    for missing in [
        store.update_key(&key("sk-c"), audit()).await,
        store.delete_key(&KeyHash::of("sk-c"), audit()).await,
        store.put_team(&team("x"), false, audit()).await,
        store.delete_member("x", "y", audit()).await,
    ] {
        assert!(matches!(&missing, Err(DirectoryError::NotFound { .. })), "{missing:?}");
    }
}

async fn keys_are_listed_by_filter_and_page(store: &dyn Store) {
    for n in 0..5 {
        let owner = if n % 2 == 0 { "even" } else { "odd" };
        let row = Key { user_id: Some(owner.into()), created_at: now().plus_millis(n), ..bare(&n.to_string()) };
        store.create_key(&row, audit()).await.unwrap();
    }
    let all = KeyFilter { offset: 1, limit: 2, ..KeyFilter::default() };
    let page = store.list_keys(&all).await.unwrap();
    let hashes = |page: &[Key]| page.iter().map(|key| key.token).collect::<Vec<_>>();
    assert_eq!((page.total, hashes(&page.rows)), (5, vec![KeyHash::of("3"), KeyHash::of("2")]), "newest first");
    let even = KeyFilter { user_id: Some("even".to_owned()), limit: u64::MAX, ..KeyFilter::default() };
    assert_eq!(store.list_keys(&even).await.unwrap().total, 3);
    let both = KeyFilter { token: Some(KeyHash::of("1")), ..even };
    assert_eq!(store.list_keys(&both).await.unwrap().total, 0, "all conditions hold at once");
}

async fn deleting_a_user_or_team_takes_its_keys_along(store: &dyn Store) {
    put_family(store).await;
    store.create_key(&Key { user_id: Some("u".into()), ..bare("of user") }, audit()).await.unwrap();
    store.create_key(&Key { team_id: Some("t".into()), ..bare("of team") }, audit()).await.unwrap();
    store.create_key(&bare("of nobody"), audit()).await.unwrap();
    store.delete_user("u", audit()).await.unwrap();
    assert_eq!(store.members_of_team("t").await.unwrap(), []);
    store.delete_team("t", audit()).await.unwrap();
    let left = store.list_keys(&KeyFilter { limit: 10, ..KeyFilter::default() }).await.unwrap();
    assert_eq!(left.rows.iter().map(|key| key.token).collect::<Vec<_>>(), [KeyHash::of("of nobody")]);
}

async fn every_entity_comes_back_as_it_was_put(store: &dyn Store) {
    let metadata = object(&json!({"scim_active": false}));
    let full_team = Team {
        team_alias: Some("The Team".into()),
        models: vec!["m".to_owned()],
        model_aliases: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        blocked: true,
        limits: limits(),
        team_member_permissions: vec!["/key/info".to_owned()],
        tags: vec!["t".into()],
        metadata: metadata.clone(),
        extra: metadata.clone(),
        ..team("t")
    };
    store.put_team(&full_team, true, audit()).await.unwrap();
    assert_eq!(store.team("t").await.unwrap(), Some(full_team.clone()));
    assert_eq!(store.list_teams(0, 10).await.unwrap().rows, [full_team]);
    let full_user = User {
        user_email: Some("u@example.com".into()),
        sso_user_id: Some("sso".to_owned()),
        user_role: Some(Role::ProxyAdminViewer),
        admin_of: vec!["o".into()],
        limits: limits(),
        metadata: metadata.clone(),
        ..user("u")
    };
    store.put_user(&full_user, true, audit()).await.unwrap();
    assert_eq!(store.user_named(None, Some("u@example.com")).await.unwrap(), Some(full_user.clone()));
    assert_eq!(store.list_users(0, 10).await.unwrap().rows, [full_user]);
    let full_member = Member { limits: limits(), allowed_models: vec!["m".to_owned()], ..member("t", "u") };
    store.put_member(&full_member, true, audit()).await.unwrap();
    assert_eq!(store.members_of_team("t").await.unwrap(), std::slice::from_ref(&full_member));
    assert_eq!(store.memberships_of_user("u").await.unwrap(), [full_member]);
    let full_organization = Organization { limits: limits(), metadata: metadata.clone(), ..organization("o") };
    store.put_organization(&full_organization, true, audit()).await.unwrap();
    assert_eq!(store.organization("o").await.unwrap(), Some(full_organization));
    let full_project = Project { limits: limits(), blocked: true, tags: vec!["x".into()], ..project("p") };
    store.put_project(&full_project, true, audit()).await.unwrap();
    assert_eq!(store.project("p").await.unwrap(), Some(full_project));
    let full_budget = Budget { limits: limits(), ..budget("b", 1) };
    store.put_budget(&full_budget, true, audit()).await.unwrap();
    assert_eq!(store.budget("b").await.unwrap(), Some(full_budget));
    store.delete_budget("b", audit()).await.unwrap();
    assert_eq!(store.list_budgets(0, 10).await.unwrap().total, 0);
    let full_end_user =
        EndUser { user_id: "e".into(), blocked: true, limits: limits(), metadata, ..EndUser::default() };
    store.put_end_user(&full_end_user, true, audit()).await.unwrap();
    assert_eq!(store.end_user("e").await.unwrap(), Some(full_end_user));
    let full_tag = Tag { tag_name: "tag".into(), limits: limits(), ..Tag::default() };
    store.put_tag(&full_tag, true, audit()).await.unwrap();
    assert_eq!(store.tags().await.unwrap(), [full_tag]);
    let full_group = AccessGroup {
        access_group_id: "g".into(),
        access_group_name: "group".into(),
        access_model_names: vec!["m".to_owned()],
        limits: limits(),
        ..AccessGroup::default()
    };
    store.put_access_group(&full_group, true, audit()).await.unwrap();
    assert_eq!(store.access_groups().await.unwrap(), [full_group]);
}

async fn a_claim_stands_for_one_key_and_goes_with_it(store: &dyn Store) {
    for secret in ["sk-a", "sk-b"] {
        store.create_key(&bare(secret), audit()).await.unwrap();
    }
    let mapping = |id: &str, issuer: &str, value: &str, secret: &str| KeyMapping {
        id: id.to_owned(),
        jwt_issuer: issuer.to_owned(),
        jwt_claim_name: "client_id".to_owned(),
        jwt_claim_value: value.to_owned(),
        token: KeyHash::of(secret),
        description: Some("the batch jobs".to_owned()),
        is_active: true,
        created_at: now(),
        updated_at: now(),
    };
    let first = mapping("1", "", "jobs", "sk-a");
    let second = mapping("2", "https://issuer", "jobs", "sk-b");
    for row in [&first, &second] {
        store.put_key_mapping(row, None, true, audit()).await.unwrap();
    }
    assert_eq!(store.key_mapping_by_id("1").await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.key_mapping("", "client_id", "jobs").await.unwrap().as_ref(), Some(&first));
    assert_eq!(store.key_mapping("https://issuer", "client_id", "jobs").await.unwrap().as_ref(), Some(&second));
    assert_eq!(store.key_mapping("https://other", "client_id", "jobs").await.unwrap(), None);

    let exists = |written| matches!(written, Err(DirectoryError::Exists { .. }));
    let again = store.put_key_mapping(&mapping("3", "", "jobs", "sk-b"), None, true, audit()).await;
    assert!(exists(again), "one claim, one key");
    let moved = KeyMapping { jwt_issuer: String::new(), ..second.clone() };
    assert!(exists(store.put_key_mapping(&moved, None, false, audit()).await));
    let changed = KeyMapping { jwt_claim_value: "nightly".to_owned(), is_active: false, ..second.clone() };
    store.put_key_mapping(&changed, None, false, audit()).await.unwrap();
    let missing = store.put_key_mapping(&mapping("4", "", "x", "sk-a"), None, false, audit()).await;
    assert!(matches!(missing, Err(DirectoryError::NotFound { .. })), "{missing:?}");
    let page = store.list_key_mappings(1, 1).await.unwrap();
    assert_eq!((page.rows, page.total), (vec![changed.clone()], 2));

    // A key made for a claim is made with it, or not at all.
    let taken = store.put_key_mapping(&mapping("5", "", "jobs", "sk-c"), Some(&bare("sk-c")), true, audit()).await;
    assert!(exists(taken));
    assert_eq!(store.key(&KeyHash::of("sk-c")).await.unwrap(), None);

    store.rotate_key(&KeyHash::of("sk-a"), &bare("sk-a2"), None, audit()).await.unwrap();
    let found = store.key_mapping_by_id("1").await.unwrap().unwrap();
    assert_eq!(found.token, KeyHash::of("sk-a2"), "a claim follows its key when that is rotated");
    store.delete_key(&KeyHash::of("sk-a2"), audit()).await.unwrap();
    assert_eq!(store.key_mapping("", "client_id", "jobs").await.unwrap(), None, "and goes with it");
    store.delete_key_mapping("2", audit()).await.unwrap();
    assert_eq!(store.list_key_mappings(0, 10).await.unwrap().total, 0);
    assert!(matches!(store.delete_key_mapping("2", audit()).await, Err(DirectoryError::NotFound { .. })));
}

async fn a_setting_is_written_once(store: &dyn Store) {
    assert_eq!(store.setting("key").await.unwrap(), None);
    assert_eq!(store.setting_or_insert("key", "first").await.unwrap(), "first");
    assert_eq!(store.setting_or_insert("key", "second").await.unwrap(), "first");
    assert_eq!(store.setting("key").await.unwrap().as_deref(), Some("first"));
}

async fn a_record_is_booked_once_and_read_back(store: &dyn Store) {
    let scope = Scope::key(&KeyHash::of("sk-a"));
    let one = record(1, 100, vec![total(scope.clone()), day_account(scope.clone())]);
    let other = Record { parties: Parties::default(), ..record(2, 50, vec![total(scope.clone())]) };
    let late = Record { sequence: 1, cost: Money::nanos(-10), ..one.clone() };
    assert_eq!(store.write_records(&[one.clone(), other.clone()]).await.unwrap(), [true, true]);
    assert_eq!(store.write_records(&[one.clone(), late.clone(), late]).await.unwrap(), [false, true, false]);
    assert_eq!(store.spent(&total(scope.clone())).await.unwrap(), Money::nanos(140));
    assert_eq!(store.spent(&day_account(scope)).await.unwrap(), Money::nanos(90));
    assert!(store.knows_record(one.id).await.unwrap());
    assert!(!store.knows_record(HoldId::new([9; 16])).await.unwrap());
    let names = [(one.id, 1), (HoldId::new([9; 16]), 0), (one.id, 0), (one.id, 2), (other.id, 0)];
    assert_eq!(store.knows_records(&names).await.unwrap(), [true, false, true, false, true]);
    assert!(store.knows_records(&[]).await.unwrap().is_empty());
    let page = store.records(None, 0, 1).await.unwrap();
    assert_eq!((page.total, page.rows), (3, vec![other]), "newest first");
    let of_key = store.records(Some(&KeyHash::of("sk-a")), 0, 10).await.unwrap();
    assert_eq!((of_key.total, &of_key.rows[0]), (2, &one));
}

async fn spend_reaches_every_entity_and_the_books_add_up(store: &dyn Store) {
    put_family(store).await;
    store.create_key(&bare("sk-a"), audit()).await.unwrap();
    store.put_tag(&Tag { tag_name: "a:b%".into(), ..Tag::default() }, true, audit()).await.unwrap();
    let group = AccessGroup { access_group_id: "g".into(), access_group_name: "n".into(), ..AccessGroup::default() };
    store.put_access_group(&group, true, audit()).await.unwrap();
    let scopes = [
        Scope::global(),
        Scope::key(&KeyHash::of("sk-a")),
        Scope::new(ScopeKind::Team, &["t"]),
        Scope::new(ScopeKind::User, &["u"]),
        Scope::new(ScopeKind::User, &["a user without a row"]),
        Scope::new(ScopeKind::Member, &["t", "u"]),
        Scope::new(ScopeKind::Organization, &["o"]),
        Scope::new(ScopeKind::Project, &["p"]),
        Scope::new(ScopeKind::EndUser, &["first seen now"]),
        Scope::new(ScopeKind::Tag, &["a:b%"]),
        Scope::new(ScopeKind::AccessGroup, &["g"]),
        Scope::new(ScopeKind::AccessGroup, &["n"]),
    ];
    let accounts = scopes.into_iter().map(total).collect::<Vec<_>>();
    store.write_records(&[record(1, 100, accounts.clone()), record(2, 11, accounts)]).await.unwrap();
    let spent = Money::nanos(111);
    assert_eq!(store.key(&KeyHash::of("sk-a")).await.unwrap().unwrap().spend, spent);
    assert_eq!(store.team("t").await.unwrap().unwrap().spend, spent);
    assert_eq!(store.user("u").await.unwrap().unwrap().spend, spent);
    assert_eq!(store.members_of_team("t").await.unwrap()[0].spend, spent);
    assert_eq!(store.organization("o").await.unwrap().unwrap().spend, spent);
    assert_eq!(store.project("p").await.unwrap().unwrap().spend, spent);
    assert_eq!(store.end_user("first seen now").await.unwrap().unwrap().spend, spent);
    assert_eq!(store.tags().await.unwrap()[0].spend, spent);
    assert_eq!(store.access_groups().await.unwrap()[0].spend, spent + spent, "charged by id and by name");
    let verified = store.verify().await.unwrap();
    assert_eq!(verified.differences, []);
    assert_eq!((verified.records, verified.total_nanodollars), (2, 111));
}

async fn an_entity_created_late_has_what_its_scope_spent(store: &dyn Store) {
    let scope = Scope::new(ScopeKind::User, &["late"]);
    store.write_records(&[record(1, 42, vec![total(scope)])]).await.unwrap();
    store.put_user(&user("late"), true, audit()).await.unwrap();
    assert_eq!(store.user("late").await.unwrap().unwrap().spend, Money::nanos(42));
    assert_eq!(store.verify().await.unwrap().differences, []);
}

async fn an_update_leaves_the_spend_alone(store: &dyn Store) {
    store.put_user(&user("u"), true, audit()).await.unwrap();
    store.write_records(&[record(1, 42, vec![total(Scope::new(ScopeKind::User, &["u"]))])]).await.unwrap();
    store.put_user(&User { spend: Money::nanos(1), ..user("u") }, false, audit()).await.unwrap();
    assert_eq!(store.user("u").await.unwrap().unwrap().spend, Money::nanos(42));
}

async fn a_row_is_replaced_only_while_it_is_what_the_change_was_computed_from(store: &dyn Store) {
    put_family(store).await;
    store.create_key(&bare("sk-a"), audit()).await.unwrap();
    store.put_budget(&budget("b", 1), true, audit()).await.unwrap();
    let link = Some("b".to_owned());
    let linked = EndUser { user_id: "e".into(), budget_id: link.clone(), ..EndUser::default() };
    store.put_end_user(&linked, true, audit()).await.unwrap();
    store.put_tag(&Tag { tag_name: "t".into(), budget_id: link, ..Tag::default() }, true, audit()).await.unwrap();
    macro_rules! outrun {
        ($read:expr, $put:ident($($create:literal)?), $theirs:expr, $ours:expr) => {{
            let read = $read.await.unwrap().unwrap();
            let (theirs, ours) = ($theirs(read.clone()), $ours(read.clone()));
            store.$put(&theirs, $($create,)? computed_from(&read)).await.unwrap();
            let late = store.$put(&ours, $($create,)? computed_from(&read)).await;
            assert!(matches!(late, Err(DirectoryError::Changed { .. })), "{late:?}");
            assert_eq!($read.await.unwrap().unwrap(), theirs, "the other's change stands");
            store.$put(&ours, $($create,)? computed_from(&theirs)).await.unwrap();
        }};
    }
    let hash = KeyHash::of("sk-a");
    outrun!(store.key(&hash), update_key(), |row| Key { blocked: true, ..row }, |row| Key {
        models: vec!["m".to_owned()],
        ..row
    });
    outrun!(store.team("t"), put_team(false), |row| Team { blocked: true, ..row }, |row| Team {
        tags: vec!["x".into()],
        ..row
    });
    outrun!(store.user("u"), put_user(false), |row| User { user_role: Some(Role::InternalUser), ..row }, |row| User {
        user_alias: Some("me".to_owned()),
        ..row
    });
    outrun!(
        store.organization("o"),
        put_organization(false),
        |row| Organization { models: vec!["m".to_owned()], ..row },
        |row| Organization { organization_alias: Some("we".to_owned()), ..row }
    );
    outrun!(store.budget("b"), put_budget(false), |row| Budget { limits: limits(), ..row }, |row| Budget {
        allowed_models: vec!["m".to_owned()],
        ..row
    });
    outrun!(store.end_user_row("e"), put_end_user(false), |row| EndUser { blocked: true, ..row }, |row| EndUser {
        alias: Some("her".to_owned()),
        ..row
    });
    outrun!(store.tag_row("t"), put_tag(false), |row| Tag { models: vec!["m".to_owned()], ..row }, |row| Tag {
        description: Some("d".to_owned()),
        ..row
    });

    let read = store.key(&hash).await.unwrap().unwrap();
    store.write_records(&[record(1, 42, vec![total(Scope::key(&hash))])]).await.unwrap();
    let blocked = Key { blocked: true, ..read.clone() };
    store.update_key(&blocked, computed_from(&read)).await.expect("what a key spends meanwhile is no change of it");
    let new = Key { token: KeyHash::of("sk-b"), ..read.clone() };
    let rotated = store.rotate_key(&hash, &new, None, computed_from(&read)).await;
    assert!(matches!(rotated, Err(DirectoryError::Changed { what: "key", .. })), "{rotated:?}");
    assert!(store.key(&hash).await.unwrap().unwrap().blocked);
}

async fn days_that_leave_the_ledger_stay_in_the_books(store: &dyn Store) {
    store.put_user(&user("u"), true, audit()).await.unwrap();
    let accounts = vec![total(Scope::new(ScopeKind::User, &["u"])), total(Scope::global())];
    let at = |days: i64, id: u8| Record {
        admitted_at: now().plus_millis(days * 86_400_000),
        ..record(id, 100, accounts.clone())
    };
    let today = now().as_millis().div_euclid(86_400_000);
    store.write_records(&[at(-2, 1), at(-1, 2), at(-1, 3), at(0, 4)]).await.unwrap();
    assert_eq!(store.trim_ledger(today - 2).await.unwrap(), 0);
    assert_eq!(store.trim_ledger(today).await.unwrap(), 2);
    let left = store.records(None, 0, 10).await.unwrap();
    assert_eq!((left.total, left.rows), (1, vec![at(0, 4)]));
    assert_eq!(store.user("u").await.unwrap().unwrap().spend, Money::nanos(400));
    assert_eq!(store.verify().await.unwrap().differences, []);
    // One that comes late is booked, and leaves with the next look.
    store.write_records(&[at(-1, 5)]).await.unwrap();
    assert_eq!(store.trim_ledger(today).await.unwrap(), 1);
    assert_eq!(store.spent(&total(Scope::global())).await.unwrap(), Money::nanos(500));
    assert_eq!(store.verify().await.unwrap().differences, []);
}

async fn an_import_writes_once_and_brings_nothing_back(store: &dyn Store) {
    let opening = |name: &str, scope: Scope, cost| {
        let id = opening_id("keys", name);
        vec![Record { id, status: RecordStatus::Opening, ..record(0, cost, vec![total(scope)]) }]
    };
    let taken = Key { key_alias: Some("alias".into()), ..bare("sk-here") };
    store.create_key(&taken, audit()).await.unwrap();
    let first = Key { key_alias: Some("alias".into()), ..bare("sk-first") };
    let second = bare("sk-second");
    let old = |active: &Key| DeprecatedKey {
        token: KeyHash::of("sk-old"),
        active_token: active.token,
        revoke_at: now().plus_millis(1_000),
        created_at: now(),
    };
    let mut bundle = Bundle::new(now(), "import".to_owned());
    bundle.keys = [&taken, &first, &second]
        .map(|row| Incoming { row: row.clone(), openings: opening(&row.token.to_string(), Scope::key(&row.token), 7) })
        .into();
    bundle.deprecated = vec![old(&second)];
    bundle.budgets = vec![budget("b", 1)];
    bundle.global = opening("global", Scope::global(), 100);
    let dry = Arc::new(Bundle { dry_run: true, ..bundle.clone() });
    let bundle = Arc::new(bundle);

    let before = store.verify().await.unwrap();
    let would = store.import(dry).await.unwrap();
    assert_eq!(store.key(&second.token).await.unwrap(), None, "a dry run writes nothing");
    assert_eq!(store.verify().await.unwrap(), before);

    let did = store.import(Arc::clone(&bundle)).await.unwrap();
    assert_eq!(did, would);
    assert_eq!(did.tables["keys"], Tally { imported: 2, unchanged: 1 });
    assert_eq!(did.obstacles, [("keys", first.token.to_string(), Obstacle::NameTaken)]);
    assert_eq!((did.records, did.opening), (3, Money::nanos(114)));
    let found = store.key(&first.token).await.unwrap().unwrap();
    assert_eq!((found.key_alias, found.spend), (None, Money::nanos(7)));
    assert_eq!(store.key(&taken.token).await.unwrap().unwrap().spend, Money::ZERO, "what is there stays as it is");
    assert_eq!(store.spent(&total(Scope::global())).await.unwrap(), Money::nanos(100));
    let rotated = store.identity(&KeyHash::of("sk-old"), now()).await.unwrap().unwrap();
    assert_eq!(rotated.key.unwrap().token, second.token);
    let verified = store.verify().await.unwrap();
    assert_eq!((verified.records, verified.differences.len()), (3, 0));

    let again = store.import(Arc::clone(&bundle)).await.unwrap();
    assert_eq!(again.tables["keys"], Tally { imported: 0, unchanged: 3 });
    assert_eq!((again.records, again.obstacles.len()), (0, 0));
    assert_eq!((again.accounts.len(), &again.accounts), (4, &did.accounts), "counters that missed the first hear it");

    store.delete_key(&second.token, audit()).await.unwrap();
    let later = store.import(bundle).await.unwrap();
    assert_eq!(store.key(&second.token).await.unwrap(), None, "a key deleted here stays deleted");
    let gone = |table, name: &KeyHash| (table, name.to_string(), Obstacle::RemovedHere);
    let gone_too = gone("deprecated_keys", &KeyHash::of("sk-old"));
    assert_eq!(later.obstacles, [gone("keys", &second.token), gone_too]);
    assert_eq!(store.verify().await.unwrap().records, 3);
    let mut rotated = Bundle::new(now(), "import".to_owned());
    rotated.deprecated = vec![DeprecatedKey { token: taken.token, ..old(&first) }];
    let found = store.import(Arc::new(rotated)).await.unwrap();
    assert_eq!(found.obstacles, [("deprecated_keys", taken.token.to_string(), Obstacle::StillAKey)]);
}

async fn an_import_completes_an_end_user_who_was_first_seen_by_spending(store: &dyn Store) {
    let scope = |name: &str| Scope::new(ScopeKind::EndUser, &[name]);
    let accounts = vec![total(scope("seen")), total(scope("written"))];
    store.write_records(&[record(1, 42, accounts)]).await.unwrap();
    let written = EndUser { user_id: "written".into(), ..EndUser::default() };
    let by_hand = AuditEntry { table: "end_users", object_id: "written".to_owned(), ..audit() };
    store.put_end_user(&written, false, by_hand).await.unwrap();
    let mut bundle = Bundle::new(now(), "import".to_owned());
    bundle.budgets = vec![budget("b", 9)];
    bundle.end_users = ["seen", "written", "new"]
        .map(|name| Incoming {
            row: EndUser {
                user_id: name.into(),
                blocked: true,
                models: vec!["m".to_owned()],
                budget_id: Some("b".to_owned()),
                ..EndUser::default()
            },
            openings: vec![Record {
                id: opening_id("end_users", name),
                status: RecordStatus::Opening,
                ..record(0, 7, vec![total(scope(name))])
            }],
        })
        .into();
    let bundle = Arc::new(bundle);
    let did = store.import(Arc::clone(&bundle)).await.unwrap();
    assert_eq!((did.tables["end_users"], did.records), (Tally { imported: 2, unchanged: 1 }, 2));
    for (name, blocked, rpm, spend) in
        [("seen", true, Some(9), 49), ("written", false, None, 42), ("new", true, Some(9), 7)]
    {
        let found = store.end_user(name).await.unwrap().unwrap();
        let told = (found.blocked, found.models.is_empty(), found.limits.rpm_limit, found.spend);
        assert_eq!(told, (blocked, !blocked, rpm, Money::nanos(spend)), "{name}");
    }
    let proof = store.verify().await.unwrap();
    assert_eq!(proof.differences, []);
    let again = store.import(bundle).await.unwrap();
    assert_eq!((again.tables["end_users"], again.records), (Tally { imported: 0, unchanged: 3 }, 0));
    assert_eq!(store.verify().await.unwrap(), proof);
}

async fn an_import_does_not_let_a_secret_that_was_removed_here_work_again(store: &dyn Store) {
    let alone = |row: Key| Incoming { row, openings: Vec::new() };
    let (old, new) = (bare("sk-old"), bare("sk-new"));
    let mut before = Bundle::new(now(), "import".to_owned());
    before.keys = vec![alone(old.clone())];
    store.import(Arc::new(before)).await.unwrap();
    store.delete_key(&old.token, audit()).await.unwrap();
    // There it was rotated, and the old secret works for a while.
    let mut after = Bundle::new(now(), "import".to_owned());
    after.keys = vec![alone(new.clone())];
    let until = now().plus_millis(1_000);
    after.deprecated = [&old, &bare("sk-never-here")]
        .map(|was| DeprecatedKey { token: was.token, active_token: new.token, revoke_at: until, created_at: now() })
        .into();
    let did = store.import(Arc::new(after)).await.unwrap();
    assert_eq!(did.obstacles, [("deprecated_keys", old.token.to_string(), Obstacle::RemovedHere)]);
    for (secret, works) in [("sk-old", false), ("sk-never-here", true), ("sk-new", true)] {
        let found = store.identity(&KeyHash::of(secret), now()).await.unwrap();
        assert_eq!(found.is_some(), works, "{secret}");
    }
}
