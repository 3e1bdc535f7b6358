//! The operations over a real directory.

mod edges;
mod grants;
pub(crate) mod house;
mod key_mappings;
mod linked;
mod races;
mod sessions;

use serde_json::{Value, json};

use self::house::{House, NOW, admin, admin_static, object, refused};
use super::*;
use crate::directory::Store;
use crate::domain::{KeyHash, Role};

#[tokio::test]
async fn a_key_is_issued_with_its_secret_once_and_its_hash_for_ever() {
    let house = House::new().await;
    let answer = house
        .generate(
            &admin(),
            json!({"key_alias": "a", "max_budget": 1.5, "duration": "1h", "guardrails": ["g"], "nobody": 1}),
        )
        .await
        .unwrap();
    let secret = answer["key"].as_str().unwrap();
    assert_eq!(answer["token"], json!(KeyHash::of(secret)));
    assert_eq!(answer["token_id"], answer["token"]);
    assert_eq!(answer["guardrails"], json!(["g"]));
    assert_eq!(answer["expires"], json!(NOW.plus_millis(3_600_000)));
    assert!(answer["warnings"][0].as_str().unwrap().contains("nobody"));
    for field in
        ["user_id", "team_id", "models", "aliases", "config", "permissions", "spend", "soft_budget", "budget_id"]
    {
        assert!(answer.get(field).is_some(), "{field}");
    }
    let info = house.manager.key_info(&admin(), Some(&KeyName::new("a"))).await.unwrap();
    assert!(!info.to_string().contains(secret));
    assert_eq!((&info["info"]["status"], &info["info"]["max_budget"]), (&json!("active"), &json!(1.5)));
    let audit = house.audit();
    assert_eq!((audit.len(), &audit[0][..3]), (1, &["created", "keys", "operator"].map(str::to_owned)[..]));
    assert!(!audit[0][3].contains(secret) && audit[0][3].contains("max_budget"), "{audit:?}");
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_names_the_parameter() {
    let house = House::new().await;
    house.generate(&admin(), json!({"key_alias": "taken", "key": "sk-taken-1234567890"})).await.unwrap();
    for (params, status, param) in [
        (json!({"max_budget": -1}), 400, "max_budget"),
        (json!({"max_budget": "abc"}), 422, "max_budget"),
        (json!({"soft_budget": 2, "max_budget": 1}), 400, "soft_budget"),
        (json!({"rpm_limit": -1}), 422, "rpm_limit"),
        (json!({"duration": "abc"}), 400, "duration"),
        (json!({"duration": "-1s"}), 400, "duration"),
        (json!({"budget_duration": "x"}), 400, "budget_duration"),
        (json!({"key_alias": "taken"}), 400, "key_alias"),
        (json!({"key_alias": "../x"}), 400, "key_alias"),
        (json!({"key": "sk-short"}), 400, "key"),
        (json!({"key": "no-prefix-1234567890"}), 400, "key"),
        (json!({"key": "sk-taken-1234567890"}), 400, "key"),
        (json!({"team_id": "nope"}), 400, "team_id"),
        (json!({"organization_id": "nope"}), 400, "organization_id"),
        (json!({"budget_id": "nope"}), 400, "budget_id"),
        (json!({"metadata": {"service_account_id": "x"}}), 400, "metadata"),
        (json!({"allowed_ips": ["10.0.0.0/8", "here"]}), 400, "allowed_ips"),
        (json!({"allowed_ips": ["10.0.0.0/33"]}), 400, "allowed_ips"),
        (json!({"temp_budget_increase": 1}), 400, "temp_budget_increase"),
        (json!({"spend": -1}), 400, "spend"),
        (json!({"auto_rotate": true}), 400, "rotation_interval"),
        (json!({"metadata": {"x": "y".repeat(70_000)}}), 400, "metadata"),
        (json!({"budget_limits": vec![json!({"budget_duration": "1d", "max_budget": 1}); 65]}), 400, "budget_limits"),
    ] {
        let shown = params.to_string();
        let got = refused(house.generate(&admin(), params).await);
        assert_eq!(got, (status, Some(param.to_owned())), "{:.80}", shown);
    }
    assert_eq!(house.count_keys().await, 1);
}

#[tokio::test]
async fn addresses_stand_beside_networks_and_a_user_nobody_registered_is_a_name() {
    let house = House::new().await;
    let made =
        json!({"allowed_ips": ["192.0.2.1", "10.0.0.0/8", "2001:db8::1", " 2001:db8::/32 "], "user_id": "anyone"});
    let key = house.key(&house.generate(&admin(), made).await.unwrap()).await;
    let networks: Vec<String> = key.allowed_ips.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["192.0.2.1/32", "10.0.0.0/8", "2001:db8::1/128", "2001:db8::/32"]);
    assert_eq!(key.user_id.as_deref(), Some("anyone"));
    let error = house.generate(&admin(), json!({"allowed_ips": ["10.0.0.0/8", "here"]})).await.unwrap_err();
    assert!(error.message.contains("here"), "{error}");
}

#[tokio::test]
async fn an_update_changes_what_is_sent_and_null_clears() {
    let house = House::new().await;
    let made = json!({"max_budget": 1, "rpm_limit": 5, "duration": "1h", "models": ["m"], "key_alias": "k"});
    let answer = house.generate(&admin(), made).await.unwrap();
    let update = |params| house.manager.update_key(admin_static(), object(params));
    update(json!({"key": answer["key"], "rpm_limit": 7})).await.unwrap();
    let key = house.key(&answer).await;
    assert_eq!((key.limits.rpm_limit, key.limits.max_budget), (Some(7), Money::from_dollars(1.0)));
    update(json!({"key_alias": "k", "max_budget": null, "duration": "-1"})).await.unwrap();
    let key = house.key(&answer).await;
    assert_eq!((key.limits.max_budget, key.expires, key.models.len()), (None, None, 1));
    update(json!({"key": answer["token"], "spend": 0.25})).await.unwrap();
    assert_eq!(*house.adjusted.done.lock(), [(Scope::key(&key.token).to_string(), Money::nanos(250_000_000))]);
    assert_eq!(refused(update(json!({"key": "sk-nope"})).await).0, 404);
    assert_eq!(refused(update(json!({})).await).0, 422);
}

#[tokio::test]
async fn defaults_fill_and_ceilings_hold() {
    let mut config = Config::default();
    let settings = &mut config.litellm_settings;
    settings.default_key_generate_params = object(json!({"models": ["d"], "object_permission": {"x": 1}}));
    settings.upperbound_key_generate_params = object(json!({"max_budget": 10, "duration": "1d", "rpm_limit": 3}));
    let house = House::with(config).await;
    let answer = house.generate(&admin(), json!({"rpm_limit": 2})).await.unwrap();
    let key = house.key(&answer).await;
    assert_eq!((key.models, key.limits.rpm_limit), (vec!["d".to_owned()], Some(2)));
    assert_eq!((key.limits.max_budget, key.expires), (Money::from_dollars(10.0), Some(NOW.plus_millis(86_400_000))));
    for params in [json!({"max_budget": 11}), json!({"rpm_limit": 4}), json!({"duration": "2d"})] {
        assert_eq!(refused(house.generate(&admin(), params).await).0, 400);
    }
    let plain = house.user("u", json!({"user_role": "internal_user"})).await;
    house.generate(&plain, json!({})).await.expect("a default is no choice of the caller");
}

#[tokio::test]
async fn nobody_gets_more_than_those_above_have() {
    let house = House::new().await;
    let organization =
        json!({"organization_alias": "o", "organization_id": "o", "models": ["a", "b"], "max_budget": 100});
    house.manager.create_organization(&admin(), object(organization)).await.unwrap();
    let team = |params| house.manager.create_team(admin_static(), object(params));
    assert_eq!(refused(team(json!({"organization_id": "o", "models": ["c"]})).await), (400, Some("models".into())));
    assert_eq!(refused(team(json!({"organization_id": "o", "max_budget": 101})).await).0, 400);
    team(json!({"team_id": "t", "organization_id": "o", "models": ["a"], "rpm_limit": 10})).await.unwrap();
    for (params, param) in [
        (json!({"team_id": "t", "models": ["b"]}), "models"),
        (json!({"team_id": "t", "rpm_limit": 11}), "rpm_limit"),
        (json!({"team_id": "t", "max_budget": 101}), "max_budget"),
    ] {
        assert_eq!(refused(house.generate(&admin(), params).await), (400, Some(param.to_owned())));
    }
    house.generate(&admin(), json!({"team_id": "t", "models": ["a"], "rpm_limit": 10})).await.unwrap();
    house.generate(&admin(), json!({"team_id": "t", "models": ["all-team-models"]})).await.unwrap();
}

#[tokio::test]
async fn plain_users_make_keys_for_themselves_within_their_own_bounds() {
    let house = House::new().await;
    let plain = house.user("u", json!({"user_role": "internal_user", "max_budget": 5, "models": ["a"]})).await;
    house.user("other", json!({})).await;
    house.team(json!({"team_id": "t"})).await;
    let answer = house.generate(&plain, json!({"max_budget": 5})).await.unwrap();
    assert_eq!(answer["user_id"], json!("u"));
    for (params, status) in [
        (json!({"max_budget": 6}), 400),
        (json!({"models": ["b"]}), 400),
        (json!({"user_id": "other"}), 403),
        (json!({"team_id": "t"}), 403),
        (json!({"allowed_routes": ["/user/new"]}), 403),
        (json!({"key_type": "management"}), 403),
        (json!({"permissions": {"get_spend_routes": true}}), 403),
        (json!({"throttle_on_budget_exceeded": true}), 403),
        (json!({"spend": 1}), 403),
        (json!({"access_group_ids": ["g"]}), 403),
        (json!({"config": {"a": 1}}), 403),
    ] {
        let shown = params.to_string();
        assert_eq!(refused(house.generate(&plain, params).await).0, status, "{shown}");
    }
    house.generate(&plain, json!({"allowed_routes": ["llm_api_routes"]})).await.unwrap();
}

#[tokio::test]
async fn an_owner_narrows_a_key_and_never_widens_it() {
    let house = House::new().await;
    let owner = house.user("u", json!({"user_role": "internal_user"})).await;
    let made = json!({"user_id": "u", "max_budget": 5, "models": ["a", "b"], "duration": "1d", "enforced_params": ["user"],
        "allowed_ips": ["10.0.0.0/8"], "permissions": {"x": true}});
    let key = house.generate(&admin(), made).await.unwrap()["key"].clone();
    let update = |mut params: Value| {
        params["key"] = key.clone();
        house.manager.update_key(&owner, object(params))
    };
    for params in [
        json!({"max_budget": 6}),
        json!({"max_budget": null}),
        json!({"models": []}),
        json!({"models": ["a", "c"]}),
        json!({"duration": "-1"}),
        json!({"duration": "2d"}),
        json!({"enforced_params": []}),
        json!({"allowed_ips": []}),
        json!({"permissions": {}}),
        json!({"spend": 0}),
        json!({"blocked": true}),
        json!({"temp_budget_increase": 5, "temp_budget_expiry": "2030-01-01T00:00:00Z"}),
    ] {
        let shown = params.to_string();
        assert_eq!(refused(update(params).await).0, 403, "{shown}");
    }
    update(json!({"max_budget": 4, "models": ["a"], "metadata": {"mine": 1}})).await.unwrap();
    let stranger = house.user("stranger", json!({"user_role": "internal_user"})).await;
    let name = KeyName::new(key.as_str().unwrap());
    assert_eq!(refused(house.manager.key_info(&stranger, Some(&name)).await).0, 403);
    assert_eq!(refused(house.manager.delete_keys(&stranger, object(json!({"keys": [key]}))).await).0, 403);
    assert_eq!(refused(house.manager.block_key(&owner, &name, false).await).0, 403);
    house.manager.delete_keys(&owner, object(json!({"keys": [key]}))).await.unwrap();
}

#[tokio::test]
async fn members_do_to_team_keys_what_the_team_lets_them() {
    let house = House::new().await;
    let lead = house.user("lead", json!({"user_role": "internal_user"})).await;
    let member = house.user("member", json!({"user_role": "internal_user"})).await;
    house
        .team(json!({"team_id": "t", "members_with_roles": [{"user_id": "lead", "role": "admin"}, {"user_id": "member"}]}))
        .await;
    let error = house.generate(&member, json!({"team_id": "t"})).await.unwrap_err();
    assert_eq!((error.status, error.kind), (403, "team_member_permission_error"));
    let made = house.generate(&lead, json!({"team_id": "t", "user_id": "member"})).await.unwrap();
    assert_eq!(made["user_id"], json!("member"));
    let name = KeyName::new(house.generate(&lead, json!({"team_id": "t"})).await.unwrap()["key"].as_str().unwrap());
    house.manager.key_info(&member, Some(&name)).await.expect("members see the team's keys");
    assert_eq!(refused(house.manager.block_key(&member, &name, true).await).0, 403);
    house.manager.block_key(&lead, &name, true).await.unwrap();
    let widen = json!({"team_id": "t", "team_member_permissions": ["/key/generate"]});
    house.manager.update_team(&lead, object(widen)).await.unwrap();
    house.generate(&member, json!({"team_id": "t"})).await.unwrap();
    let again = json!({"team_id": "t", "member": {"user_id": "member"}});
    let error = house.manager.add_members(&lead, object(again)).await.unwrap_err();
    assert_eq!(error.kind, "team_member_already_in_team");
}

#[tokio::test]
async fn a_teams_admin_does_not_lift_what_binds_the_team() {
    let house = House::new().await;
    let lead = house.user("lead", json!({"user_role": "internal_user"})).await;
    house.team(json!({"team_id": "t", "admins": ["lead"], "max_budget": 5, "models": ["a"], "rpm_limit": 3})).await;
    for params in [
        json!({"max_budget": 6}),
        json!({"max_budget": null}),
        json!({"models": []}),
        json!({"models": ["a", "b"]}),
        json!({"rpm_limit": null}),
        json!({"blocked": true}),
        json!({"model_aliases": {"x": "b"}}),
        json!({"organization_id": "elsewhere"}),
    ] {
        let mut params = object(params);
        params.insert("team_id".into(), json!("t"));
        let shown = json!(params).to_string();
        assert_eq!(refused(house.manager.update_team(&lead, params).await).0, 403, "{shown}");
    }
    assert_eq!(refused(house.manager.create_team(&lead, object(json!({}))).await).0, 403);
    assert_eq!(refused(house.manager.delete_teams(&lead, object(json!({"team_ids": ["t"]}))).await).0, 403);
    house.manager.update_team(&lead, object(json!({"team_id": "t", "max_budget": 4}))).await.unwrap();
}

#[tokio::test]
async fn a_regenerated_key_keeps_its_row_under_a_new_secret() {
    let house = House::new().await;
    let old = house.generate(&admin(), json!({"key_alias": "a", "rpm_limit": 3})).await.unwrap();
    let name = KeyName::new(old["key"].as_str().unwrap());
    let new = house
        .manager
        .regenerate_key(&admin(), Some(&name), object(json!({"grace_period": "1h"})))
        .await
        .unwrap()
        .reveal();
    assert_ne!(new["key"], old["key"]);
    let key = house.key(&new).await;
    assert_eq!((key.limits.rpm_limit, key.key_alias.as_deref(), key.rotation_count), (Some(3), Some("a"), 1));
    let revoked = house.store.revoked_at(&KeyHash::of(old["key"].as_str().unwrap())).await.unwrap();
    assert_eq!(revoked, Some(NOW.plus_millis(3_600_000)));
    let chosen = json!({"key": "a", "new_key": "sk-chosen-1234567890"});
    let chosen = house.manager.regenerate_key(&admin(), None, object(chosen)).await.unwrap().reveal();
    assert_eq!(chosen["key"], json!("sk-chosen-1234567890"));
    assert_eq!(refused(house.manager.regenerate_key(&admin(), None, object(json!({}))).await).0, 422);
}

#[tokio::test]
async fn deleting_finds_every_key_before_the_first_goes() {
    let house = House::new().await;
    let one = house.generate(&admin(), json!({"key_alias": "one"})).await.unwrap();
    house.generate(&admin(), json!({"key_alias": "two"})).await.unwrap();
    let delete = |params| house.manager.delete_keys(admin_static(), object(params));
    assert_eq!(refused(delete(json!({})).await).0, 422);
    assert_eq!(refused(delete(json!({"keys": [one["key"], "sk-unknown"]})).await).0, 404);
    assert_eq!(house.count_keys().await, 2);
    let answer = delete(json!({"keys": [one["key"]], "key_aliases": ["two", "one"]})).await.unwrap();
    assert_eq!(answer, json!({"deleted_keys": [one["key"], "two", "one"]}));
    assert_eq!(house.count_keys().await, 0);
}

#[tokio::test]
async fn lists_show_others_only_their_own_keys() {
    let house = House::new().await;
    let plain = house.user("u", json!({"user_role": "internal_user"})).await;
    house.generate(&admin(), json!({})).await.unwrap();
    let list = async |actor: &Actor, params: Value| house.manager.list_keys(actor, object(params)).await;
    let all = list(&admin(), json!({"size": 1})).await.unwrap();
    assert_eq!(
        (&all["total_count"], &all["total_pages"], all["keys"].as_array().unwrap().len()),
        (&json!(2), &json!(2), 1)
    );
    let own = list(&plain, json!({"return_full_object": true})).await.unwrap();
    assert_eq!((&own["total_count"], &own["keys"][0]["user_id"]), (&json!(1), &json!("u")));
    assert_eq!(refused(list(&plain, json!({"user_id": "other"})).await).0, 403);
    for params in [json!({"size": 101}), json!({"size": 0}), json!({"page": 0}), json!({"page": "x"})] {
        assert_eq!(refused(list(&admin(), params).await).0, 422);
    }
}

#[tokio::test]
async fn users_change_their_names_and_nothing_of_their_rights() {
    let house = House::new().await;
    let plain = house.user("u", json!({"user_role": "internal_user", "max_budget": 1, "user_email": "u@x"})).await;
    let update = |params| house.manager.update_user(&plain, object(params));
    for params in [
        json!({"user_id": "u", "user_role": "proxy_admin"}),
        json!({"user_id": "u", "max_budget": 100}),
        json!({"user_id": "u", "metadata": {"scim_active": true}}),
        json!({"user_id": "u", "spend": 0}),
    ] {
        assert_eq!(refused(update(params).await).0, 403);
    }
    update(json!({"user_id": "u", "user_alias": "me"})).await.unwrap();
    assert_eq!(refused(house.manager.user_info(&plain, Some("other")).await).0, 403);
    let info = house.manager.user_info(&plain, None).await.unwrap();
    assert_eq!((&info["user_id"], &info["user_info"]["user_alias"]), (&json!("u"), &json!("me")));
    let create = |params| house.manager.create_user(admin_static(), object(params));
    assert_eq!(refused(create(json!({"user_role": "superuser"})).await), (422, Some("user_role".into())));
    assert_eq!(refused(create(json!({"user_id": "u"})).await).0, 400);
    assert_eq!(refused(create(json!({"user_email": "u@x"})).await).0, 400);
    assert_eq!(refused(house.manager.create_user(&plain, object(json!({}))).await).0, 403);
}

#[tokio::test]
async fn deleting_a_team_or_user_takes_its_keys_along() {
    let house = House::new().await;
    house.user("u", json!({})).await;
    house.team(json!({"team_id": "t", "members": ["u"]})).await;
    house.generate(&admin(), json!({"team_id": "t"})).await.unwrap();
    assert_eq!(house.count_keys().await, 2);
    house.manager.delete_teams(&admin(), object(json!({"team_ids": ["t"]}))).await.unwrap();
    assert_eq!(house.count_keys().await, 1);
    assert!(house.store.memberships_of_user("u").await.unwrap().is_empty());
    house.manager.delete_users(&admin(), object(json!({"user_ids": ["u"]}))).await.unwrap();
    assert_eq!(house.count_keys().await, 0);
}

#[tokio::test]
async fn limits_of_organizations_customers_and_members_live_in_budget_rows() {
    let house = House::new().await;
    let made = json!({"user_id": "c", "max_budget": 1, "budget_duration": "1d"});
    let row = house.manager.create_end_user(&admin(), object(made)).await.unwrap();
    let budget = row["budget_id"].as_str().unwrap().to_owned();
    assert_eq!(house.store.budget(&budget).await.unwrap().unwrap().limits.max_budget, Money::from_dollars(1.0));
    let update = json!({"user_id": "c", "max_budget": 2});
    let row = house.manager.update_end_user(&admin(), object(update)).await.unwrap();
    assert_eq!((row["budget_id"].as_str(), &row["budget_duration"]), (Some(&*budget), &json!("1d")));
    let both = json!({"user_id": "d", "max_budget": 1, "budget_id": budget});
    assert_eq!(refused(house.manager.create_end_user(&admin(), object(both)).await), (400, Some("budget_id".into())));
    house.team(json!({"team_id": "t", "team_member_rpm_limit": 1})).await;
    let default = house.store.team("t").await.unwrap().unwrap().team_member_budget_id.unwrap();
    assert_eq!(house.store.budget(&default).await.unwrap().unwrap().limits.rpm_limit, Some(1));
}
