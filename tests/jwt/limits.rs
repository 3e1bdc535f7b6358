//! Limits bind who calls by token, and what is withdrawn in the directory counts at once.

use super::support::signed::{Signed, passes, row, signed};
use super::support::{Value, eventually, json, unique};

#[tokio::test]
async fn limits_of_team_and_user_bind_tokens() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "team_ids_jwt_field": "groups"})).await;
    let team = signed.team(json!({"rpm_limit": 2})).await;
    let (ada, bob) = (unique("ada"), unique("bob"));
    // A team's requests are counted over its callers and their tokens.
    signed.chat(&json!({"sub": ada, "groups": [team], "jti": "1"})).await.allowed();
    signed.chat(&json!({"sub": bob, "groups": [team], "jti": "2"})).await.allowed();
    let answer = signed.chat(&json!({"sub": ada, "groups": [team], "jti": "3"})).await;
    answer.denied(429, "rate_limit_error");
    assert!(answer.header("retry-after").is_some());
    let user = signed.user(json!({"rpm_limit": 1})).await;
    signed.chat(&json!({"sub": user, "jti": "4"})).await.allowed();
    signed.chat(&json!({"sub": user, "jti": "5"})).await.denied(429, "rate_limit_error");
    // Money: one call costs 1.35 thousandths of a dollar, the budget is one.
    let poor = signed.team(json!({"max_budget": 0.001})).await;
    let spender = signed.user(json!({"max_budget": 0.001})).await;
    for (name, claims) in [("team", json!({"sub": ada, "groups": [poor]})), ("user", json!({"sub": spender}))] {
        signed.ask(&claims, "gpt-4o-mini").usage(1000, 2000).send().await.allowed();
        eventually(name, || async {
            let answer = signed.chat(&claims).await;
            if answer.kind() == "budget_exceeded" { Ok(()) } else { Err(answer.text()) }
        })
        .await;
    }
}

/// Waits until the bearer is refused with this status, and never before with another one.
async fn falls(signed: &Signed, name: &str, token: &str, status: u16) {
    eventually(name, || async {
        let answer = signed.bearer(token).send().await;
        match answer.status {
            200 => Err("it passes".to_owned()),
            other => {
                assert_eq!(other, status, "{name}: {}", answer.text());
                Ok(())
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_the_directory_withdraws_ends_a_verified_token() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team"})).await;
    #[rustfmt::skip]
    let rows: [(&str, &str, fn(&str, &str) -> Value, u16); 4] = [
        ("a deactivated user", "/user/update", |user, _| json!({"user_id": user, "metadata": {"scim_active": false}}), 401),
        ("a deactivated administrator", "/user/update",
         |user, _| json!({"user_id": user, "user_role": "proxy_admin", "metadata": {"scim_active": false}}), 401),
        ("a blocked team", "/team/block", |_, team| json!({"team_id": team}), 401),
        ("a deleted team", "/team/delete", |_, team| json!({"team_ids": [team]}), 404),
    ];
    for (name, path, body, status) in rows {
        let (user, team) = (signed.user(json!({})).await, signed.team(json!({})).await);
        let token = signed.token(&json!({"sub": user, "team": team}));
        for _ in 0..2 {
            passes(&[("user-id", &user), ("team-id", &team)]).check(name, &signed.bearer(&token).send().await);
        }
        signed.manage("POST", path, body(&user, &team)).await;
        falls(&signed, name, &token, status).await;
    }
    // And an administrator by scope whose user is deactivated is none.
    let user = signed.user(json!({})).await;
    let token = signed.token(&json!({"sub": user, "scope": super::support::signed::ADMIN}));
    let list = async || signed.manage_as(&token, "GET", "/user/list", None).await.0;
    assert_eq!(list().await, 200);
    signed.manage("POST", "/user/update", json!({"user_id": user, "metadata": {"scim_active": false}})).await;
    eventually("no administrator any more", || async {
        let status = list().await;
        if status == 401 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
}

#[tokio::test]
async fn a_role_of_the_directory_counts() {
    let signed = signed(json!({"user_id_jwt_field": "sub"})).await;
    let admin = signed.user(json!({"user_role": "proxy_admin"})).await;
    let token = signed.token(&json!({"sub": admin}));
    assert_eq!(signed.manage_as(&token, "POST", "/user/new", Some(&json!({}))).await.0, 200);
    signed.hold(vec![row("models too", json!({"sub": admin}), passes(&[("role", "proxy_admin")]))]).await;
    signed.manage("POST", "/user/update", json!({"user_id": admin, "user_role": "internal_user"})).await;
    eventually("no administrator any more", || async {
        let status = signed.manage_as(&token, "POST", "/user/new", Some(&json!({}))).await.0;
        if status == 403 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    signed.manage("POST", "/user/delete", json!({"user_ids": [admin]})).await;
    // A token of nobody in the directory is as good as its claims.
    eventually("nobody", || async {
        let answer = signed.bearer(&token).send().await;
        if answer.status == 200 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
}
