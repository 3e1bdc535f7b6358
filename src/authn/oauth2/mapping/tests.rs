//! What answers mean, without a server.

use serde_json::json;

use super::*;

const NOW: i64 = 1_000_000;

fn judge(settings: &Value, said: &Value) -> Result<Judged, Failure> {
    let mut general = settings.clone();
    general["oauth_token_info_endpoint"] = json!("https://id.example.com/tokeninfo");
    let general: crate::config::General = serde_json::from_value(general).unwrap();
    let claims = Claims { members: said.as_object().expect("an object").clone(), bytes: 0 };
    Mapping::new(&Options::of(&general).unwrap()).judge(claims, Timestamp::millis(NOW * 1_000))
}

/// Status, type and reason of a denial.
fn refused(settings: &Value, said: &Value) -> (u16, &'static str, String) {
    match judge(settings, said).unwrap() {
        Ok(_) => panic!("{said} is accepted"),
        Err(denial) => (denial.status, denial.kind.as_str(), denial.reason.into_owned()),
    }
}

#[test]
fn times_are_believed_in_every_form_that_is_one() {
    let until = |said: Value| judge(&json!({}), &said).unwrap().ok().and_then(|good| good.until);
    let at = |seconds: i64| Some(Timestamp::millis(seconds * 1_000));
    assert_eq!(until(json!({"sub": "a", "exp": NOW + 1})), at(NOW + 1));
    assert_eq!(until(json!({"sub": "a", "exp": 1_000_000.5})), Some(Timestamp::millis(NOW * 1_000 + 500)));
    assert_eq!(until(json!({"sub": "a", "exp": (NOW + 1).to_string()})), at(NOW + 1));
    assert_eq!(until(json!({"sub": "a", "exp": 1e300})), Some(Timestamp::millis(i64::MAX)));
    assert_eq!(until(json!({"sub": "a", "exp": null, "nbf": NOW + 30})), None);
    for exp in [json!(NOW), json!(NOW - 1), json!(0), json!(-1), json!("12"), json!(-1e300)] {
        let expected = (401, "expired_key", "credential.expired_token".to_owned());
        assert_eq!(refused(&json!({}), &json!({"sub": "a", "exp": exp})), expected, "{exp}");
    }
    let early = refused(&json!({}), &json!({"sub": "a", "nbf": NOW + 31}));
    assert_eq!(early, (401, "auth_error", "credential.not_yet_valid".to_owned()));
    for (said, name) in [
        (json!({"sub": "a", "exp": "tomorrow"}), "exp"),
        (json!({"sub": "a", "exp": [1]}), "exp"),
        (json!({"sub": "a", "nbf": true}), "nbf"),
    ] {
        let Err(failure) = judge(&json!({}), &said) else { panic!("{said} is understood") };
        assert_eq!(failure, Failure::NotATime(name));
    }
}

#[test]
fn what_is_no_access_token_for_a_bearer_at_this_gate_is_refused() {
    let settings = json!({
        "oauth_audience": ["gate", "https://gate.example"], "oauth_issuer": "https://id.example",
        "oauth_required_scopes": ["a", "b"],
    });
    let good = json!({
        "sub": "ada", "aud": ["other", "gate"], "iss": "https://id.example", "scope": "b c", "scp": ["a"],
        "token_type": "Bearer", "token_use": "access_token", "cnf": null,
    });
    assert!(judge(&settings, &good).unwrap().is_ok());
    let cases = [
        ("token_type", json!("DPoP"), "credential.no_access_token"),
        ("token_type", json!("refresh_token"), "credential.no_access_token"),
        ("token_use", json!("refresh_token"), "credential.no_access_token"),
        ("token_use", json!("ID"), "credential.no_access_token"),
        ("typ", json!("Refresh"), "credential.no_access_token"),
        ("cnf", json!({"jkt": "x"}), "credential.bound_token"),
        ("iss", json!("https://id.example/"), "credential.wrong_issuer"),
        ("iss", json!(null), "credential.wrong_issuer"),
        ("aud", json!("gat"), "credential.wrong_audience"),
        ("aud", json!([]), "credential.wrong_audience"),
        ("aud", json!(null), "credential.wrong_audience"),
        ("scope", json!("bb"), "scope.missing"),
        ("scp", json!(["A"]), "scope.missing"),
    ];
    for (name, value, reason) in cases {
        let mut said = good.clone();
        said[name] = value.clone();
        let (status, _, told) = refused(&settings, &said);
        let expected = if reason == "scope.missing" { 403 } else { 401 };
        assert_eq!((status, told.as_str()), (expected, reason), "{name}: {value}");
    }
}

#[test]
fn roles_are_known_ones_or_refused() {
    let role = |said: &Value| judge(&json!({"oauth_user_role_field_name": "realm.roles"}), said).unwrap();
    let found =
        |said: &Value| role(said).map_err(|denial| (denial.status, denial.param)).map(|good| good.assertion.role);
    let wrong = Err((403, Some(Cow::Borrowed("user_role"))));
    for (said, expected) in [
        (json!({"sub": "a"}), Ok(RoleClaim::None)),
        (json!({"sub": "a", "realm": {"roles": null}}), Ok(RoleClaim::None)),
        (json!({"sub": "a", "realm": {"roles": "proxy_admin"}}), Ok(RoleClaim::Is(Role::ProxyAdmin))),
        (json!({"sub": "a", "realm": {"roles": ["customer", "proxy_admin"]}}), Ok(RoleClaim::Is(Role::Customer))),
        (json!({"sub": "a", "realm": {"roles": "proxy-admin"}}), wrong.clone()),
        (json!({"sub": "a", "realm": {"roles": "Proxy_Admin"}}), wrong.clone()),
        (json!({"sub": "a", "realm": {"roles": ""}}), wrong.clone()),
        (json!({"sub": "a", "realm": {"roles": []}}), wrong.clone()),
        (json!({"sub": "a", "realm": {"roles": {"proxy_admin": true}}}), wrong.clone()),
    ] {
        assert_eq!(found(&said), expected, "{said}");
    }
}

#[test]
fn an_address_that_is_not_verified_names_nobody_and_nobody_is_refused() {
    let email = |said: Value| judge(&json!({}), &said).unwrap().ok().and_then(|good| good.assertion.user_email.clone());
    let ada = "ada@example.com";
    assert_eq!(email(json!({"sub": "a", "email": ada})).as_deref(), Some(ada));
    assert_eq!(email(json!({"sub": "a", "email": ada, "email_verified": true})).as_deref(), Some(ada));
    assert_eq!(email(json!({"sub": "a", "email": ada, "email_verified": false})), None);
    assert_eq!(email(json!({"sub": "a", "email": ada, "email_verified": "false"})), None);
    for said in
        [json!({}), json!({"client_id": "c"}), json!({"sub": ""}), json!({"email": ada, "email_verified": false})]
    {
        assert_eq!(refused(&json!({}), &said).2, "credential.names_nobody");
    }
    let machine = judge(&json!({"oauth_user_id_field_name": "client_id"}), &json!({"client_id": "c"})).unwrap();
    assert_eq!(machine.ok().unwrap().assertion.user_id.as_deref(), Some("c"));
}
