use proptest::prelude::*;

use super::*;
use crate::authn::testing::{House, KEY, chat, user_budget};
use crate::config::{Config, ProxyMappings};
use crate::domain::{Money, Role};
use crate::request::{CREDENTIAL_HEADERS, Headers};

const PROXY: &str = "10.1.2.3";
const STRANGER: &str = "192.0.2.1";

fn general() -> General {
    let header = |name: &str| Some(name.to_owned());
    General {
        enable_oauth2_proxy_auth: true,
        oauth2_config_mappings: ProxyMappings {
            user_id: header("X-User-Id"),
            user_email: header("X-User-Email"),
            team_id: header("X-Team-Id"),
            team_alias: header("X-Team-Alias"),
            org_id: header("X-Org-Id"),
            models: header("X-Models"),
            max_budget: header("X-Max-Budget"),
            user_role: header("X-User-Role"),
        },
        trusted_proxy_ranges: vec!["10.0.0.0/8".to_owned()],
        trusted_proxy_principals: vec!["spiffe://cluster.local/ns/gateway/sa/*".to_owned()],
        ..General::default()
    }
}

fn config() -> Config {
    Config { general_settings: general(), ..Config::default() }
}

fn around() -> Vec<Box<dyn Authenticator>> {
    vec![Box::new(ProxyHeaders::new(&general()).unwrap().unwrap())]
}

/// A call of the proxy with these headers.
async fn ask(house: &House, headers: &[(&str, &str)]) -> Result<crate::domain::Caller, Denial> {
    ask_from(house, PROXY, "", headers).await
}

async fn ask_from(
    house: &House,
    peer: &str,
    principal: &str,
    headers: &[(&str, &str)],
) -> Result<crate::domain::Caller, Denial> {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    house.ask(around(), &chat(peer, principal, &headers)).await.0
}

fn read(headers: &[(&'static str, &'static [u8])]) -> Result<Told<'static>, Fault> {
    let names = IdentityHeaders::of(&general().oauth2_config_mappings);
    values::read(&names, &Headers(headers.to_vec()), &mut Trace::off())
}

use values::{Fault, Problem};

#[test]
fn a_value_is_trimmed_and_an_empty_one_says_nothing() {
    let told = read(&[
        ("x-user-id", b" ada\t"),
        ("x-user-email", b"  "),
        ("x-models", b"gpt-4, gpt-3.5-turbo,, "),
        ("x-max-budget", b"12.5"),
        ("x-user-role", b"internal_user_viewer"),
    ]);
    let expected = Told {
        user_id: Some("ada"),
        models: Some(vec!["gpt-4", "gpt-3.5-turbo"]),
        max_budget: Some(Money::nanos(12_500_000_000)),
        role: Some(Role::InternalUserViewer),
        ..Told::default()
    };
    assert_eq!(told, Ok(expected));
}

#[test]
fn a_header_that_could_be_read_in_two_ways_is_refused() {
    let huge: &'static [u8] = Vec::leak(vec![b'a'; 513]);
    let many: &'static [u8] = Vec::leak(vec![b'a'; 4097]);
    #[rustfmt::skip]
    let cases: [(&[(&'static str, &'static [u8])], Problem); 24] = [
        (&[("x-user-id", b"ada"), ("x-user-id", b"eve")], Problem::Repeated),
        (&[("x-user-id", b"ada"), ("x-user-id", b"ada")], Problem::Repeated),
        (&[("x-user-id", b""), ("x-user-id", b"eve")], Problem::Repeated),
        (&[("x-models", b"a"), ("x-models", b"b")], Problem::Repeated),
        (&[("x-user-id", b"ada,eve")], Problem::List),
        (&[("x-team-id", b"a, b")], Problem::List),
        (&[("x-max-budget", b"1,5")], Problem::List),
        (&[("x-user-id", b"ada"), ("x_user_id", b"eve")], Problem::LookAlike),
        (&[("x-user_id", b"eve")], Problem::LookAlike),
        (&[("X-User-Id", b"eve")], Problem::LookAlike),
        (&[("x-user-id", b"a\0da")], Problem::NotText),
        (&[("x-user-id", b"a\rda")], Problem::NotText),
        (&[("x-user-id", b"a\xc2\x85da")], Problem::NotText),
        (&[("x-user-id", b"\xff")], Problem::NotText),
        (&[("x-user-id", huge)], Problem::Long),
        (&[("x-models", many)], Problem::Long),
        (&[("x-models", b" , ")], Problem::NoModel),
        (&[("x-max-budget", b"1e309")], Problem::NotMoney),
        (&[("x-max-budget", b"-1")], Problem::NotMoney),
        (&[("x-max-budget", b"NaN")], Problem::NotMoney),
        (&[("x-max-budget", b"0x10")], Problem::NotMoney),
        (&[("x-max-budget", b"inf")], Problem::NotMoney),
        (&[("x-user-role", b"root")], Problem::NoRole),
        (&[("x-user-role", b"Proxy_Admin")], Problem::NoRole),
    ];
    for (headers, problem) in cases {
        assert_eq!(read(headers).map_err(|fault| fault.problem), Err(problem), "{:?}", headers[0]);
    }
}

#[tokio::test]
async fn a_trusted_proxy_says_who_calls() {
    let house = House::of(config()).await;
    type Who<'a> = (Option<&'a str>, Option<&'a str>, Role);
    let rows: [(&[(&str, &str)], Who<'_>); 8] = [
        (&[("x-user-id", "ada")], (Some("ada"), None, Role::InternalUser)),
        (&[("x-user-email", "ada@example.com")], (Some("ada"), None, Role::InternalUser)),
        (&[("x-user-id", "nobody-knows-her")], (Some("nobody-knows-her"), None, Role::InternalUser)),
        (&[("x-user-id", "ada"), ("x-team-id", "t")], (Some("ada"), Some("t"), Role::InternalUser)),
        (&[("x-user-id", "ada"), ("x-team-alias", "Team T")], (Some("ada"), Some("t"), Role::InternalUser)),
        (&[("x-team-id", "t")], (None, Some("t"), Role::Team)),
        (&[("x-team-id", "t"), ("x-user-role", "internal_user")], (None, Some("t"), Role::Team)),
        (&[("x-user-id", "bob"), ("x-user-role", "proxy_admin")], (Some("bob"), None, Role::InternalUserViewer)),
    ];
    for (headers, expected) in rows {
        let caller = ask(&house, headers).await.unwrap_or_else(|denial| panic!("{headers:?}: {}", denial.message));
        let found = (caller.user_id().map(|id| &**id), caller.team_id().map(|id| &**id), caller.role);
        assert_eq!((found, caller.method), (expected, AuthMethod::TrustedProxy), "{headers:?}");
    }
    let unknown_team = ask(&house, &[("x-user-id", "ada"), ("x-team-id", "none")]).await.unwrap_err();
    assert_eq!(unknown_team.status, 404);
}

#[tokio::test]
async fn an_identity_header_of_anyone_else_is_refused_whatever_comes_with_it() {
    let house = House::of(config()).await;
    let bearer = format!("Bearer {KEY}");
    let headers: [&[(&str, &str)]; 6] = [
        &[("x-user-id", "ada")],
        &[("x-user-id", "")],
        &[("x_user_id", "ada")],
        &[("x-max-budget", "5"), ("authorization", &bearer)],
        &[("x-user-id", "ada"), ("authorization", &bearer)],
        &[("x-user-id", "ada"), ("x-forwarded-for", PROXY), ("x-real-ip", PROXY), ("forwarded", "for=10.1.2.3")],
    ];
    for headers in headers {
        for (peer, principal) in
            [(STRANGER, ""), ("", ""), (STRANGER, "spiffe://cluster.local/ns/other/sa/oauth2-proxy")]
        {
            let denial = ask_from(&house, peer, principal, headers).await.unwrap_err();
            assert_eq!((denial.status, &*denial.reason), (401, "credential.untrusted_identity_header"), "{headers:?}");
        }
    }
    let xfcc = [("x-user-id", "ada"), ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/gateway/sa/a")];
    assert!(ask_from(&house, STRANGER, "", &xfcc).await.is_err(), "a certificate that a header claims");
    // Without such a header a stranger is a caller like any other.
    let caller = ask_from(&house, STRANGER, "", &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(caller.method, AuthMethod::VirtualKey);
}

#[tokio::test]
async fn a_proxy_is_known_by_its_address_or_its_certificate() {
    let house = House::of(config()).await;
    let headers = [("x-user-id", "ada")];
    for (peer, principal) in [
        ("10.255.0.1", ""),
        ("::ffff:10.0.0.1", ""),
        (STRANGER, "spiffe://cluster.local/ns/gateway/sa/oauth2-proxy"),
        ("", "spiffe://cluster.local/ns/gateway/sa/oauth2-proxy"),
    ] {
        assert!(ask_from(&house, peer, principal, &headers).await.is_ok(), "{peer} {principal}");
    }
}

#[tokio::test]
async fn nothing_said_is_nobody_and_leaves_a_key_as_it_is() {
    let house = House::of(config()).await;
    let bearer = format!("Bearer {KEY}");
    let nobody: [&[(&str, &str)]; 4] =
        [&[], &[("x-user-id", " ")], &[("x-models", "gpt-4o"), ("x-max-budget", "5")], &[("x-org-id", "o")]];
    for headers in nobody {
        let denial = ask(&house, headers).await.unwrap_err();
        assert_eq!((denial.status, &*denial.reason), (401, "credential.missing"), "{headers:?}");
    }
    let caller = ask(&house, &[("x-user-id", " "), ("authorization", &bearer)]).await.unwrap();
    assert_eq!((caller.method, user_budget(&caller), caller.grant), (AuthMethod::VirtualKey, Some(100.0), None));
}

#[tokio::test]
async fn beside_a_key_the_same_user_is_named_and_the_narrower_holds() {
    let house = House::of(config()).await;
    let bearer = format!("Bearer {KEY}");
    let other = ask(&house, &[("x-user-id", "bob"), ("authorization", &bearer)]).await.unwrap_err();
    assert_eq!((other.status, &*other.reason), (401, "credential.disagree"));
    for name in [Some(("x-user-id", "ada")), Some(("x-user-email", "ada@example.com")), None] {
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("x-models", "gpt-4o"),
            ("x-max-budget", "5"),
            ("x-user-role", "internal_user_viewer"),
        ];
        headers.extend(name);
        let caller = ask(&house, &headers).await.unwrap();
        assert_eq!((caller.method, caller.role), (AuthMethod::VirtualKey, Role::InternalUserViewer), "{name:?}");
        assert_eq!(user_budget(&caller), Some(5.0), "{name:?}");
        assert_eq!(caller.grant.unwrap().models, [["gpt-4o".to_owned()]], "{name:?}");
        assert!(caller.identity.key.is_some());
    }
}

#[tokio::test]
async fn a_bad_header_is_refused_also_beside_a_good_key_and_its_value_is_not_told() {
    let house = House::of(config()).await;
    let bearer = format!("Bearer {KEY}");
    for headers in [[("x-user-id", "hunter2,eve")], [("x-max-budget", "hunter2")]] {
        let denial = ask(&house, &[headers[0], ("authorization", &bearer)]).await.unwrap_err();
        assert_eq!((denial.status, &*denial.reason), (401, "credential.identity_header"));
        assert!(denial.message.contains(headers[0].0) && !denial.message.contains("hunter2"), "{}", denial.message);
    }
}

#[tokio::test]
async fn an_explanation_tells_which_header_gave_which_field() {
    let house = House::of(config()).await;
    let http = chat(PROXY, "", &[("x-user-id", b"ada"), ("x-max-budget", b"5")]);
    let (found, steps) = house.ask(around(), &http).await;
    assert!(found.is_ok());
    let told: Vec<&str> =
        steps.iter().filter(|step| step.check == "identity").map(|step| step.found.as_str()).collect();
    assert_eq!(told, ["user_id from the header x-user-id", "max_budget from the header x-max-budget"]);
}

#[test]
fn no_header_with_another_meaning_can_be_mapped() {
    let load = |name: &str| {
        let text = format!(
            "general_settings:\n  master_key: sk-0123456789\n  litellm_key_header_name: x-our-key\n  \
             enable_oauth2_proxy_auth: true\n  trusted_proxy_ranges: [10.0.0.0/8]\n  \
             oauth2_config_mappings: {{user_id: '{name}'}}\n"
        );
        Config::parse(&text, "t.yaml", &|_| None)
    };
    assert!(load("X-User-Id").is_ok());
    let others =
        ["x-our-key", "Host", "x-forwarded-for", "X-Tollward-User-Id", "x-envoy-original-path", ":path", "a b"];
    for name in CREDENTIAL_HEADERS.iter().chain(&others) {
        let error = load(name).unwrap_err().to_string();
        assert!(error.contains("oauth2_config_mappings.user_id"), "{name}: {error}");
    }
}

/// What a proxy, or a client through it, may come up with.
fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}",
        "[0-9]{0,12}(\\.[0-9]{0,12})?",
        prop::sample::select(vec!["ada", "bob", "t", "Team T", "proxy_admin", "internal_user", "team", "*", "1e9"])
            .prop_map(str::to_owned),
        any::<f64>().prop_map(|number| number.to_string()),
    ]
}

#[test]
fn whatever_is_sent_no_limit_and_no_role_exceeds_the_directorys() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let house = runtime.block_on(House::of(config()));
    let names = ["x-user-id", "x-user-email", "x-team-id", "x-team-alias", "x-models", "x-max-budget", "x-user-role"];
    let header = (prop::sample::select(names.to_vec()), any_value());
    proptest!(ProptestConfig::with_cases(256), |(
        user in prop::sample::select(vec!["ada", "bob"]),
        has_key in any::<bool>(),
        mut headers in prop::collection::vec(header, 0..5),
    )| {
        let bearer = format!("Bearer {KEY}");
        headers.retain(|(name, _)| *name != "x-user-id" && *name != "x-user-email");
        headers.push(("x-user-id", user.to_owned()));
        if has_key {
            headers.push(("authorization", bearer));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let Ok(caller) = runtime.block_on(ask(&house, &headers)) else { return Ok(()) };
        let (budget, role) = match user {
            "ada" => (100.0, Role::InternalUser),
            _ => (50.0, Role::InternalUserViewer),
        };
        prop_assert!(user_budget(&caller).is_some_and(|found| found <= budget));
        prop_assert!(role.includes(caller.role), "{:?}", caller.role);
        if let (Some(member), "ada") = (&caller.identity.member, user) {
            prop_assert!(member.limits.max_budget.is_some_and(|found| found.dollars() <= 10.0));
        }
    });
}
