//! Headers of tokens that point to keys, name keys that are not there, or say two things.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::support::{Value, json, raw};
use super::{WORLD, forge, refuses, text};

#[test]
fn a_header_leads_to_no_key_but_those_of_the_issuer() {
    let world = &*WORLD;
    let (claims, idp) = (world.claims(json!({})), &world.signed.idp);
    // The attacker is the other provider: its keys are served where the headers point.
    let answer = raw::get(world.other.port(), "/jwks").unwrap();
    let set = answer.split_once("\r\n\r\n").unwrap().1;
    idp.serve("/attacker", "application/json", set);
    let set: Value = serde_json::from_str(set).unwrap();
    let (attacker, jwk) = (world.other.keys()[0].clone(), set["keys"][0].clone());
    let certificate = rcgen::generate_simple_self_signed(vec!["attacker.example".to_owned()]).unwrap();
    let x5c = STANDARD.encode(certificate.cert.der());
    let at = idp.url("/attacker");
    let forged = |members: Value| forge::rsa(text(&attacker, "private_pem"), &world.header(members), &claims);
    idp.forget();
    let start = Instant::now();
    let mut attacks = Vec::new();
    for members in [
        json!({"jku": at}),
        json!({"x5u": at}),
        json!({"jwk": jwk}),
        json!({"x5c": [x5c]}),
        json!({"jku": at, "kid": "attacker"}),
        json!({"jwk": jwk, "kid": "attacker"}),
        json!({"jwk": jwk, "kid": null}),
        json!({"iss": world.other.issuer()}),
        json!({"kid": at}),
        json!({"kid": "../../../../dev/null"}),
        json!({"kid": "file:///dev/null"}),
        json!({"kid": "' OR '1'='1' --"}),
        json!({"kid": "x' UNION SELECT 'secret"}),
        json!({"kid": "a\u{0}b"}),
        json!({"kid": format!("{}\u{0}", world.kid())}),
        json!({"kid": "a\r\nx-injected: 1"}),
        json!({"kid": "{{7*7}}"}),
        json!({"kid": "k".repeat(10 * 1024)}),
        json!({"kid": ""}),
        json!({"kid": 7}),
        json!({"kid": [world.kid()]}),
        json!({"kid": world.kid().to_uppercase()}),
    ] {
        attacks.push((format!("{members:.60}"), forged(members)));
    }
    let nameless = json!({"alg": "RS256"}).to_string();
    attacks.push(("no kid".to_owned(), forge::rsa(text(&attacker, "private_pem"), &nameless, &claims)));
    // Even with the right key.
    for members in [json!({"kid": "../other"}), json!({"kid": world.ec["kid"]}), json!({"kid": 7})] {
        attacks.push((format!("rightly signed, {members}"), world.sign(&world.header(members), &claims)));
    }
    // What a header declares critical is not understood (RFC 7515, section 4.1.11).
    for members in [
        json!({"crit": ["exp"], "exp": 1}),
        json!({"crit": []}),
        json!({"crit": ["b64"], "b64": false}),
        json!({"crit": "x"}),
        json!({"typ": "oauth-id-jag+jwt"}),
        json!({"typ": "OAuth-ID-JAG+JWT"}),
        json!({"typ": "application/oauth-id-jag+jwt"}),
    ] {
        attacks.push((format!("rightly signed, {members}"), world.sign(&world.header(members), &claims)));
    }
    let kid = json!(world.kid());
    for header in [
        format!(r#"{{"alg":"none","alg":"RS256","kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","alg":"none","kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","kid":"other","kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","kid":{kid},"kid":{kid}}}"#),
        format!(r#"{{"alg":"RS256","\u0061lg":"RS256","kid":{kid}}}"#),
        format!(r#"[{{"alg":"RS256","kid":{kid}}}]"#),
        format!(r#"{{"alg":"RS256","kid":{kid}}} {{}}"#),
        format!(r#"{{"alg":"RS256","kid":{kid},}}"#),
        String::new(),
        "null".to_owned(),
    ] {
        attacks.push((header.clone(), world.sign(&header, &claims)));
    }
    refuses(world, attacks);
    assert_eq!(idp.count("/attacker"), 0, "nobody followed the token");
    assert_eq!(idp.count("other"), 0);
    // Two for names nobody knew, and one each five seconds.
    let (asked, most) = (idp.count("jwks"), 3 + start.elapsed().as_secs() / 5);
    assert!(asked <= most, "unknown names drive the server to its issuer: {asked} times, {most} at most");
}
