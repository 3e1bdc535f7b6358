//! What a route given to a key by name opens, and what it does not.

use super::*;
use crate::domain::Identity;

#[tokio::test]
async fn a_granted_route_opens_its_operation_and_makes_plain_users_only() {
    let house = House::new().await;
    house.team(json!({"team_id": "t"})).await;
    let actor = house.user("u", json!({"user_role": "internal_user"})).await;
    assert_eq!(refused(house.manager.create_user(&actor, object(json!({}))).await).0, 403);
    let granted = actor.with_granted_route(true);
    let made = house.manager.create_user(&granted, object(json!({"user_id": "new"}))).await.unwrap().reveal();
    let key = house.key(&made).await;
    assert_eq!((key.user_id.as_deref(), key.allowed_routes.len()), (Some("new"), 0));
    for (params, status) in [
        (json!({"user_role": "proxy_admin"}), 403),
        (json!({"user_role": "proxy_admin_viewer"}), 403),
        (json!({"teams": ["t"]}), 403),
    ] {
        let shown = params.to_string();
        assert_eq!(refused(house.manager.create_user(&granted, object(params)).await).0, status, "{shown}");
    }
}

#[tokio::test]
async fn a_granted_route_lifts_no_bound_of_what_is_set() {
    let house = House::new().await;
    let granted = house.user("u", json!({"user_role": "internal_user"})).await.with_granted_route(true);
    house.user("other", json!({})).await;
    for params in [
        json!({"user_id": "other"}),
        json!({"spend": 1}),
        json!({"allowed_routes": ["/user/new"]}),
        json!({"key_type": "management"}),
        json!({"permissions": {"x": true}}),
    ] {
        let shown = params.to_string();
        assert_eq!(refused(house.generate(&granted, params).await).0, 403, "{shown}");
    }
}

/// The actor with a credential that is good for these models, and for five dollars.
fn narrowed(mut actor: Actor, models: &[&str]) -> Actor {
    let credential = crate::domain::Grant {
        models: vec![models.iter().map(|name| (*name).to_owned()).collect()],
        max_budget: Money::from_dollars(5.0),
        ..crate::domain::Grant::default()
    };
    actor.caller.grant = Some(std::sync::Arc::new(credential));
    actor
}

/// An access group of this id that holds one model.
async fn group(house: &House, id: &str, model: &str) {
    let group = crate::domain::AccessGroup {
        access_group_id: id.into(),
        access_group_name: id.into(),
        access_model_names: vec![model.to_owned()],
        ..Default::default()
    };
    house.store.put_access_group(&group, true, crate::directory::testing::audit()).await.unwrap();
}

#[tokio::test]
async fn a_key_is_no_wider_than_the_credential_it_was_made_with() {
    let house = House::new().await;
    group(&house, "cheap", "gpt-4o").await;
    group(&house, "dear", "gpt-4").await;
    house.user("u", json!({"user_role": "internal_user"})).await;
    house.team(json!({"team_id": "t", "admins": ["u"], "access_group_ids": ["cheap", "dear"]})).await;
    let actor = narrowed(house.actor("u").await, &["gpt-4o"]);
    let made = house.generate(&actor, json!({})).await.unwrap();
    let key = house.key(&made).await;
    assert_eq!(
        (key.models, key.limits.max_budget.map(|budget| budget.dollars())),
        (vec!["gpt-4o".to_owned()], Some(5.0))
    );
    for params in [
        json!({"models": ["gpt-4"]}),
        json!({"models": ["*"]}),
        json!({"models": ["all-team-models"]}),
        json!({"models": ["gpt-4o", "all-team-models"], "team_id": "t"}),
        json!({"models": ["gpt-4o"], "team_id": "t", "access_group_ids": ["dear"]}),
        json!({"team_id": "t", "access_group_ids": ["cheap", "dear"]}),
        json!({"max_budget": 6}),
    ] {
        let shown = params.to_string();
        assert_eq!(refused(house.generate(&actor, params).await).0, 400, "{shown}");
    }
    let of_group = json!({"team_id": "t", "access_group_ids": ["cheap"]});
    let key = house.key(&house.generate(&actor, of_group).await.unwrap()).await;
    assert_eq!((key.models.len(), key.access_group_ids), (0, vec!["cheap".to_owned()]));
}

#[tokio::test]
async fn a_key_made_with_a_key_of_access_groups_stays_within_them() {
    let house = House::new().await;
    group(&house, "cheap", "gpt-4o").await;
    group(&house, "dear", "gpt-4").await;
    house.user("u", json!({"user_role": "internal_user", "auto_create_key": false})).await;
    house.team(json!({"team_id": "t", "admins": ["u"], "access_group_ids": ["cheap", "dear"]})).await;
    let own = json!({"user_id": "u", "team_id": "t", "access_group_ids": ["cheap"]});
    house.generate(&admin(), own).await.unwrap();
    let actor = house.actor("u").await;
    let key = house.key(&house.generate(&actor, json!({})).await.unwrap()).await;
    assert_eq!((key.models.len(), key.access_group_ids), (0, vec!["cheap".to_owned()]));
    house.generate(&actor, json!({"models": ["gpt-4o"]})).await.unwrap();
    for params in [
        json!({"models": ["gpt-4"]}),
        json!({"models": ["all-team-models"], "team_id": "t"}),
        json!({"team_id": "t", "access_group_ids": ["dear"]}),
    ] {
        let shown = params.to_string();
        assert_eq!(refused(house.generate(&actor, params).await).0, 400, "{shown}");
    }
}

#[tokio::test]
async fn an_owner_does_not_leave_a_list_of_models_to_the_team() {
    let house = House::new().await;
    let owner = house.user("u", json!({"user_role": "internal_user"})).await;
    let made = house.generate(&admin(), json!({"user_id": "u", "models": ["gpt-4o"]})).await.unwrap();
    let wider = json!({"key": made["key"], "models": ["all-team-models"]});
    assert_eq!(refused(house.manager.update_key(&owner, object(wider)).await).0, 403);
}

#[tokio::test]
async fn a_narrowed_credential_rotates_no_key_that_has_more_than_it_allows() {
    let house = House::new().await;
    let actor = house.user("u", json!({"user_role": "internal_user"})).await;
    let budget = json!({"budget_id": "b", "max_budget": 5});
    house.manager.create_budget(&admin(), object(budget)).await.unwrap();
    let narrow = narrowed(actor.clone(), &["gpt-4o"]);
    for (made, expected) in [
        (json!({}), false),
        (json!({"max_budget": 5}), false),
        (json!({"models": ["gpt-4o"]}), false),
        (json!({"models": ["gpt-4o"], "max_budget": 6}), false),
        (json!({"models": ["gpt-4"], "max_budget": 5}), false),
        (json!({"models": ["all-team-models"], "max_budget": 5}), false),
        (json!({"models": ["gpt-4o"], "max_budget": 5}), true),
        (json!({"models": ["gpt-4o"], "budget_id": "b"}), true),
    ] {
        let (shown, mut made) = (made.to_string(), made);
        made["user_id"] = json!("u");
        let key = house.generate(&admin(), made).await.unwrap()["key"].clone();
        let rotate = |actor, key: &Value| house.manager.regenerate_key(actor, None, object(json!({"key": key})));
        let got = rotate(&narrow, &key).await;
        assert_eq!(got.is_ok(), expected, "{shown}");
        match got {
            Ok(issued) => assert!(issued.reveal()["key"] != key),
            Err(error) => {
                assert_eq!(error.status, 403, "{shown}");
                rotate(&actor, &key).await.expect("whom no credential narrows");
            }
        }
    }
}

#[tokio::test]
async fn a_key_rotates_itself_and_none_that_has_more() {
    let house = House::new().await;
    group(&house, "cheap", "gpt-4o").await;
    group(&house, "dear", "gpt-4").await;
    house.user("u", json!({"user_role": "internal_user", "auto_create_key": false})).await;
    let of_user = |params: Value| {
        let mut params = params;
        params["user_id"] = json!("u");
        params
    };
    let narrow = json!({"models": ["gpt-4o"], "max_budget": 5, "key_alias": "narrow"});
    let narrow = house.generate(&admin(), of_user(narrow)).await.unwrap();
    let actor = house.actor("u").await;
    let rotate = async |actor: &Actor, key: &Value| {
        house.manager.regenerate_key(actor, None, object(json!({"key": key}))).await.map(|issued| issued.reveal())
    };
    for (made, expected) in [
        (json!({}), false),
        (json!({"models": ["gpt-4o"]}), false),
        (json!({"max_budget": 5}), false),
        (json!({"models": ["gpt-4o", "gpt-4"], "max_budget": 5}), false),
        (json!({"models": ["gpt-4o"], "max_budget": 6}), false),
        (json!({"models": ["gpt-4o"], "max_budget": 5}), true),
        (json!({"models": ["gpt-4o"], "max_budget": 4, "duration": "1h"}), true),
        (json!({"access_group_ids": ["cheap"], "max_budget": 5}), true),
        (json!({"access_group_ids": ["dear"], "max_budget": 5}), false),
    ] {
        let shown = made.to_string();
        let key = house.generate(&admin(), of_user(made)).await.unwrap()["key"].clone();
        let got = rotate(&actor, &key).await;
        let refused = got.err().map(|error| (error.status, error.message));
        assert_eq!(refused.as_ref().map(|(status, _)| *status), (!expected).then_some(403), "{shown}: {refused:?}");
    }
    let again = rotate(&actor, &narrow["key"]).await.expect("itself");
    // A free key rotates any of its user's.
    let free = house.generate(&admin(), of_user(json!({"key_alias": "free"}))).await.unwrap();
    let identity = Identity { key: Some(house.key(&free).await), ..(*actor.caller.identity).clone() };
    let mut freed = actor.clone();
    freed.caller.identity = std::sync::Arc::new(identity);
    rotate(&freed, &again["key"]).await.unwrap();
}

/// The status of what was refused; 200 of what was not.
async fn status<T>(result: impl Future<Output = Result<T>>) -> u16 {
    result.await.err().map_or(200, |error| error.status)
}

/// The actor as one who signed in: without a key.
fn signed_in(actor: &Actor) -> Actor {
    let identity = Identity { key: None, ..(*actor.caller.identity).clone() };
    let mut actor = actor.clone();
    actor.caller.identity = std::sync::Arc::new(identity);
    actor
}

#[tokio::test]
async fn an_owner_does_not_leave_the_access_groups_of_a_key() {
    let house = House::new().await;
    group(&house, "cheap", "gpt-4o").await;
    group(&house, "dear", "gpt-4").await;
    house.user("u", json!({"user_role": "internal_user", "auto_create_key": false})).await;
    house.team(json!({"team_id": "t", "access_group_ids": ["cheap", "dear"]})).await;
    let made = json!({"user_id": "u", "access_group_ids": ["cheap"]});
    let mut key = house.generate(&admin(), made).await.unwrap()["key"].clone();
    for (change, expected) in [
        (json!({"access_group_ids": []}), 403),
        (json!({"models": ["gpt-4"]}), 403),
        (json!({"models": ["*"]}), 403),
        (json!({"access_group_ids": ["cheap", "dear"]}), 403),
        (json!({"key_alias": "mine"}), 200),
        (json!({"models": ["gpt-4o"], "access_group_ids": []}), 200),
    ] {
        let shown = change.to_string();
        let named = |key: &Value| {
            let mut params = object(change.clone());
            params.insert("key".into(), key.clone());
            params
        };
        for actor in [house.actor("u").await, signed_in(&house.actor("u").await)] {
            assert_eq!(status(house.manager.update_key(&actor, named(&key))).await, expected, "{shown}");
            match house.manager.regenerate_key(&actor, None, named(&key)).await {
                Ok(issued) => key = issued.reveal()["key"].clone(),
                Err(error) => assert_eq!(error.status, expected, "{shown}: {}", error.message),
            }
        }
    }
}

#[tokio::test]
async fn the_key_of_a_teams_admin_widens_none_beyond_itself() {
    let house = House::new().await;
    house.user("u", json!({"user_role": "internal_user", "auto_create_key": false})).await;
    house.team(json!({"team_id": "t", "admins": ["u"]})).await;
    let made = json!({"user_id": "u", "team_id": "t", "models": ["gpt-4o"], "max_budget": 5});
    let key = house.generate(&admin(), made).await.unwrap()["key"].clone();
    let actor = house.actor("u").await;
    for wider in [
        json!({"models": []}),
        json!({"models": ["gpt-4o", "gpt-4"]}),
        json!({"max_budget": null}),
        json!({"max_budget": 6}),
        json!({"temp_budget_increase": 1000, "temp_budget_expiry": "2099-01-01T00:00:00Z"}),
    ] {
        let shown = wider.to_string();
        let mut params = object(wider);
        params.insert("key".into(), key.clone());
        for actor in [&actor, &narrowed(signed_in(&actor), &["gpt-4o"])] {
            assert_eq!(status(house.manager.update_key(actor, params.clone())).await, 403, "{shown}");
            assert_eq!(status(house.manager.regenerate_key(actor, None, params.clone())).await, 403, "{shown}");
        }
        assert_eq!(status(house.manager.update_key(&signed_in(&actor), params.clone())).await, 200, "{shown}");
        let again = json!({"key": key, "models": ["gpt-4o"], "max_budget": 5,
            "temp_budget_increase": null, "temp_budget_expiry": null});
        assert_eq!(status(house.manager.update_key(&actor, object(again))).await, 200, "{shown}");
    }
    let increased = json!({"models": ["gpt-4o"], "max_budget": 5, "temp_budget_increase": 1,
        "temp_budget_expiry": "2099-01-01T00:00:00Z"});
    assert_eq!(status(house.generate(&actor, increased)).await, 400, "nor does a key that it makes have more");
}

#[tokio::test]
async fn nobody_makes_or_takes_a_key_that_acts_for_who_stands_higher() {
    let house = House::new().await;
    let u = house.user("u", json!({"user_role": "internal_user"})).await;
    house.user("lead", json!({"user_role": "internal_user"})).await;
    house.team(json!({"team_id": "t", "admins": ["u"], "members": ["lead"]})).await;
    house.team(json!({"team_id": "other", "admins": ["lead"]})).await;
    let of_lead = |kind: &str| json!({"team_id": "t", "user_id": "lead", "key_type": kind});
    let free = house.generate(&admin(), of_lead("default")).await.unwrap()["key"].clone();
    let rotate = |key: &Value| house.manager.regenerate_key(&u, None, object(json!({"key": key})));
    assert_eq!(status(house.generate(&u, of_lead("default"))).await, 403);
    assert_eq!(status(rotate(&free)).await, 403);
    let calls = house.generate(&u, of_lead("llm_api")).await.unwrap()["key"].clone();
    let calls = rotate(&calls).await.unwrap().reveal()["key"].clone();
    let opened = object(json!({"key": calls, "key_type": "default"}));
    assert_eq!(status(house.manager.update_key(&u, opened)).await, 403);
    let promoted = json!({"team_id": "other", "member": {"user_id": "u", "role": "admin"}});
    house.manager.add_members(&admin(), object(promoted)).await.unwrap();
    assert_eq!(status(rotate(&free)).await, 200, "who stands as high");
}

#[tokio::test]
async fn a_narrowed_caller_gets_no_key_of_a_higher_role() {
    let house = House::new().await;
    let mut ada = house.user("ada", json!({"user_role": "proxy_admin"})).await;
    let lead = house.user("lead", json!({"user_role": "internal_user"})).await;
    house.team(json!({"team_id": "t", "admins": ["ada", "lead"]})).await;
    let old = house.generate(&admin(), json!({"user_id": "ada"})).await.unwrap()["key"].clone();
    let service = house.generate(&admin(), json!({"team_id": "t"})).await.unwrap()["key"].clone();
    for (role, own, of_team) in [
        (Role::InternalUserViewer, 403, 403),
        (Role::InternalUser, 403, 200),
        (Role::OrgAdmin, 403, 200),
        (Role::ProxyAdminViewer, 403, 403),
        (Role::ProxyAdmin, 200, 200),
    ] {
        ada.caller.role = role;
        let status = |result: Result<()>| result.err().map_or(200, |error| error.status);
        let generate = async |params| status(house.generate(&ada, params).await.map(|_| ()));
        assert_eq!(generate(json!({})).await, own, "{role:?}");
        assert_eq!(generate(json!({"team_id": "t", "user_id": "ada"})).await, own, "{role:?}");
        assert_eq!(generate(json!({"team_id": "t", "user_id": "lead"})).await, of_team, "{role:?}");
        let team = object(json!({"team_id": "t"}));
        let account = house.manager.generate_service_account(&ada, team).await;
        assert_eq!(status(account.map(|_| ())), of_team, "{role:?}");
        let take = object(json!({"key": service, "user_id": "ada"}));
        assert_eq!(status(house.manager.update_key(&ada, take).await.map(|_| ())), own, "{role:?}");
        let rotate = object(json!({"key": old, "grace_period": "1h"}));
        let rotated = house.manager.regenerate_key(&ada, None, rotate).await;
        assert_eq!(status(rotated.map(|_| ())), own, "{role:?}");
    }
    let for_admin = json!({"team_id": "t", "user_id": "ada"});
    assert_eq!(refused(house.generate(&lead, for_admin).await).0, 403, "nor does a team's admin");
}

#[tokio::test]
async fn nobody_lets_a_model_pass_for_another_by_an_alias() {
    let house = House::new().await;
    house.user("u", json!({"user_role": "internal_user", "auto_create_key": false})).await;
    let own = |models: Value, aliases: Value| json!({"user_id": "u", "models": models, "aliases": aliases});
    let given = own(json!(["gpt-4o-mini", "gpt-4o"]), json!({"house": "gpt-4o"}));
    let key = house.generate(&admin(), given).await.unwrap()["key"].clone();
    let actor = house.actor("u").await;
    for (aliases, expected) in [
        (json!({"house": "gpt-4o", "fast": "gpt-4o-mini"}), 200),
        (json!({"house": "gpt-4o", "dear": "gpt-4"}), 403),
        (json!({"house": "gpt-4o", "gpt-4o": "gpt-4o-mini"}), 403),
        (json!({"house": "gpt-4o-mini"}), 403),
        (json!({}), 403),
    ] {
        let change = |key: &Value| object(json!({"key": key, "aliases": aliases}));
        let back = json!({"key": key, "aliases": {"house": "gpt-4o"}});
        for actor in [&actor, &signed_in(&actor), &narrowed(signed_in(&actor), &["gpt-4o-mini"])] {
            assert_eq!(status(house.manager.update_key(actor, change(&key))).await, expected, "{aliases}");
            house.manager.update_key(&admin(), object(back.clone())).await.unwrap();
        }
    }
    for (models, aliases, expected) in [
        (json!(["gpt-4o-mini"]), json!({"fast": "gpt-4o-mini"}), 200),
        (json!(["gpt-4o-mini"]), json!({"gpt-4o": "gpt-4o-mini"}), 400),
        (json!(["gpt-4o-mini"]), json!({"fast": "gpt-4o"}), 400),
        (json!(["gpt-4o-mini"]), json!({"house": "gpt-4o-mini"}), 400),
    ] {
        let shown = aliases.to_string();
        assert_eq!(status(house.generate(&actor, own(models, aliases))).await, expected, "{shown}");
    }
    let child = house.key(&house.generate(&actor, json!({})).await.unwrap()).await;
    assert_eq!(json!(child.aliases), json!({"house": "gpt-4o"}), "a name stands for the same in a key made with it");
    let any = own(json!([]), json!({"gpt-4o": "gpt-4o-mini"}));
    assert_eq!(status(house.generate(&signed_in(&actor), any.clone())).await, 400);
    assert_eq!(status(house.generate(&admin(), any)).await, 200, "who administers the gate knows its upstreams");
    let granted = signed_in(&actor).with_granted_route(true);
    let first = json!({"user_id": "new", "aliases": {"gpt-4o": "gpt-4o-mini"}});
    assert_eq!(refused(house.manager.create_user(&granted, object(first)).await).0, 403);
}

#[tokio::test]
async fn an_alias_that_the_configuration_gives_every_key_is_no_choice_of_its_maker() {
    let mut config = Config::default();
    config.litellm_settings.default_key_generate_params = object(json!({"aliases": {"house": "gpt-4o"}}));
    let house = House::with(config).await;
    let actor = house.user("u", json!({"user_role": "internal_user", "auto_create_key": false})).await;
    house
        .generate(&admin(), json!({"user_id": "u", "models": ["gpt-4o"], "aliases": {"own": "gpt-4o"}}))
        .await
        .unwrap();
    for actor in [&actor, &house.actor("u").await, &narrowed(actor.clone(), &["gpt-4o"])] {
        let key = house.key(&house.generate(actor, json!({"models": ["gpt-4o"]})).await.unwrap()).await;
        assert_eq!(key.aliases["house"], "gpt-4o");
    }
}
