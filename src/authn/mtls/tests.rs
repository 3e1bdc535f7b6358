use super::*;
use crate::authn::testing::{House, KEY, chat, user_budget};
use crate::config::Config;
use crate::domain::{Caller, Step};

const AGENT: &str = "spiffe://cluster.local/ns/t/sa/ada";

fn parse(entries: &str) -> Result<Config, String> {
    let text = format!("general_settings: {{master_key: sk-0123456789}}\nidentity:\n  mtls:\n{entries}");
    Config::parse(&text, "t.yaml", &|_| None).map(|(config, _)| config).map_err(|error| error.to_string())
}

async fn ask(entries: &str, principal: &str, headers: &[(&str, &[u8])]) -> (Result<Caller, Denial>, Vec<Step>) {
    let config = parse(entries).unwrap();
    let mtls: Box<dyn Authenticator> = Box::new(Mtls::new(&config.identity.mtls).unwrap());
    let house = Box::pin(House::of(config)).await;
    Box::pin(house.ask(vec![mtls], &chat("127.0.0.1", principal, headers))).await
}

#[tokio::test]
async fn the_first_entry_that_fits_says_whom_a_certificate_stands_for() {
    let user = "    - {principal: 'spiffe://cluster.local/ns/*/sa/*', user_id: '{2}', team_id: '{1}'}\n";
    let email = "    - {principal: 'spiffe://cluster.local/ns/*/sa/*', user_email: '{2}@example.com'}\n";
    let alias = "    - {principal: 'spiffe://cluster.local/**', team_alias: Team T}\n";
    let hash = KeyHash::of(KEY);
    let key = format!("    - {{principal: '{AGENT}', key: {KEY}}}\n");
    let hashed = format!("    - {{principal: '{AGENT}', key: {hash}}}\n");
    #[rustfmt::skip]
    let rows = [
        (user.to_owned(), Some("ada"), Some("t"), Role::InternalUser),
        (email.to_owned(), Some("ada"), None, Role::InternalUser),
        (alias.to_owned(), None, Some("t"), Role::Team),
        (key, Some("ada"), None, Role::InternalUser),
        (hashed, Some("ada"), None, Role::InternalUser),
        (format!("{email}{alias}"), Some("ada"), None, Role::InternalUser),
        (format!("{alias}{email}"), None, Some("t"), Role::Team),
    ];
    for (entries, user, team, role) in rows {
        let (found, steps) = ask(&entries, AGENT, &[]).await;
        let caller = found.unwrap_or_else(|denial| panic!("{entries}: {}", denial.message));
        let found = (caller.user_id().map(|id| &**id), caller.team_id().map(|id| &**id), caller.role);
        assert_eq!((found, caller.method), ((user, team, role), AuthMethod::Mtls), "{entries}");
        let told = steps.iter().find(|step| step.check == "identity").unwrap();
        assert!(told.found.contains("spiffe://cluster.local/"), "{told:?}");
    }
}

#[tokio::test]
async fn who_fits_no_entry_is_nobody_and_no_header_is_a_certificate() {
    let entries = "    - {principal: 'spiffe://cluster.local/ns/*/sa/ada', user_id: ada}\n";
    let claimed = format!("By=x;Hash=y;URI={AGENT}");
    let headers: [&[(&str, &[u8])]; 3] = [
        &[],
        &[("x-forwarded-client-cert", claimed.as_bytes())],
        &[("x-spiffe-id", AGENT.as_bytes()), ("ssl-client-s-dn", b"CN=ada")],
    ];
    let principals = [
        "",
        "spiffe://cluster.local/ns/t/sa/eve",
        "spiffe://evil.local/ns/t/sa/ada",
        "spiffe://cluster.local/ns/t/x/sa/ada",
    ];
    for principal in principals {
        for headers in headers {
            let denial = ask(entries, principal, headers).await.0.unwrap_err();
            assert_eq!((denial.status, &*denial.reason), (401, "credential.missing"), "{principal} {headers:?}");
        }
    }
}

#[tokio::test]
async fn an_entry_narrows_by_role_and_models() {
    let entries = "    - {principal: 'spiffe://**', user_id: ada, role: internal_user_viewer, models: [gpt-4o]}\n";
    let caller = ask(entries, AGENT, &[]).await.0.unwrap();
    assert_eq!((caller.role, user_budget(&caller)), (Role::InternalUserViewer, Some(100.0)));
    assert_eq!(caller.grant.unwrap().models, [["gpt-4o".to_owned()]]);
    // Bob is a viewer already, and stays one.
    let entries = "    - {principal: 'spiffe://**', user_id: bob, role: internal_user}\n";
    assert_eq!(ask(entries, AGENT, &[]).await.0.unwrap().role, Role::InternalUserViewer);
}

#[tokio::test]
async fn a_key_beside_a_certificate_must_be_the_same_users() {
    let bearer = format!("Bearer {KEY}");
    let headers: &[(&str, &[u8])] = &[("authorization", bearer.as_bytes())];
    let entry = |user: &str| format!("    - {{principal: 'spiffe://**', user_id: {user}, models: [gpt-4o]}}\n");
    let caller = ask(&entry("ada"), AGENT, headers).await.0.unwrap();
    assert_eq!((caller.method, caller.grant.is_some()), (AuthMethod::VirtualKey, true));
    let denial = ask(&entry("bob"), AGENT, headers).await.0.unwrap_err();
    assert_eq!((denial.status, &*denial.reason), (401, "credential.disagree"));
    // A certificate nobody listed changes nothing for a good key.
    assert!(ask(&entry("bob"), "CN=other", headers).await.0.is_ok());
}

#[test]
fn entries_that_cannot_be_meant_are_told_with_their_place() {
    for (entry, path, told) in [
        ("{principal: '**', user_id: a}", "identity.mtls[0].principal", "every peer"),
        ("{principal: '', user_id: a}", "identity.mtls[0].principal", "spiffe://"),
        ("{principal: 'spiffe://a/*'}", "identity.mtls[0]", "whom"),
        ("{principal: 'spiffe://a/*', user_id: '{2}'}", "identity.mtls[0].user_id", "star"),
        ("{principal: 'spiffe://a/b', team_id: '{1}'}", "identity.mtls[0].team_id", "star"),
        ("{principal: 'spiffe://a/*', user_email: '{x}'}", "identity.mtls[0].user_email", "braces"),
        ("{principal: 'spiffe://a/*', user_id: ''}", "identity.mtls[0].user_id", "empty"),
        ("{principal: 'spiffe://a/*', team_id: a, team_alias: b}", "identity.mtls[0].team_alias", "second time"),
        ("{principal: 'spiffe://a/*', key: hunter2}", "identity.mtls[0].key", "sk-"),
        ("{principal: 'spiffe://a/*', key: sk-0123456789, user_id: a}", "identity.mtls[0].key", "drop"),
        ("{principal: 'spiffe://a/*', user_id: a, role: proxy_admin}", "identity.mtls[0].role", "narrows"),
        ("{principal: 'spiffe://a/*', user_id: a, role: root}", "identity.mtls[0].role", "internal_user"),
        ("{principal: 'spiffe://a/*', user: a}", "identity.mtls[0].user", "user_id"),
        ("{user_id: a}", "identity.mtls[0]", "principal is missing"),
    ] {
        let error = parse(&format!("    - {entry}\n")).unwrap_err();
        assert!(error.contains(path) && error.contains(told) && error.contains("t.yaml:4"), "{entry}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
