//! Several issuers, each with rules of its own.

use super::support::idp::{AUDIENCE, Idp, Signing};
use super::support::signed::{denied, passes, row, signed_with};
use super::support::{json, unique};

#[tokio::test]
async fn each_issuer_has_its_own_keys_audience_and_claims() {
    let other = Idp::start();
    let issuers = |first: &Idp| {
        json!([
            {"issuer": first.issuer(), "jwks_url": first.jwks_url(), "audience": "aud-a", "user_id_jwt_field": "sub"},
            {
                "issuer": other.issuer(), "jwks_url": other.discovery_url(), "audience": ["aud-b", "aud-c"],
                "user_id_jwt_field": "person.id", "team_id_jwt_field": "unit", "end_user_id_jwt_field": "customer",
                "algorithms": ["ES256", "EdDSA"],
            },
        ])
    };
    let mut signed = signed_with(json!({}), json!({})).await;
    let options = json!({"issuers": issuers(&signed.idp)});
    signed.configure(&json!({"general_settings": {"litellm_jwtauth": options}})).await;
    let team = signed.team(json!({"team_id": unique("unit")})).await;
    // Their list is all there is where no other keys are configured.
    let only = json!({"jwt_public_key_url": null, "litellm_jwtauth": {"issuers": issuers(&signed.idp)}});
    signed.configure(&json!({"general_settings": only})).await;
    let stranger = json!({"iss": "https://nobody.example"});
    signed.hold(vec![row("an issuer of no list", stranger, denied(401, "auth_error"))]).await;
    signed.configure(&json!({"general_settings": {"litellm_jwtauth": options}})).await;
    // The first: its audience, not the global one; `sub` is the user and no team is asked for.
    signed
        .hold(vec![
            row("its audience", json!({"aud": "aud-a", "sub": "ada"}), passes(&[("user-id", "ada"), ("team-id", "")])),
            row("the global audience", json!({"aud": AUDIENCE}), denied(401, "auth_error")),
            row("the other's audience", json!({"aud": "aud-b"}), denied(401, "auth_error")),
            row("the other's name", json!({"aud": "aud-b", "iss": other.issuer()}), denied(401, "auth_error")),
            row("nobody's name", json!({"aud": "aud-a", "iss": "https://nobody.example"}), denied(401, "auth_error")),
            row(
                "its name with a slash",
                json!({"aud": "aud-a", "iss": format!("{}/", signed.idp.issuer())}),
                denied(401, "auth_error"),
            ),
        ])
        .await;
    let of_other = |alg: &'static str, claims: serde_json::Value| other.sign_with(Signing::alg(alg), claims);
    let good = json!({"aud": ["x", "aud-c"], "person": {"id": "bob"}, "unit": team, "customer": "acme"});
    let changed = |name: &str, value: serde_json::Value| {
        let mut claims = good.clone();
        claims[name] = value;
        claims
    };
    let told = || passes(&[("user-id", "bob"), ("team-id", &team), ("end-user-id", "acme")]);
    for (name, token, expected) in [
        ("its claims", of_other("ES256", good.clone()), told()),
        ("by another key", of_other("EdDSA", good.clone()), told()),
        ("an algorithm it does not use", of_other("RS256", good.clone()), denied(401, "auth_error")),
        ("the first one's audience", of_other("ES256", changed("aud", json!("aud-a"))), denied(401, "auth_error")),
        (
            "the first one's name",
            of_other("ES256", changed("iss", json!(signed.idp.issuer()))),
            denied(401, "auth_error"),
        ),
        ("no team", of_other("ES256", changed("unit", json!(null))), denied(401, "auth_error")),
        ("no such team", of_other("ES256", changed("unit", json!("nobody"))), denied(404, "auth_error")),
    ] {
        expected.check(name, &signed.bearer(&token).send().await);
    }
}

#[tokio::test]
async fn the_global_issuer_is_the_only_one_where_it_is_named() {
    let mut signed = signed_with(json!({}), json!({})).await;
    let general = json!({"jwt_issuer": signed.idp.issuer(), "jwt_audience": ["one", "two"]});
    signed.configure(&json!({"general_settings": general})).await;
    signed
        .hold(vec![
            row("its own", json!({"aud": "two"}), passes(&[])),
            row("another", json!({"aud": "two", "iss": "https://nobody.example"}), denied(401, "auth_error")),
            row("none", json!({"aud": "two", "iss": null}), denied(401, "auth_error")),
            row("a list of names", json!({"aud": "two", "iss": [signed.idp.issuer()]}), denied(401, "auth_error")),
        ])
        .await;
}

#[tokio::test]
async fn keys_may_come_as_a_map_a_document_or_a_file() {
    let mut signed = signed_with(json!({}), json!({})).await;
    signed.idp.serve("/certs", "application/json", &signed.idp.pems().to_string());
    let rsa =
        signed.idp.keys().into_iter().find(|key| key["published"] == json!(true) && key["alg"].is_null()).unwrap();
    let file = signed.folder().join("issuer.pem");
    std::fs::write(&file, rsa["pem"].as_str().unwrap()).unwrap();
    let issuer = json!({"issuer": signed.idp.issuer(), "audience": AUDIENCE, "user_id_jwt_field": "sub"});
    for (name, keys) in [
        ("a map of PEM", json!({"jwks_url": signed.idp.url("/certs")})),
        ("a discovery document", json!({"jwks_url": signed.idp.discovery_url()})),
        ("the discovery document of the issuer", json!({})),
        ("a file", json!({"public_key": file})),
        ("a PEM text", json!({"public_key": rsa["pem"]})),
    ] {
        let mut issuer = issuer.clone();
        super::support::stack::merge(&mut issuer, &keys);
        signed.configure(&json!({"general_settings": {"litellm_jwtauth": {"issuers": [issuer]}}})).await;
        signed.hold(vec![row(name, json!({"sub": "ada"}), passes(&[("user-id", "ada")]))]).await;
    }
}
