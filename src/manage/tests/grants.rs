//! What a route given to a key by name opens, and what it does not.

use super::*;

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

#[tokio::test]
async fn a_key_is_no_wider_than_the_credential_it_was_made_with() {
    let house = House::new().await;
    let mut actor = house.user("u", json!({"user_role": "internal_user"})).await;
    let credential = crate::domain::Grant {
        models: vec![vec!["gpt-4o".to_owned()]],
        max_budget: crate::domain::Money::from_dollars(5.0),
        ..crate::domain::Grant::default()
    };
    actor.caller.grant = Some(std::sync::Arc::new(credential));
    let made = house.generate(&actor, json!({})).await.unwrap();
    let key = house.key(&made).await;
    assert_eq!(
        (key.models, key.limits.max_budget.map(|budget| budget.dollars())),
        (vec!["gpt-4o".to_owned()], Some(5.0))
    );
    for params in [json!({"models": ["gpt-4"]}), json!({"models": ["*"]}), json!({"max_budget": 6})] {
        let shown = params.to_string();
        assert_eq!(refused(house.generate(&actor, params).await).0, 400, "{shown}");
    }
}
