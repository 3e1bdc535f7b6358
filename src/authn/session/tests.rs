//! Sessions over a directory in a file, which a second handle on it sees as another replica would.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::keys::SigningKey;
use super::*;
use crate::config::Config;
use crate::directory::SharedStore;
use crate::directory::testing::audit;
use crate::domain::{Member, Secret, SessionKey, Team, Timestamp, User};
use crate::request::{Headers, HttpRequest, ReadSettings, RequestView};

const DAY: i64 = 86_400_000;

fn now() -> Timestamp {
    Timestamp::parse("2026-11-24T12:00:00Z").unwrap()
}

fn by() -> ChangedBy {
    ChangedBy { name: "operator".to_owned(), key: None }
}

fn wanted(team_id: Option<&str>) -> NewSession {
    NewSession { user_id: "ada".into(), team_id: team_id.map(Arc::from), ttl: None }
}

/// A replica of its own on the directory of a folder.
struct Replica {
    config: Config,
    directory: Arc<Directory>,
    sessions: Sessions,
    tokens: SessionTokens,
    settings: ReadSettings,
}

impl Replica {
    async fn on(folder: &tempfile::TempDir) -> Replica {
        let file = folder.path().join("directory.db");
        let text = format!("directory: {{url: 'sqlite://{}'}}", file.display());
        let env = |name: &str| (name == "TOLLWARD_MASTER_KEY").then(|| "sk-an-example-key".to_owned());
        let (config, _) = Config::parse(&text, "t.yaml", &env).unwrap();
        let directory = Directory::open(&config).await.unwrap();
        Replica {
            sessions: Sessions::new(&config.identity.session, Arc::clone(directory.store())),
            tokens: SessionTokens::new(&config.identity.session, Arc::clone(&directory)),
            settings: ReadSettings::new(&config),
            directory,
            config,
        }
    }

    fn store(&self) -> &SharedStore {
        self.directory.store()
    }

    /// The replica with the user Ada, who is in the team.
    async fn with_ada(folder: &tempfile::TempDir) -> Replica {
        let replica = Replica::on(folder).await;
        let user = User { user_id: "ada".into(), ..User::default() };
        replica.store().put_user(&user, true, audit()).await.unwrap();
        replica.store().put_team(&Team { team_id: "t".into(), ..Team::default() }, true, audit()).await.unwrap();
        let member = json!({"team_id": "t", "user_id": "ada", "role": "user"});
        let member: Member = serde_json::from_value(member).unwrap();
        replica.store().put_member(&member, true, audit()).await.unwrap();
        replica
    }

    async fn issue(&self, team_id: Option<&str>, now: Timestamp) -> Secret {
        self.sessions.issue(&wanted(team_id), &by(), now).await.unwrap().token
    }

    /// Whom the token stands for, or the reason why for nobody.
    async fn judge(&self, token: &str, now: Timestamp) -> Result<Arc<Assertion>, (u16, String)> {
        let shown = format!("Bearer {token}");
        self.judge_request("POST", &[("authorization", &shown)], now).await
    }

    async fn judge_request(
        &self,
        method: &str,
        headers: &[(&str, &str)],
        now: Timestamp,
    ) -> Result<Arc<Assertion>, (u16, String)> {
        let http = HttpRequest {
            method,
            path: "/v1/models",
            headers: Headers(headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()),
            body: None,
            source: None,
            source_principal: "",
            extensions: Vec::new(),
            gateway: "127.0.0.1".parse().unwrap(),
        };
        let view = RequestView::read(&http, &self.settings).unwrap();
        let ask = Ask { view: &view, now };
        if !self.tokens.knows(&ask) {
            return Err((0, "not known".to_owned()));
        }
        match self.tokens.authenticate(&ask, &mut Trace::off()).await {
            Ok(Identified::Assertion(assertion)) => Ok(assertion),
            Ok(Identified::Caller(_)) => panic!("the directory resolves it"),
            Err(denial) => Err((denial.status, denial.reason.into_owned())),
        }
    }

    async fn reason(&self, token: &str, now: Timestamp) -> String {
        let (status, reason) = self.judge(token, now).await.expect_err("it is refused");
        assert!(matches!(status, 401 | 0), "{status} {reason}");
        reason
    }

    async fn keys(&self) -> Vec<SessionKey> {
        self.store().session_keys().await.unwrap()
    }
}

/// A token that says what it is told to, really signed.
fn forge(key: &SessionKey, header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = SigningKey::of(key).ok().unwrap().sign(signed.as_bytes());
    format!("{PREFIX}{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Header and claims of a token.
fn parts(token: &Secret) -> (Value, Value) {
    let mut parts = token.expose().strip_prefix(PREFIX).unwrap().split('.');
    let mut next = || serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap()).unwrap();
    (next(), next())
}

#[tokio::test]
async fn an_issued_token_says_who_calls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let token = replica.issue(Some("t"), now()).await;
    for _ in 0..2 {
        let found = replica.judge(token.expose(), now()).await.unwrap();
        assert_eq!(found.method, AuthMethod::Session);
        assert_eq!((found.user_id.as_deref(), &found.teams.one), (Some("ada"), &Some(Named::Id("t".into()))));
        assert_eq!(found.role, crate::authn::RoleClaim::None);
        assert!(found.grant.is_none() && found.key.is_none());
    }
    let (header, claims) = parts(&token);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("EdDSA"), &json!("tollward-session+jwt")));
    let names: Vec<&str> = claims.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names.len(), 7, "{names:?}");
    assert_eq!(
        (&claims["iss"], &claims["aud"], &claims["sub"]),
        (&json!("tollward"), &json!("tollward"), &json!("ada"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 86_400);
    assert_eq!(claims["sid"].as_str().unwrap().len(), 32);
}

#[tokio::test]
async fn what_is_not_exactly_a_token_of_ours_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let token = replica.issue(None, now()).await;
    let (header, claims) = parts(&token);
    let key = &replica.keys().await[0];
    let with = |object: &Value, name: &str, value: Value| {
        let mut object = object.clone();
        object[name] = value;
        object
    };
    let text = token.expose();
    let last = if text.ends_with("AA") { "BA" } else { "AA" };
    let stranger = SessionKey { seed: Secret::new("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="), ..key.clone() };
    let of_another = forge(key, &header, &with(&claims, "sub", json!("bob")));
    for (token, expected) in [
        (text.strip_prefix(PREFIX).unwrap().to_owned(), "not known"),
        (PREFIX.to_owned(), "session.malformed"),
        (format!("{PREFIX}a.b"), "session.malformed"),
        (format!("{PREFIX}{}", "a".repeat(20_000)), "session.malformed"),
        (format!("{text}.x"), "session.malformed"),
        (forge(key, &with(&header, "typ", json!("JWT")), &claims), "session.malformed"),
        (forge(key, &with(&header, "typ", json!("application/tollward-session+jwt")), &claims), "session.malformed"),
        (forge(key, &json!({"alg": "EdDSA", "kid": key.kid}), &claims), "session.malformed"),
        (forge(key, &with(&header, "alg", json!("none")), &claims), "session.malformed"),
        (forge(key, &with(&header, "alg", json!("HS256")), &claims), "session.malformed"),
        (forge(key, &with(&header, "alg", json!("ES256")), &claims), "session.malformed"),
        (forge(key, &with(&header, "kid", json!("../keys")), &claims), "session.unknown_key"),
        (forge(key, &json!({"alg": "EdDSA", "typ": header["typ"]}), &claims), "session.malformed"),
        (forge(&stranger, &header, &claims), "session.signature"),
        (format!("{}{last}", &text[..text.len() - 2]), "session.signature"),
        (forge(key, &header, &with(&claims, "aud", json!("elsewhere"))), "session.audience"),
        (forge(key, &header, &with(&claims, "aud", json!(["tollward"]))), "session.audience"),
        (forge(key, &header, &with(&claims, "iss", json!("https://issuer"))), "session.malformed"),
        (forge(key, &header, &with(&claims, "exp", json!("never"))), "session.malformed"),
        (forge(key, &header, &with(&claims, "exp", json!(i64::MAX))), "session.malformed"),
        (forge(key, &header, &with(&claims, "sid", json!("0".repeat(32)))), "session.unknown"),
        (of_another, "session.unknown"),
        (forge(key, &header, &with(&claims, "team", json!("t"))), "session.unknown"),
    ] {
        let found = replica.reason(&token, now()).await;
        // A last character may hold bits that are no part of the signature, and then it is no spelling of one.
        let fits = found == expected || expected == "session.signature" && found == "session.malformed";
        assert!(fits, "{found} is not {expected}");
    }
    replica.judge(text, now()).await.unwrap();
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let token = replica.issue(None, now()).await;
    let end = now().plus_millis(DAY);
    replica.judge(token.expose(), end.plus_millis(-1)).await.unwrap();
    assert_eq!(replica.reason(token.expose(), end).await, "session.expired", "although it was verified before");
    assert_eq!(Replica::on(&folder).await.reason(token.expose(), end).await, "session.expired");
}

#[tokio::test]
async fn a_session_that_another_replica_revokes_is_over_here() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (Replica::with_ada(&folder).await, Replica::on(&folder).await);
    let stop = CancellationToken::new();
    let watching = tokio::spawn(Arc::clone(&here.directory).watch(stop.clone()));
    let by_id = there.sessions.issue(&wanted(None), &by(), now()).await.unwrap();
    let (by_token, third) = (there.issue(None, now()).await, there.issue(Some("t"), now()).await);
    let tokens = [by_id.token.expose(), by_token.expose(), third.expose()];
    for token in tokens {
        here.judge(token, now()).await.unwrap();
    }
    let is_over = async |token: &str, expected: &str| {
        let asked = async {
            while here.judge(token, now()).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), asked).await.unwrap();
        assert_eq!(here.reason(token, now()).await, expected);
    };
    let revoked = there.sessions.revoke(&by_id.session.sid, &by(), now()).await.unwrap();
    assert_eq!(revoked.revoked_at, Some(now()));
    is_over(tokens[0], "session.revoked").await;
    here.judge(tokens[1], now()).await.unwrap();
    there.sessions.revoke(tokens[1], &by(), now()).await.unwrap();
    is_over(tokens[1], "session.revoked").await;
    assert_eq!(there.sessions.revoke_all("ada", &by(), now()).await.unwrap(), 1);
    is_over(tokens[2], "session.revoked").await;
    let again = there.sessions.revoke(tokens[1], &by(), now().plus_millis(1)).await.unwrap();
    assert_eq!(again.revoked_at, Some(now()), "what is revoked stays as it is");
    let unknown = there.sessions.revoke("unknown", &by(), now()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "session \"unknown\" does not exist");
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn a_session_goes_with_its_user_and_with_the_membership() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let (of_team, own) = (replica.issue(Some("t"), now()).await, replica.issue(None, now()).await);
    replica.judge(of_team.expose(), now()).await.unwrap();
    replica.store().delete_member("t", "ada", audit()).await.unwrap();
    assert_eq!(replica.reason(of_team.expose(), now()).await, "session.team");
    replica.judge(own.expose(), now()).await.unwrap();
    replica.store().delete_user("ada", audit()).await.unwrap();
    assert_eq!(replica.reason(own.expose(), now()).await, "session.unknown");
    let again = User { user_id: "ada".into(), ..User::default() };
    replica.store().put_user(&again, true, audit()).await.unwrap();
    assert_eq!(replica.reason(own.expose(), now()).await, "session.unknown", "another user of the same name");
}

#[tokio::test]
async fn each_period_has_a_key_and_an_older_one_verifies_what_it_signed() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let every = replica.config.identity.session.rotate_every.as_duration();
    // The last hour of a period.
    let before = super::keys::period_start(now(), every).plus_millis(7 * DAY - DAY / 24);
    let after = before.plus_millis(DAY / 12);
    let old = replica.issue(None, before).await;
    assert_eq!(replica.keys().await.len(), 1);
    replica.issue(None, before.plus_millis(1)).await;
    assert_eq!(replica.keys().await.len(), 1, "one key for a period");
    let new = replica.issue(None, after).await;
    assert_eq!(replica.keys().await.len(), 2);
    assert_ne!(parts(&old).0["kid"], parts(&new).0["kid"]);
    for token in [&old, &new] {
        replica.judge(token.expose(), after).await.unwrap();
    }
    let end = before.plus_millis(DAY);
    replica.sessions.sweep(end.plus_millis(-1)).await.unwrap();
    let other = Replica::on(&folder).await;
    other.judge(old.expose(), end.plus_millis(-1)).await.unwrap();
    replica.sessions.sweep(end.plus_millis(1)).await.unwrap();
    assert_eq!(replica.keys().await.len(), 1, "the old key went with the last of its sessions");
    other.judge(new.expose(), end).await.unwrap();
}

#[tokio::test]
async fn replicas_that_rotate_at_once_share_one_key() {
    let folder = tempfile::tempdir().unwrap();
    let first = Replica::with_ada(&folder).await;
    let second = Replica::on(&folder).await;
    let issue = |replica: &Replica| {
        let sessions = replica.sessions.clone();
        tokio::spawn(async move { sessions.issue(&wanted(None), &by(), now()).await.unwrap().token })
    };
    let issuing: Vec<_> = (0..8).map(|turn| issue(if turn % 2 == 0 { &first } else { &second })).collect();
    for issued in issuing {
        let token = issued.await.unwrap();
        for replica in [&first, &second] {
            replica.judge(token.expose(), now()).await.unwrap();
        }
    }
    assert_eq!(first.keys().await.len(), 1);
}

#[tokio::test]
async fn a_session_is_issued_only_as_far_as_it_can_be_good() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let gone = User { user_id: "gone".into(), metadata: object(&json!({"scim_active": false})), ..User::default() };
    replica.store().put_user(&gone, true, audit()).await.unwrap();
    let of = |user_id: &str, team_id: Option<&str>, ttl: Option<u64>| NewSession {
        user_id: user_id.into(),
        team_id: team_id.map(Arc::from),
        ttl: ttl.map(Duration::from_secs),
    };
    for (wanted, expected) in [
        (of("nobody", None, None), "user \"nobody\" does not exist"),
        (of("gone", None, None), "user \"gone\" is deactivated"),
        (of("ada", Some("other"), None), "the user is not in team \"other\""),
        (of("ada", None, Some(0)), "a session lives at least a second"),
        (of("ada", None, Some(86_401)), "a session lives at least a second, and at most as long"),
    ] {
        let error = replica.sessions.issue(&wanted, &by(), now()).await.unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let off = config::Session { enabled: false, ..config::Session::default() };
    let off = Sessions::new(&off, Arc::clone(replica.store()));
    assert!(matches!(off.issue(&of("ada", None, None), &by(), now()).await, Err(SessionError::Disabled)));
    assert_eq!(replica.keys().await.len(), 0);
    let short = replica.sessions.issue(&of("ada", None, Some(60)), &by(), now()).await.unwrap();
    assert_eq!(replica.reason(short.token.expose(), now().plus_millis(60_000)).await, "session.expired");
}

fn object(value: &Value) -> serde_json::Map<String, Value> {
    value.as_object().cloned().unwrap()
}

#[tokio::test]
async fn a_cookie_is_taken_where_nothing_else_is_shown_and_only_from_own_pages() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let token = replica.issue(None, now()).await;
    let cookie = format!("a=1; tollward_session={}; b=2", token.expose());
    let site = |site: &'static str| ("sec-fetch-site", site);
    replica.judge_request("GET", &[("cookie", &cookie)], now()).await.unwrap();
    replica.judge_request("POST", &[("cookie", &cookie), site("same-origin")], now()).await.unwrap();
    for headers in [vec![("cookie", &*cookie)], vec![("cookie", &*cookie), site("cross-site")]] {
        let (status, reason) = replica.judge_request("POST", &headers, now()).await.unwrap_err();
        assert_eq!((status, &*reason), (403, "session.cross_site"));
    }
    let shown = [("cookie", &*cookie), ("x-api-key", "sk-another")];
    assert_eq!(replica.judge_request("GET", &shown, now()).await.unwrap_err().1, "not known");
    let twice = format!("{cookie}; tollward_session={}", token.expose());
    assert_eq!(replica.judge_request("GET", &[("cookie", &twice)], now()).await.unwrap_err().1, "not known");
}

#[tokio::test]
async fn the_audit_log_names_what_was_done_and_holds_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let replica = Replica::with_ada(&folder).await;
    let token = replica.issue(None, now()).await;
    replica.sessions.revoke(token.expose(), &by(), now()).await.unwrap();
    replica.issue(None, now()).await;
    replica.sessions.revoke_all("ada", &by(), now()).await.unwrap();
    let database = rusqlite::Connection::open(folder.path().join("directory.db")).unwrap();
    let text = "SELECT table_name || ' ' || action || ' by ' || changed_by, \
                COALESCE(before_value, '') || COALESCE(updated_values, '') FROM audit_log \
                WHERE table_name LIKE 'session%' ORDER BY rowid";
    let mut statement = database.prepare(text).unwrap();
    let lines = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let (lines, values): (Vec<String>, Vec<String>) = lines.map(Result::unwrap).unzip();
    let expected = [
        "session_keys created by operator",
        "sessions created by operator",
        "sessions revoked by operator",
        "sessions created by operator",
        "sessions revoked by operator",
    ];
    assert_eq!(lines, expected);
    let key = &replica.keys().await[0];
    let values = values.concat();
    assert!(values.contains("ada") && values.contains(&*key.kid));
    assert!(!values.contains(key.seed.expose()) && !values.contains("seed") && !values.contains(PREFIX));
}
