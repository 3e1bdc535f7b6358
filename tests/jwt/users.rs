//! Which user, organization and end user a token names.

use super::support::signed::{Expected, denied, passes, row, signed, signed_with};
use super::support::{eventually, json, unique};

#[tokio::test]
async fn a_user_is_found_by_id_by_the_providers_id_and_by_address() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "user_email_jwt_field": "email"})).await;
    let (sso, domain) = (unique("sso"), unique("mail"));
    let address = format!("Ada@{domain}.example");
    let id = signed.user(json!({"sso_user_id": sso, "user_email": address, "user_role": "internal_user_viewer"})).await;
    let found = || passes(&[("user-id", &id), ("role", "internal_user_viewer")]);
    let lower = address.to_lowercase();
    signed
        .hold(vec![
            row("by id", json!({"sub": id}), found()),
            row("by the provider's id", json!({"sub": sso}), found()),
            row("by address", json!({"sub": null, "email": address}), found()),
            row("another's address", json!({"sub": "nobody", "email": address}), denied(401, "auth_error")),
            row(
                "not verified",
                json!({"sub": null, "email": address, "email_verified": false}),
                denied(401, "auth_error"),
            ),
            row("by address in another case", json!({"sub": null, "email": lower}), found()),
            row("nobody", json!({"sub": "nobody", "email": "no@body.example"}), passes(&[("user-id", "nobody")])),
        ])
        .await;
}

#[tokio::test]
async fn a_missing_user_is_made_only_where_told_and_as_the_defaults_say() {
    let (one, two) = (unique("made"), unique("not-made"));
    let defaults = json!({"user_role": "internal_user_viewer", "max_budget": 5.0, "models": ["gpt-4o-mini"]});
    let config = json!({"litellm_settings": {"default_internal_user_params": defaults}});
    let info = |id: &str| format!("/user/info?user_id={id}");
    {
        let options = json!({"user_id_jwt_field": "sub", "user_email_jwt_field": "email", "user_id_upsert": true});
        let signed = signed_with(options, config.clone()).await;
        let address = format!("{one}@example.com");
        let claims = json!({"sub": one, "email": address});
        let (first, second) = tokio::join!(signed.chat(&claims), signed.chat(&claims));
        for answer in [first, second] {
            passes(&[("user-id", &one), ("role", "internal_user_viewer"), ("user-email", &address)])
                .check("made", &answer);
        }
        let made = signed.manage("GET", &info(&one), json!(null)).await;
        assert_eq!(made["user_info"]["max_budget"], 5.0, "{made}");
        assert_eq!(made["user_info"]["user_email"], json!(address), "{made}");
        signed.ask(&claims, "gpt-4o").send().await.denied(403, "user_model_access_denied");
    }
    let signed = signed_with(json!({"user_id_jwt_field": "sub"}), config).await;
    signed.chat(&json!({"sub": two})).await.allowed();
    let (status, answer) = signed.manage_as(super::support::MASTER, "GET", &info(&two), None).await;
    assert_eq!(status, 404, "{answer}");
}

#[tokio::test]
async fn addresses_are_of_one_domain() {
    let options = json!({
        "user_id_jwt_field": "sub", "user_email_jwt_field": "email", "user_allowed_email_domain": "example.com",
    });
    let signed = signed(options).await;
    // Row 58.
    let refused = || Expected::Denied(403, "auth_error", "user_email");
    signed
        .hold(vec![
            row("the domain", json!({"email": "ada@example.com"}), passes(&[])),
            row("another", json!({"email": "ada@example.org"}), refused()),
            row("one below it", json!({"email": "ada@sub.example.com"}), refused()),
            row("one that ends like it", json!({"email": "ada@badexample.com"}), refused()),
            row("one that begins like it", json!({"email": "ada@example.com.evil.example"}), refused()),
            row("two", json!({"email": "ada@evil.example@example.com"}), refused()),
            row("two, the other way", json!({"email": "ada@example.com@evil.example"}), refused()),
            row("no domain", json!({"email": "example.com"}), refused()),
            row("nobody there", json!({"email": "@example.com"}), refused()),
            row("none", json!({}), refused()),
            row("a number", json!({"email": 7}), refused()),
        ])
        .await;
}

#[tokio::test]
async fn an_organization_is_claimed_by_id_or_alias() {
    let (id, alias) = (unique("org"), unique("alias"));
    {
        let signed = signed(json!({"user_id_jwt_field": "sub", "org_id_jwt_field": "org"})).await;
        let attributes =
            json!({"organization_id": id, "organization_alias": alias, "models": ["gpt-4o-mini"], "rpm_limit": 50});
        signed.manage("POST", "/organization/new", attributes).await;
        let claims = json!({"org": id});
        signed
            .hold(vec![
                row("by id", claims.clone(), passes(&[("org-id", &id)])),
                row("no such organization", json!({"org": "nobody"}), denied(401, "auth_error")),
                row("its models", claims, denied(403, "org_model_access_denied|organization_model_access_denied"))
                    .model("gpt-4o"),
            ])
            .await;
    }
    let signed = signed(json!({"user_id_jwt_field": "sub", "org_alias_jwt_field": "org"})).await;
    signed
        .hold(vec![
            row("by alias", json!({"org": alias}), passes(&[("org-id", &id)])),
            row("nobody's", json!({"org": "nobody"}), denied(401, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn the_end_user_of_the_token_pays() {
    let options = json!({"user_id_jwt_field": "sub", "end_user_id_jwt_field": "customer"});
    let signed = signed(options).await;
    let (poor, other) = (unique("customer"), unique("customer"));
    signed.manage("POST", "/customer/new", json!({"user_id": poor, "max_budget": 0.001})).await;
    let claims = json!({"customer": poor});
    let answer = signed.ask(&claims, "gpt-4o-mini").usage(1000, 2000).send().await;
    assert_eq!(answer.allowed().header("x-tollward-end-user-id"), Some(poor.as_str()));
    eventually("his money is spent", || async {
        let answer = signed.chat(&claims).await;
        if answer.kind() == "budget_exceeded" { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    // The body names somebody else, who has money.
    let mut body = super::support::call::chat_body("gpt-4o-mini");
    body["user"] = json!(other);
    let call = signed.bearer(&signed.token(&claims)).json(&body);
    call.send().await.denied(429, "budget_exceeded");
    signed.chat(&json!({"customer": other})).await.allowed();
}

#[tokio::test]
async fn a_user_joins_the_claimed_teams_where_told() {
    let options = json!({
        "user_id_jwt_field": "sub", "team_ids_jwt_field": "groups", "user_id_upsert": true,
        "upsert_sso_user_to_team": true,
    });
    let signed = signed(options).await;
    let (user, one, two) = (unique("joins"), signed.team(json!({})).await, signed.team(json!({})).await);
    for groups in [json!([one]), json!([one, two]), json!([])] {
        signed.chat(&json!({"sub": user, "groups": groups})).await.allowed();
    }
    let info = signed.manage("GET", &format!("/user/info?user_id={user}"), json!(null)).await;
    let teams: Vec<String> = serde_json::from_value(info["user_info"]["teams"].clone()).unwrap();
    assert!(teams.len() == 2 && teams.contains(&one) && teams.contains(&two), "joins, and leaves none: {info}");
}

#[tokio::test]
async fn role_and_teams_follow_the_token_where_told() {
    let options = json!({
        "user_id_jwt_field": "sub", "team_ids_jwt_field": "groups", "roles_jwt_field": "roles",
        "user_id_upsert": true, "sync_user_role_and_teams": true,
        "jwt_litellm_role_map": [
            {"jwt_role": "gate-admin*", "litellm_role": "proxy_admin"},
            {"jwt_role": "viewer", "litellm_role": "internal_user_viewer"},
            {"jwt_role": "*", "litellm_role": "internal_user"},
        ],
    });
    let signed = signed(options).await;
    let user = unique("synced");
    let (a, b) =
        (signed.team(json!({"team_id": unique("a")})).await, signed.team(json!({"team_id": unique("b")})).await);
    let teams = async || {
        let info = signed.manage("GET", &format!("/user/info?user_id={user}"), json!(null)).await;
        let mut teams: Vec<String> = serde_json::from_value(info["user_info"]["teams"].clone()).unwrap_or_default();
        teams.sort();
        (info["user_info"]["user_role"].as_str().unwrap_or_default().to_owned(), teams)
    };
    for (roles, groups, role) in [
        (json!(["viewer"]), vec![&a], "internal_user_viewer"),
        (json!(["viewer"]), vec![&a, &b], "internal_user_viewer"),
        (json!(["whoever"]), vec![&b], "internal_user"),
        (json!(["gate-admins"]), vec![&b], "proxy_admin"),
        (json!(["whoever"]), vec![], "internal_user"),
    ] {
        let claims = json!({"sub": user, "roles": roles, "groups": groups});
        let expected = passes(&[("role", role), ("user-id", &user)]);
        expected.check(role, &signed.chat(&claims).await);
        let mut wanted: Vec<String> = groups.into_iter().cloned().collect();
        wanted.sort();
        assert_eq!(teams().await, (role.to_owned(), wanted), "{claims}");
    }
}
