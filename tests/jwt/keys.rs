//! Claims that stand for virtual keys.

use super::support::signed::{denied, passes, row, signed};
use super::support::{Stack, Value, eventually, json, unique};

fn options(behavior: &str) -> Value {
    json!({
        "user_id_jwt_field": "sub", "virtual_key_claim_field": "client", "unregistered_jwt_client_behavior": behavior,
    })
}

/// The keys of a user, as hashes.
async fn keys_of(stack: &Stack, user: &str) -> Vec<String> {
    let list = stack.manage("GET", &format!("/key/list?user_id={user}"), Value::Null).await;
    list["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| key.as_str().or_else(|| key["token"].as_str()).expect("a hash").to_owned())
        .collect()
}

#[tokio::test]
async fn a_claim_without_a_key_is_refused_falls_back_or_makes_one() {
    let (user, client, stranger) = (unique("user"), unique("client"), unique("client"));
    let claims = json!({"sub": user, "client": client});
    {
        let signed = signed(options("fallback_team_mapping")).await;
        signed.user(json!({"user_id": user})).await;
        signed
            .hold(vec![
                row("the other claims decide", claims.clone(), passes(&[("user-id", &user), ("key-id", "")])),
                row("no claim", json!({"sub": user}), passes(&[("user-id", &user)])),
            ])
            .await;
    }
    {
        let signed = signed(options("reject")).await;
        // Row 61.
        signed
            .hold(vec![
                row("61: unknown", claims.clone(), denied(403, "auth_error")),
                row("61: no claim", json!({"sub": user}), denied(403, "auth_error")),
            ])
            .await;
    }
    let made = {
        let signed = signed(options("auto_register")).await;
        signed.hold(vec![row("61: no claim", json!({"sub": user}), denied(403, "auth_error"))]).await;
        assert_eq!(keys_of(&signed, &user).await, Vec::<String>::new(), "nothing is made without a claim");
        let calls = (0..4).map(|_| signed.ask(&claims, "gpt-4o-mini"));
        let mut running = tokio::task::JoinSet::new();
        for call in calls {
            running.spawn(call.send());
        }
        for answer in running.join_all().await {
            passes(&[("user-id", &user)]).check("all at once", &answer);
        }
        let keys = keys_of(&signed, &user).await;
        assert_eq!(keys.len(), 1, "one key for all of them: {keys:?}");
        let made = keys[0].clone();
        passes(&[("user-id", &user), ("key-id", &made)]).check("the key calls", &signed.chat(&claims).await);
        signed.manage("POST", "/key/update", json!({"key": made, "models": ["gpt-4o-mini"], "rpm_limit": 1})).await;
        eventually("its limits hold", || async {
            let answer = signed.ask(&claims, "gpt-4o").send().await;
            if answer.kind() == "key_model_access_denied" { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        eventually("one a minute", || async {
            let answer = signed.chat(&claims).await;
            if answer.kind() == "rate_limit_error" { Ok(()) } else { Err(answer.text()) }
        })
        .await;
        signed.manage("POST", "/key/update", json!({"key": made, "rpm_limit": null})).await;
        made
    };
    let signed = signed(options("reject")).await;
    signed
        .hold(vec![
            row("registered", claims.clone(), passes(&[("key-id", &made)])),
            row("not registered", json!({"sub": user, "client": stranger}), denied(403, "auth_error")),
        ])
        .await;
    signed.manage("POST", "/key/block", json!({"key": made})).await;
    eventually("a blocked key calls no more", || async {
        let answer = signed.chat(&claims).await;
        if answer.status == 401 { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    signed.manage("POST", "/key/delete", json!({"keys": [made]})).await;
    eventually("nor a deleted one", || async {
        let answer = signed.chat(&claims).await;
        if matches!(answer.status, 401 | 403) { Ok(()) } else { Err(answer.text()) }
    })
    .await;
    assert_eq!(keys_of(&signed, &user).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_key_a_user_has_may_be_taken() {
    let mut options = options("auto_register");
    options["auto_register_map_existing_key"] = json!(true);
    options["jwt_client_id_field"] = options.as_object_mut().unwrap().remove("virtual_key_claim_field").unwrap();
    let signed = signed(options).await;
    let user = signed.user(json!({})).await;
    let key = signed.key(json!({"user_id": user, "models": ["gpt-4o-mini"]})).await;
    let claims = json!({"sub": user, "client": unique("client")});
    signed
        .hold(vec![
            row("his key", claims.clone(), passes(&[("key-id", &key.token)])),
            row("its models", claims, denied(403, "key_model_access_denied")).model("gpt-4o"),
        ])
        .await;
    assert_eq!(keys_of(&signed, &user).await, std::slice::from_ref(&key.token));
}
