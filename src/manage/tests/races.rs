//! Two who change one row at the same moment.

use super::*;

#[tokio::test]
async fn a_change_that_another_was_faster_than_keeps_what_the_other_did() {
    let house = House::new().await;
    let owner = house.user("u", json!({"user_role": "internal_user"})).await;
    let made = house.generate(&admin(), json!({"user_id": "u", "models": ["a", "b"]})).await.unwrap();
    let named = |key: &Value| KeyName::new(key.as_str().unwrap());
    let block = |key: &Value, blocked| {
        let (others, name) = (house.others(), named(key));
        async move { drop(others.block_key(&admin(), &name, blocked).await.unwrap()) }
    };
    house.store.before("update_key", block(&made["key"], true));
    let narrow = json!({"key": made["key"], "models": ["a"]});
    house.manager.update_key(&owner, object(narrow)).await.unwrap();
    let key = house.key(&made).await;
    assert!(key.blocked, "a block is not undone by who did not see it");
    assert_eq!(key.models, ["a"], "and the change is there too");

    block(&made["key"], false).await;
    house.store.before("rotate_key", block(&made["key"], true));
    let rotate = object(json!({"key": made["key"]}));
    let rotated = house.manager.regenerate_key(&owner, None, rotate).await.unwrap().reveal();
    assert!(house.key(&rotated).await.blocked, "nor by a new secret");

    let update = |params| {
        let others = house.others();
        async move { drop(others.update_key(&admin(), object(params)).await.unwrap()) }
    };
    house.store.before("update_key", update(json!({"key": rotated["key"], "max_budget": 1})));
    let raise = house.manager.update_key(&owner, object(json!({"key": rotated["key"], "max_budget": 5}))).await;
    assert_eq!(refused(raise).0, 403, "what may be changed is decided by what is there");
}

#[tokio::test]
async fn neither_of_two_changes_of_a_row_is_lost() {
    let house = House::new().await;
    house.user("u", json!({})).await;
    house.team(json!({"team_id": "t"})).await;
    let budget = json!({"budget_id": "b", "max_budget": 10});
    house.manager.create_budget(&admin(), object(budget)).await.unwrap();
    house.manager.create_end_user(&admin(), object(json!({"user_id": "c", "budget_id": "b"}))).await.unwrap();

    let others = house.others();
    house.store.before("put_team", async move {
        others.block_team(&admin(), "t", true).await.unwrap();
    });
    house.manager.update_team(&admin(), object(json!({"team_id": "t", "max_budget": 1}))).await.unwrap();
    let team = house.store.team("t").await.unwrap().unwrap();
    assert_eq!((team.blocked, team.limits.max_budget), (true, Money::from_dollars(1.0)));

    let others = house.others();
    house.store.before("put_user", async move {
        let lower = json!({"user_id": "u", "max_budget": 1});
        others.update_user(&admin(), object(lower)).await.unwrap();
    });
    house.manager.update_user(&admin(), object(json!({"user_id": "u", "user_alias": "me"}))).await.unwrap();
    let user = house.store.user("u").await.unwrap().unwrap();
    assert_eq!((user.user_alias.as_deref(), user.limits.max_budget), (Some("me"), Money::from_dollars(1.0)));

    let others = house.others();
    house.store.before("put_budget", async move {
        others.update_budget(&admin(), object(json!({"budget_id": "b", "max_budget": 1}))).await.unwrap();
    });
    house.manager.update_budget(&admin(), object(json!({"budget_id": "b", "rpm_limit": 3}))).await.unwrap();
    let limits = house.store.budget("b").await.unwrap().unwrap().limits;
    assert_eq!((limits.max_budget, limits.rpm_limit), (Money::from_dollars(1.0), Some(3)));

    let others = house.others();
    house.store.before("put_end_user", async move {
        others.update_end_user(&admin(), object(json!({"user_id": "c", "alias": "her"}))).await.unwrap();
    });
    house.manager.block_end_users(&admin(), object(json!({"user_ids": ["c"]})), true).await.unwrap();
    let customer = house.store.end_user("c").await.unwrap().unwrap();
    assert_eq!((customer.blocked, customer.alias.as_deref()), (true, Some("her")));
}
