//! Claims of another issuer, for another audience, of another time, and said twice.

use super::support::idp::AUDIENCE;
use super::support::{Value, json, raw};
use super::{WORLD, bearer, forge, named, now, refuses, send, text};

#[test]
fn claims_must_be_of_this_issuer_for_this_audience_and_of_now() {
    let world = &*WORLD;
    let now = now();
    let other = |claims: Value| {
        let header = world.header(json!({"kid": world.other.keys()[0]["kid"]}));
        forge::rsa(text(&world.other.keys()[0], "private_pem"), &header, &world.claims(claims))
    };
    assert_eq!(world.other.keys()[0]["kid"], world.kid(), "the same name");
    let mut attacks = named(vec![
        ("of another issuer with the same kid", other(json!({}))),
        ("of another issuer in its own name for us", other(json!({"iss": world.other.issuer()}))),
        ("of another issuer for both", other(json!({"aud": [AUDIENCE, "aud-b"]}))),
    ]);
    let good = other(json!({"iss": world.other.issuer(), "aud": "aud-b"}));
    assert_eq!(raw::status(&send(world, &bearer(&good)).0), 200, "what is its own passes");
    let issuer = world.signed.idp.issuer();
    for claims in [
        json!({"aud": "https://elsewhere.example"}),
        json!({"aud": ["https://elsewhere.example", "aud-b"]}),
        json!({"aud": []}),
        json!({"aud": null}),
        json!({"aud": ""}),
        json!({"aud": format!("{AUDIENCE}/")}),
        json!({"aud": AUDIENCE.to_uppercase()}),
        json!({"aud": format!("{AUDIENCE} aud-b")}),
        json!({"aud": {AUDIENCE: true}}),
        json!({"aud": [[AUDIENCE]]}),
        json!({"iss": "https://elsewhere.example"}),
        json!({"iss": null}),
        json!({"iss": format!("{issuer}/")}),
        json!({"iss": [issuer]}),
        json!({"iss": issuer.to_uppercase()}),
        json!({"iss": world.other.issuer()}),
        json!({"nbf": now + 3_600}),
        json!({"nbf": "soon"}),
        json!({"iat": now + 3_600}),
        json!({"exp": null}),
        json!({"exp": (now + 600).to_string()}),
        json!({"exp": true}),
        json!({"exp": [now + 600]}),
        json!({"exp": {"at": now + 600}}),
    ] {
        attacks.push((format!("{claims:.80}"), world.sign(&world.header(json!({})), &world.claims(claims.clone()))));
    }
    let rest = format!(r#""iss":"{issuer}","aud":"{AUDIENCE}","iat":{now}"#);
    let exp = now + 600;
    for claims in [
        format!(r#"{{{rest},"exp":{exp},"sub":"ada","sub":"root"}}"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada","\u0073ub":"root"}}"#),
        format!(r#"{{{rest},"exp":1,"exp":{exp},"sub":"ada"}}"#),
        format!(r#"{{{rest},"exp":{exp},"exp":1,"sub":"ada"}}"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada","a":{{"b":1,"b":2}}}}"#),
        format!(r#"{{{rest},"exp":1e400,"sub":"ada"}}"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada"}} x"#),
        format!(r#"[{{{rest},"exp":{exp},"sub":"ada"}}]"#),
        format!(r#"{{{rest},"exp":{exp},"sub":"ada""#),
        format!(r#"{{{rest},"exp":{exp},"a":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000)),
        String::new(),
        "null".to_owned(),
        "7".to_owned(),
    ] {
        attacks.push((format!("{claims:.160}"), world.sign(&world.header(json!({})), &claims)));
    }
    refuses(world, attacks);
    for exp in [json!(now - 3_600), json!(0), json!(-1), json!(1.5)] {
        let claims = world.claims(json!({"exp": exp}));
        let (answer, reached) = send(world, &bearer(&world.sign(&world.header(json!({})), &claims)));
        let told = answer.contains("expired_key") || answer.contains("auth_error");
        assert!(raw::status(&answer) == 401 && told && !reached, "exp {exp}: {answer}");
    }
}
