//! Who calls by a header that a proxy has signed (Google IAP, load balancers of AWS, Cloudflare Access, any other):
//! believed for its signature alone, refused for everything else about it, and kept from the upstream.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

#[path = "support/forge.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod forge;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use support::call::{Call, chat_body, client};
use support::cli::text;
use support::idp::{AUDIENCE, Fault, Idp, Signing};
use support::{Options, Stack, Value, eventually, json, unique};

const HEADER: &str = "x-id-token";
const ALB: &str = "x-amzn-oidc-data";
const IAP: &str = "x-goog-iap-jwt-assertion";
const ACCESS: &str = "cf-access-jwt-assertion";
/// A header whose keys cannot be had.
const COLD: &str = "x-cold-token";

const BALANCER: &str = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/gate/50dc6c495c0c9188";
const BACKEND: &str = "/projects/123456789012/global/backendServices/8726340000000000000";
const APPLICATION: &str = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";
const TEAM_DOMAIN: &str = "https://example.cloudflareaccess.com";
const SECONDS_OF_AN_HOUR: u64 = 3_600;

/// A gate that believes five headers, and the provider that stands for those who sign them.
struct World {
    // Before the provider it asks: fields are dropped in this order.
    stack: Stack,
    idp: Idp,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let idp = Idp::start_with(json!({"kid": "shared"}));
    for (kid, pem) in idp.pems().as_object().expect("a map") {
        idp.serve(&format!("/alb/{kid}"), "application/x-pem-file", pem.as_str().expect("PEM"));
    }
    idp.serve("/cold", "application/json", &idp.pems().to_string());
    idp.fault("/cold", Fault::Status { status: 500 });
    let plain = |header: &str, keys: String| json!({"kind": "jwt", "header": header, "issuer": idp.issuer(), "jwks_url": keys, "audience": AUDIENCE});
    let stack = Stack::start(Options::config(json!({
        "general_settings": {"public_routes": ["/api/*"]},
        "identity": {"signed_headers": [
            plain("X-Id-Token", idp.jwks_url()),
            plain(COLD, idp.url("/cold")),
            {"kind": "aws_alb", "signer": BALANCER, "jwks_url": idp.url("/alb/{kid}")},
            {"kind": "google_iap", "jwks_url": idp.jwks_url(), "audience": BACKEND},
            {
                "kind": "cloudflare_access", "team_domain": TEAM_DOMAIN, "jwks_url": idp.jwks_url(),
                "audience": APPLICATION, "user_id_jwt_field": "email",
            },
        ]},
    })));
    World { stack, idp }
});

/// A chat without a credential.
fn chat() -> Call {
    WORLD.stack.call("POST", "/v1/chat/completions").json(&chat_body("gpt-4o-mini"))
}

/// The token of a load balancer: signed with the provider's key on P-256, each part padded.
fn of_balancer(signer: &str, claims: &Value) -> String {
    let keys = WORLD.idp.keys();
    let key = keys.iter().find(|key| key["alg"] == "ES256").expect("a key");
    let header = json!({"typ": "JWT", "alg": "ES256", "kid": key["kid"], "signer": signer, "client": "gate"});
    let input = format!("{}.{}", URL_SAFE.encode(header.to_string()), URL_SAFE.encode(claims.to_string()));
    let signature = forge::p256_signature(key["private_pem"].as_str().expect("PEM"), &input);
    format!("{input}.{}", URL_SAFE.encode(signature))
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[tokio::test]
async fn a_signed_header_says_who_calls_and_stays_behind() {
    let user = WORLD.stack.user(json!({"user_email": format!("{}@example.com", unique("ada"))})).await;
    let token = WORLD.idp.sign(json!({"sub": user}));
    // Verified, and then remembered.
    for name in [HEADER, "X-ID-TOKEN", HEADER] {
        let received = chat().header(name, &token).send().await.allowed();
        assert_eq!(received.header("x-tollward-user-id"), Some(user.as_str()), "{name}");
        assert_eq!(received.header("x-tollward-auth-method"), Some("jwt"), "{name}");
        assert_eq!(received.header(HEADER), None, "{name}");
    }
    // A public route needs no caller, and passes neither the header on nor one that some servers take for it.
    let public = WORLD.stack.call("GET", "/api/x").header(HEADER, &token).header("x_id_token", &token);
    let received = public.send().await.received().expect("a public route");
    assert_eq!((received.header(HEADER), received.header("x_id_token")), (None, None));
    chat().send().await.denied(401, "auth_error");
}

#[tokio::test]
async fn a_user_who_is_blocked_is_refused_at_once_though_the_token_is_good() {
    let team = WORLD.stack.team(json!({})).await;
    let user = WORLD.stack.user(json!({})).await;
    let token = WORLD.idp.sign(json!({"sub": user}));
    chat().header(HEADER, &token).send().await.allowed();
    // What a signed header claims besides the user means nothing unless a claim is mapped.
    let boasting = WORLD.idp.sign(json!({"sub": user, "scope": "litellm_proxy_admin", "team_id": team}));
    let received = chat().header(HEADER, &boasting).send().await.allowed();
    assert_eq!(received.header("x-tollward-role"), Some("internal_user"));
    assert_eq!(received.header("x-tollward-team-id"), None);
    WORLD.stack.manage("POST", "/user/update", json!({"user_id": user, "metadata": {"scim_active": false}})).await;
    eventually("the user is refused", || async {
        match chat().header(HEADER, &token).send().await {
            answer if answer.status == 401 => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_header_that_is_not_as_the_proxy_signed_it_is_refused() {
    let good = WORLD.idp.sign(json!({"sub": "ada"}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, _) = signed.split_once('.').unwrap();
    let other = WORLD.idp.sign(json!({"sub": "eve"}));
    let payload_of_other = other.split('.').nth(1).unwrap();
    let namesake = Idp::start_with(json!({"kid": "shared"}));
    let (kid, same) = (&WORLD.idp.keys()[0]["kid"], &namesake.keys()[0]["kid"]);
    assert_eq!(kid, same, "two issuers, one name for their keys");
    let expired = json!({"exp": now() - SECONDS_OF_AN_HOUR});
    let hmac = Signing { secret: Some(WORLD.idp.pems().to_string()), ..Signing::alg("HS256") };
    let rows = [
        ("another payload", format!("{head}.{payload_of_other}.{signature}"), "auth_error"),
        ("no signature", format!("{signed}."), "auth_error"),
        ("an algorithm of none", WORLD.idp.sign_with(Signing::alg("none"), json!({})), "auth_error"),
        ("a symmetric algorithm", WORLD.idp.sign_with(hmac, json!({})), "auth_error"),
        ("another audience", WORLD.idp.sign(json!({"aud": "https://elsewhere.example"})), "auth_error"),
        ("no audience", WORLD.idp.sign(json!({"aud": null})), "auth_error"),
        ("expired", WORLD.idp.sign(expired), "expired_key"),
        ("without an end", WORLD.idp.sign(json!({"exp": null})), "auth_error"),
        ("another issuer", WORLD.idp.sign(json!({"iss": "https://elsewhere.example"})), "auth_error"),
        ("another issuer's key of one name", namesake.sign(json!({"iss": WORLD.idp.issuer()})), "auth_error"),
        ("padded where that is not usual", format!("{good}=="), "auth_error"),
        ("a name alone", "ada".to_owned(), "auth_error"),
        ("nothing", String::new(), "auth_error"),
    ];
    for (name, token, kind) in rows {
        let answer = chat().header(HEADER, &token).send().await;
        assert_eq!((answer.status, &*answer.kind()), (401, kind), "{name}: {}", answer.text());
        answer.denied(401, kind);
        assert!(token.is_empty() || !answer.text().contains(&token), "{name}: the token is told");
    }
    chat().header(HEADER, &good).header(HEADER, &good).send().await.denied(401, "auth_error");
    chat().header(HEADER, &good).header("X-Id-Token", &other).send().await.denied(401, "auth_error");
    chat().header(HEADER, &good).send().await.allowed();
    // It is no credential: it counts in its own header alone.
    chat().bearer(&good).send().await.denied(401, "auth_error");
}

#[tokio::test]
async fn a_key_beside_the_header_is_the_same_users() {
    let stack = &WORLD.stack;
    let (user, other) = (stack.user(json!({})).await, stack.user(json!({})).await);
    let key = stack.key(json!({"user_id": user})).await;
    let token = |user: &str| WORLD.idp.sign(json!({"sub": user}));
    let received = stack.chat(&key).header(HEADER, token(&user)).send().await.allowed();
    assert_eq!(received.header("x-tollward-auth-method"), Some("virtual_key"));
    assert_eq!(received.header(HEADER), None);
    stack.chat(&key).header(HEADER, token(&other)).send().await.denied(401, "auth_error");
    // Neither makes up for the other.
    stack.chat(&key).header(HEADER, "no token").send().await.denied(401, "auth_error");
    let unknown = chat().bearer("sk-unknown-to-everyone").header(HEADER, token(&user));
    unknown.send().await.denied(401, "token_not_found_in_db");
    // Two signed headers are to agree as well.
    let balancer = of_balancer(BALANCER, &json!({"sub": other, "exp": now() + SECONDS_OF_AN_HOUR}));
    chat().header(HEADER, token(&user)).header(ALB, &balancer).send().await.denied(401, "auth_error");
    chat().header(HEADER, token(&other)).header(ALB, &balancer).send().await.allowed();
}

#[tokio::test]
async fn a_provider_that_is_down_is_trouble_of_ours_until_its_keys_are_there() {
    let token = WORLD.idp.sign(json!({"sub": "ada"}));
    let answer = chat().header(COLD, &token).send().await;
    answer.denied(503, "auth_provider_unavailable");
    assert!(answer.header("retry-after").is_some());
    // Beside a good key too: nobody can say whether the two agree.
    let key = WORLD.stack.plain_key().await;
    WORLD.stack.chat(&key).header(COLD, &token).send().await.denied(503, "auth_provider_unavailable");
    WORLD.idp.clear_faults();
    eventually("the keys are there", || async {
        match chat().header(COLD, &token).send().await {
            answer if answer.status == 200 => Ok(()),
            answer => Err(answer.text()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_load_balancer_of_aws_pads_its_tokens_and_signs_as_itself() {
    let user = unique("ada");
    let claims = |user: &str| json!({"sub": user, "email": "ada@example.com", "exp": now() + SECONDS_OF_AN_HOUR});
    let token = of_balancer(BALANCER, &claims(&user));
    assert!(token.contains('='), "it is padded");
    let received = chat().header(ALB, &token).send().await.allowed();
    assert_eq!(received.header("x-tollward-user-id"), Some(user.as_str()));
    assert_eq!(received.header(ALB), None);
    let with = |header: Value| WORLD.idp.sign_with(Signing { header, ..Signing::alg("ES256") }, claims(&user));
    let rows = [
        ("another balancer", of_balancer(&BALANCER.replace("gate", "other"), &claims(&user))),
        ("no balancer", with(json!({"signer": null}))),
        ("a key that is not published", with(json!({"signer": BALANCER, "kid": "no-such-key"}))),
        ("a key elsewhere", with(json!({"signer": BALANCER, "kid": "../jwks"}))),
        ("no key", with(json!({"signer": BALANCER, "kid": null}))),
    ];
    for (name, token) in rows {
        let answer = chat().header(ALB, &token).send().await;
        assert_eq!((answer.status, &*answer.kind()), (401, "auth_error"), "{name}: {}", answer.text());
    }
    // Without padding it is as good.
    chat().header(ALB, with(json!({"signer": BALANCER}))).send().await.allowed();
}

#[tokio::test]
async fn google_and_cloudflare_are_known_by_their_header_issuer_and_audience() {
    let user = unique("ada");
    let email = format!("{user}@example.com");
    let iap = |aud: &str, iss: &str| {
        let claims = json!({"iss": iss, "aud": aud, "sub": user, "email": email});
        WORLD.idp.sign_with(Signing::alg("ES256"), claims)
    };
    let access = |aud: Value, iss: &str| WORLD.idp.sign(json!({"iss": iss, "aud": aud, "sub": user, "email": email}));
    let google = "https://cloud.google.com/iap";
    let rows = [
        (IAP, iap(BACKEND, google), Some(user.as_str())),
        (IAP, iap("/projects/1/global/backendServices/1", google), None),
        (IAP, iap(BACKEND, WORLD.idp.issuer()), None),
        (ACCESS, access(json!([APPLICATION]), TEAM_DOMAIN), Some(email.as_str())),
        (ACCESS, access(json!([APPLICATION, "other"]), TEAM_DOMAIN), Some(email.as_str())),
        (ACCESS, access(json!(["other"]), TEAM_DOMAIN), None),
        (ACCESS, access(json!([APPLICATION]), "https://other.cloudflareaccess.com"), None),
        // Of a service token of Cloudflare, which names nobody.
        (ACCESS, WORLD.idp.sign(json!({"iss": TEAM_DOMAIN, "aud": [APPLICATION], "sub": ""})), None),
        // What is for one of them is nothing to the other.
        (ACCESS, iap(BACKEND, google), None),
        (IAP, access(json!([APPLICATION]), TEAM_DOMAIN), None),
    ];
    for (index, (header, token, expected)) in rows.into_iter().enumerate() {
        let answer = chat().header(header, &token).send().await;
        match expected {
            Some(user) => {
                let received = answer.allowed();
                assert_eq!(received.header("x-tollward-user-id"), Some(user), "row {index}");
                assert_eq!(received.header(header), None, "row {index}");
            }
            None => answer.denied(401, "auth_error"),
        }
    }
}

#[tokio::test]
async fn the_management_port_reads_the_headers_too_and_an_explanation_names_them() {
    let stack = &WORLD.stack;
    let make_team = async |user: &str| {
        let url = format!("http://127.0.0.1:{}/team/new", stack.ports.http);
        let request = client().post(url).header(HEADER, WORLD.idp.sign(json!({"sub": user})));
        request.json(&json!({"team_alias": unique("team")})).send().await.unwrap().status().as_u16()
    };
    let admin = stack.user(json!({"user_role": "proxy_admin"})).await;
    let plain = stack.user(json!({"user_role": "internal_user"})).await;
    assert_eq!(make_team(&admin).await, 200);
    assert!(matches!(make_team(&plain).await, 401 | 403));

    let token = WORLD.idp.sign(json!({"sub": plain}));
    let header = format!("{HEADER}: {token}");
    let output = stack.command(&["check", "--json", "--model", "gpt-4o-mini", "--header", &header]);
    let told = text(&output);
    assert!(output.status.success() && told.contains("signed in the header x-id-token"), "{told}");
    assert!(told.contains(&plain) && !told.contains(&token), "{told}");
}
