//! For which team a bearer calls.

use super::support::signed::{denied, passes, row, signed, signed_with};
use super::support::{json, unique};

#[tokio::test]
async fn one_of_several_teams_is_chosen_by_model_or_by_header() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "team_ids_jwt_field": "groups"})).await;
    let (cheap, dear, foreign) = (unique("a-cheap"), unique("b-dear"), unique("c-foreign"));
    let alias = unique("the dear");
    signed.team(json!({"team_id": cheap, "models": ["gpt-4o-mini"]})).await;
    signed.team(json!({"team_id": dear, "team_alias": alias, "models": ["gpt-4o", "gpt-4o-mini"]})).await;
    signed.team(json!({"team_id": foreign})).await;
    let both = json!({"groups": [dear, cheap]});
    let none_of = ("team_model_access_denied|auth_error", 403);
    // Row 53.
    signed
        .hold(vec![
            row("the first by id", both.clone(), passes(&[("team-id", &cheap)])),
            row("the first with the model", both.clone(), passes(&[("team-id", &dear)])).model("gpt-4o"),
            row("none with the model", both.clone(), denied(none_of.1, none_of.0)).model("claude-3-5-sonnet"),
            row("the header's", both.clone(), passes(&[("team-id", &dear)])).header("x-litellm-team-id", &dear),
            row("the header's by alias", both.clone(), passes(&[("team-id", &dear)]))
                .header("x-litellm-team-id", &alias),
            row("a foreign one", both.clone(), denied(403, "auth_error")).header("x-litellm-team-id", &foreign),
            row("an unknown one", both.clone(), denied(403, "auth_error")).header("x-litellm-team-id", "nobody"),
            row("the header's without the model", both.clone(), denied(403, "team_model_access_denied|auth_error"))
                .header("x-litellm-team-id", &cheap)
                .model("gpt-4o"),
            row("an unknown one among them", json!({"groups": ["nobody", dear]}), passes(&[("team-id", &dear)])),
            row("only unknown ones", json!({"groups": ["nobody"]}), denied(403, "team_model_access_denied|auth_error")),
            row("one as a text", json!({"groups": dear}), passes(&[("team-id", &dear)])),
            row("none claimed", json!({}), passes(&[("team-id", "")])),
            row("none claimed, one wanted", json!({}), denied(403, "auth_error")).header("x-litellm-team-id", &dear),
        ])
        .await;
    let two = signed.ask(&both, "gpt-4o-mini").header("x-litellm-team-id", &dear).header("x-litellm-team-id", &cheap);
    let answer = two.send().await;
    assert!((400..=403).contains(&answer.status), "two headers name two teams: {}", answer.status);
}

#[tokio::test]
async fn the_claimed_team_must_be_there() {
    let team = unique("team");
    {
        let signed = signed(json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "org.team"})).await;
        signed.team(json!({"team_id": team})).await;
        signed
            .hold(vec![
                row("it is", json!({"org": {"team": team}}), passes(&[("team-id", &team)])),
                row("a list", json!({"org": {"team": [team, "other"]}}), passes(&[("team-id", &team)])),
                row("no team of that id", json!({"org": {"team": "nobody"}}), denied(404, "auth_error")),
                row("none claimed", json!({}), denied(401, "auth_error")),
                row("an empty claim", json!({"org": {"team": ""}}), denied(401, "auth_error")),
            ])
            .await;
    }
    let options = json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team", "team_id_default": team});
    let signed = signed(options).await;
    signed
        .hold(vec![
            row("the default", json!({}), passes(&[("team-id", &team)])),
            row("the default is for those without a claim", json!({"team": "nobody"}), denied(404, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn a_team_may_be_claimed_by_its_alias() {
    let signed = signed(json!({"user_id_jwt_field": "sub", "team_alias_jwt_field": "team"})).await;
    let (one, two) = (unique("alias"), unique("alias"));
    let team = signed.team(json!({"team_alias": one})).await;
    signed.team(json!({"team_alias": two})).await;
    signed.team(json!({"team_alias": two})).await;
    signed
        .hold(vec![
            row("one has it", json!({"team": one}), passes(&[("team-id", &team), ("team-alias", &one)])),
            row("nobody has it", json!({"team": "nobody"}), denied(404, "auth_error")),
            row("two have it", json!({"team": two}), denied(400, "auth_error|bad_request_error|invalid_request_error")),
            row("none claimed", json!({}), denied(401, "auth_error")),
            row("an id is no alias", json!({"team": team}), denied(404, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn a_missing_team_may_be_made() {
    let options = json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team", "team_id_upsert": true});
    let config = json!({"litellm_settings": {"default_team_params": {"rpm_limit": 7, "models": ["gpt-4o-mini"]}}});
    let signed = signed_with(options, config).await;
    let team = unique("made");
    let claims = json!({"team": team});
    signed
        .hold(vec![
            row("made", claims.clone(), passes(&[("team-id", &team)])),
            row("and found again", claims.clone(), passes(&[("team-id", &team)])),
            row("as the defaults say", claims, denied(403, "team_model_access_denied")).model("gpt-4o"),
        ])
        .await;
    let info = signed.manage("GET", &format!("/team/info?team_id={team}"), json!(null)).await;
    assert_eq!(info["team_info"]["rpm_limit"], 7, "{info}");
}

#[tokio::test]
async fn teams_of_the_directory_stand_in_where_told() {
    let team = async |signed: &super::support::Stack, id: &str, members: &[&str]| {
        let members: Vec<_> = members.iter().map(|user| json!({"user_id": user, "role": "user"})).collect();
        signed.team(json!({"team_id": id, "members_with_roles": members})).await
    };
    let (ada, bob) = (unique("ada"), unique("bob"));
    let (first, second, foreign) = (unique("a"), unique("b"), unique("c"));
    let plain = json!({"user_id_jwt_field": "sub", "team_ids_jwt_field": "groups"});
    {
        let signed = signed(plain.clone()).await;
        for user in [&ada, &bob] {
            signed.user(json!({"user_id": user})).await;
        }
        team(&signed, &first, &[&ada, &bob]).await;
        team(&signed, &second, &[&ada]).await;
        team(&signed, &foreign, &[]).await;
        signed
            .hold(vec![
                row("one of two is nobody's choice", json!({"sub": ada}), passes(&[("team-id", "")])),
                row("a header chooses among claimed teams", json!({"sub": ada}), denied(403, "auth_error"))
                    .header("x-litellm-team-id", &first),
            ])
            .await;
    }
    {
        let mut options = plain.clone();
        options["fallback_to_db_teams"] = json!(true);
        let signed = signed(options).await;
        signed
            .hold(vec![
                row("the first", json!({"sub": ada}), passes(&[("team-id", &first), ("user-id", &ada)])),
                row("the header's", json!({"sub": ada}), passes(&[("team-id", &second)]))
                    .header("x-litellm-team-id", &second),
                row("a foreign one", json!({"sub": ada}), denied(403, "auth_error"))
                    .header("x-litellm-team-id", &foreign),
                row("another member's", json!({"sub": bob}), denied(403, "auth_error"))
                    .header("x-litellm-team-id", &second),
                row("a claim comes first", json!({"sub": ada, "groups": [foreign]}), passes(&[("team-id", &foreign)])),
            ])
            .await;
    }
    let narrow = unique("narrow");
    for fallback in [false, true] {
        let options = json!({"user_id_jwt_field": "sub", "team_id_jwt_field": "team", "team_claim_fallback": fallback});
        let signed = signed(options).await;
        if !fallback {
            signed.team(json!({"team_id": narrow, "models": ["gpt-4o"]})).await;
        }
        let his = if fallback { passes(&[("team-id", &first)]) } else { denied(404, "auth_error") };
        let rows = vec![
            row("his only team", json!({"sub": bob, "team": "nobody"}), his),
            row("none claimed", json!({"sub": bob}), denied(401, "auth_error")),
            row(
                "it may not use the model",
                json!({"sub": bob, "team": narrow}),
                denied(403, "team_model_access_denied"),
            ),
            row("one of two", json!({"sub": ada, "team": "nobody"}), denied(404, "auth_error")),
            row("the claim, where it is good", json!({"sub": bob, "team": foreign}), passes(&[("team-id", &foreign)])),
        ];
        signed.hold(rows).await;
    }
}

#[tokio::test]
async fn a_team_that_may_not_is_not_replaced_by_one_that_may() {
    let options = json!({
        "user_id_jwt_field": "sub", "team_ids_jwt_field": "groups", "team_claim_fallback": true,
    });
    let signed = signed(options).await;
    let user = signed.user(json!({})).await;
    let wide = signed.team(json!({"members_with_roles": [{"user_id": user, "role": "user"}]})).await;
    let (narrow, blocked) = (signed.team(json!({"models": ["gpt-4o"]})).await, signed.team(json!({})).await);
    signed.manage("POST", "/team/block", json!({"team_id": blocked})).await;
    signed
        .hold(vec![
            row("nobody's team", json!({"sub": user, "groups": ["nobody"]}), passes(&[("team-id", &wide)])),
            row("without the model", json!({"sub": user, "groups": [narrow]}), denied(403, "auth_error")),
            row("blocked", json!({"sub": user, "groups": [blocked]}), denied(403, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn a_model_may_need_a_team() {
    let options = json!({
        "user_id_jwt_field": "sub", "team_ids_jwt_field": "groups", "enforce_team_based_model_access": true,
    });
    let signed = signed(options).await;
    let team = signed.team(json!({})).await;
    signed
        .hold(vec![
            row("a team", json!({"groups": [team]}), passes(&[("team-id", &team)])),
            row("no team", json!({}), denied(403, "team_model_access_denied|auth_error")),
            row("no such team", json!({"groups": ["nobody"]}), denied(403, "team_model_access_denied|auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn who_calls_for_a_team_uses_the_routes_of_teams() {
    for (field, claim) in [("team_ids_jwt_field", "groups"), ("team_id_jwt_field", "team")] {
        let options = json!({
            "user_id_jwt_field": "sub", field: claim, "team_allowed_routes": ["/v1/embeddings", "/v1/resp*"],
        });
        let signed = signed(options).await;
        let team = signed.team(json!({})).await;
        let claims = json!({claim: team});
        signed
            .hold(vec![
                row("in the list", claims.clone(), passes(&[("team-id", &team)]))
                    .path("/v1/embeddings")
                    .model("text-embedding-3-small"),
                row(
                    if claim == "team" { "not in it" } else { "not in the list for any team" },
                    claims.clone(),
                    denied(403, "route_access_denied|auth_error"),
                ),
                row("an entry is a whole path", claims.clone(), denied(403, "route_access_denied|auth_error"))
                    .path("/v1/embeddings/more"),
            ])
            .await;
    }
}
