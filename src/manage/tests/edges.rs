//! When the directory is down, and who may only look.

use std::sync::atomic::Ordering;

use super::*;
use crate::directory::faulty::Fault;
use crate::domain::{AuthMethod, Caller, Identity, User};

#[tokio::test]
async fn a_directory_that_is_down_is_our_trouble_and_not_the_callers() {
    let house = House::new().await;
    house.store.set(Fault::Before(DirectoryError::Unavailable("the disk is gone".into())));
    let error = house.generate(&admin(), json!({"key_alias": "a"})).await.unwrap_err();
    assert_eq!((error.status, error.kind), (503, "no_db_connection"));
    assert!(!error.message.contains("disk"), "what is wrong inside is not for callers");
}

#[tokio::test]
async fn viewers_see_and_do_not_touch() {
    let house = House::new().await;
    let viewer = house.user("v", json!({"user_role": "proxy_admin_viewer"})).await;
    assert_eq!(viewer.caller.role, Role::ProxyAdminViewer);
    let name = KeyName::new(house.generate(&admin(), json!({})).await.unwrap()["key"].as_str().unwrap());
    house.manager.key_info(&viewer, Some(&name)).await.unwrap();
    house.manager.list_users(&viewer, 0, 10).await.unwrap();
    assert_eq!(refused(house.manager.block_key(&viewer, &name, true).await).0, 403);
    assert_eq!(refused(house.manager.regenerate_key(&viewer, Some(&name), Params::new()).await).0, 403);
}

#[tokio::test]
async fn a_key_whose_spend_cannot_be_booked_is_not_left_without_its_secret() {
    let house = House::new().await;
    house.adjusted.fails.store(true, Ordering::Relaxed);
    let error = house.generate(&admin(), json!({"key_alias": "a", "spend": 1})).await.unwrap_err();
    assert_eq!((error.status, house.count_keys().await), (503, 0));
    house.adjusted.fails.store(false, Ordering::Relaxed);
    let made = house.generate(&admin(), json!({"key_alias": "a", "spend": 1})).await.unwrap();
    assert_eq!(made["spend"], json!(1.0));
}

#[tokio::test]
async fn spend_is_reset_to_no_more_than_it_is() {
    let house = House::new().await;
    let key = house.generate(&admin(), json!({"key_alias": "a"})).await.unwrap()["key"].clone();
    let name = KeyName::new(key.as_str().unwrap());
    let reset = |params| house.manager.reset_spend(admin_static(), &name, object(params));
    for (params, status) in [
        (json!({}), 422),
        (json!({"reset_to": -1}), 400),
        (json!({"reset_to": 1}), 400),
        (json!({"reset_to": "x"}), 422),
    ] {
        assert_eq!(refused(reset(params).await), (status, Some("reset_to".into())));
    }
    let row = reset(json!({"reset_to": 0})).await.unwrap();
    assert_eq!((&row["spend"], &row["previous_spend"]), (&json!(0.0), &json!(0.0)));
    let owner = house.user("u", json!({"user_role": "internal_user"})).await;
    assert_eq!(refused(house.manager.reset_spend(&owner, &name, object(json!({"reset_to": 0}))).await).0, 403);
}

#[tokio::test]
async fn lists_of_aliases_teams_and_users_show_what_the_caller_may_see() {
    let house = House::new().await;
    let plain = house.user("u", json!({"user_role": "internal_user", "key_alias": "of-u"})).await;
    house.team(json!({"team_id": "in", "members": ["u"]})).await;
    house.team(json!({"team_id": "out"})).await;
    house.generate(&admin(), json!({"key_alias": "other"})).await.unwrap();
    let aliases = house.manager.key_aliases(&plain, Params::new()).await.unwrap();
    assert_eq!((&aliases["aliases"], &aliases["total_count"]), (&json!(["of-u"]), &json!(1)));
    let teams = async |actor: &Actor, params: Value| {
        let rows = house.manager.teams_of(actor, object(params)).await?;
        Ok(rows.as_array().unwrap().iter().map(|row| row["team_id"].clone()).collect::<Vec<_>>())
    };
    assert_eq!(teams(&admin(), json!({})).await.unwrap().len(), 2);
    assert_eq!(teams(&plain, json!({})).await.unwrap(), [json!("in")]);
    assert_eq!(teams(&admin(), json!({"user_id": "u"})).await.unwrap(), [json!("in")]);
    assert_eq!(refused(teams(&plain, json!({"user_id": "other"})).await).0, 403);
    let users = house.manager.page_of_users(&admin(), object(json!({"page_size": 1}))).await.unwrap();
    assert_eq!((&users["total"], &users["page"], &users["total_pages"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(refused(house.manager.page_of_users(&plain, Params::new()).await).0, 403);
    let named = object(json!({"keys": ["of-u", "nobody"]}));
    let found = house.manager.keys_info(&plain, named).await.unwrap();
    assert_eq!((&found["key"], &found["info"][0]["key_alias"]), (&json!(["of-u"]), &json!("of-u")));
    assert_eq!(refused(house.manager.keys_info(&plain, object(json!({"keys": ["other"]}))).await).0, 403);
}

#[tokio::test]
async fn a_team_made_by_an_administrator_nobody_registered_has_no_member() {
    let house = House::new().await;
    let user = User { user_id: "ghost".into(), ..User::default() };
    let identity = Arc::new(Identity { user: Some(Arc::new(user)), ..Identity::default() });
    let ghost = Actor::new(Caller::new(AuthMethod::Jwt, Role::ProxyAdmin, identity), None);
    let team = house.manager.create_team(&ghost, object(json!({"team_id": "t"}))).await.unwrap();
    assert_eq!(team["members_with_roles"], json!([]), "{team}");
}
