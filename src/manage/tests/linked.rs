//! Limits that live in a budget row: whoever links it is held to what it says now.

use super::*;

/// A directory with a budget of ten dollars that several link.
async fn sharing() -> House {
    let house = House::new().await;
    house.manager.create_budget(&admin(), object(json!({"budget_id": "b", "max_budget": 10}))).await.unwrap();
    let linking = |name: &str, id: &str| object(json!({name: id, "budget_id": "b", "organization_alias": "alias"}));
    house.manager.create_end_user(&admin(), linking("user_id", "c")).await.unwrap();
    house.manager.create_tag(&admin(), linking("name", "x")).await.unwrap();
    house.manager.create_organization(&admin(), linking("organization_id", "o")).await.unwrap();
    house
}

async fn bound(house: &House) -> [Option<Money>; 3] {
    let end_user = house.store.end_user("c").await.unwrap().unwrap();
    let organization = house.manager.organization_info(&admin(), "o").await.unwrap();
    let organization = organization["max_budget"].as_f64().and_then(Money::from_dollars);
    [end_user.limits.max_budget, house.store.tags().await.unwrap()[0].limits.max_budget, organization]
}

#[tokio::test]
async fn a_shared_budget_that_is_lowered_binds_all_who_link_it() {
    let house = sharing().await;
    let dollars = Money::from_dollars;
    house.manager.block_end_users(&admin(), object(json!({"user_ids": ["c"]})), true).await.unwrap();
    house.manager.update_tag(&admin(), object(json!({"name": "x", "description": "d"}))).await.unwrap();
    let renamed = json!({"organization_id": "o", "organization_alias": "we"});
    let row = house.manager.update_organization(&admin(), object(renamed)).await.unwrap();
    assert_eq!((&row["max_budget"], &row["budget_id"]), (&json!(10.0), &json!("b")));
    assert_eq!(bound(&house).await, [dollars(10.0); 3]);
    let lower = json!({"budget_id": "b", "max_budget": 1});
    house.manager.update_budget(&admin(), object(lower)).await.unwrap();
    assert_eq!(bound(&house).await, [dollars(1.0); 3]);
    let team = json!({"team_id": "t", "organization_id": "o", "max_budget": 5});
    assert_eq!(refused(house.manager.create_team(&admin(), object(team)).await), (400, Some("max_budget".into())));
    let listed = house.manager.list_organizations(&admin(), 0, 10).await.unwrap();
    assert_eq!(listed[0]["max_budget"], json!(1.0));
}

#[tokio::test]
async fn the_budget_of_a_member_is_that_of_its_row() {
    let house = House::new().await;
    house.user("u", json!({})).await;
    house.team(json!({"team_id": "t"})).await;
    let added = json!({"team_id": "t", "member": {"user_id": "u"}, "max_budget_in_team": 10});
    let row = house.manager.add_members(&admin(), object(added)).await.unwrap();
    let membership = &row["updated_team_memberships"][0];
    assert_eq!(membership["litellm_budget_table"]["max_budget"], json!(10.0));
    let lower = json!({"budget_id": membership["budget_id"], "max_budget": 1});
    house.manager.update_budget(&admin(), object(lower)).await.unwrap();
    let info = house.manager.team_info(&admin(), "t").await.unwrap();
    assert_eq!(info["team_memberships"][0]["litellm_budget_table"]["max_budget"], json!(1.0));
    let key = json!({"user_id": "u", "team_id": "t", "max_budget": 5});
    assert_eq!(refused(house.generate(&admin(), key).await), (400, Some("max_budget".into())));
}

#[tokio::test]
async fn limits_of_the_row_itself_stand_until_they_are_sent_anew() {
    let house = sharing().await;
    let imported = house.store.organization("o").await.unwrap().unwrap();
    let mut with_own = imported.clone();
    with_own.limits.rpm_limit = Some(100);
    with_own.limits.max_budget = Money::from_dollars(3.0);
    house.store.put_organization(&with_own, false, crate::directory::testing::audit()).await.unwrap();
    for (sent, budget, rpm) in [
        (json!({"organization_alias": "we"}), json!(3.0), json!(100)),
        (json!({"max_budget": 20}), json!(20.0), json!(100)),
        (json!({"rpm_limit": null}), json!(20.0), json!(null)),
        (json!({"budget_id": null, "rpm_limit": 7}), json!(null), json!(7)),
        (json!({"budget_id": "b"}), json!(20.0), json!(null)),
    ] {
        let shown = sent.to_string();
        let mut params = object(sent);
        params.insert("organization_id".into(), json!("o"));
        let row = house.manager.update_organization(&admin(), params).await.unwrap();
        assert_eq!((&row["max_budget"], &row["rpm_limit"]), (&budget, &rpm), "{shown}");
        let info = house.manager.organization_info(&admin(), "o").await.unwrap();
        assert_eq!((&info["max_budget"], &info["rpm_limit"]), (&budget, &rpm), "{shown}");
    }
}
