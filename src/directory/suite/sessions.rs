//! What every store does with sessions and the keys that sign them.

use super::samples::{now, user};
use super::{DirectoryError, Store, audit};
use crate::domain::{Secret, SessionKey, Timestamp, UserSession};

const HOUR: i64 = 3_600_000;

fn at(hours: i64) -> Timestamp {
    now().plus_millis(hours * HOUR)
}

fn key(kid: &str, hours: i64) -> SessionKey {
    SessionKey { kid: kid.into(), period_start: at(hours), seed: Secret::new("c2VlZA=="), created_at: now() }
}

/// A session that begins now.
fn session(sid: &str, user_id: &str, kid: &str, hours: i64) -> UserSession {
    UserSession {
        sid: sid.into(),
        user_id: user_id.into(),
        team_id: None,
        kid: kid.into(),
        issued_at: now(),
        expires_at: at(hours),
        revoked_at: None,
    }
}

async fn put_users_and_keys(store: &dyn Store) {
    for user_id in ["ada", "bob"] {
        store.put_user(&user(user_id), true, audit()).await.unwrap();
    }
    for (kid, hours) in [("old", -2), ("new", 0)] {
        store.put_session_key(&key(kid, hours), audit()).await.unwrap();
    }
}

async fn kids(store: &dyn Store) -> Vec<String> {
    store.session_keys().await.unwrap().iter().map(|key| key.kid.to_string()).collect()
}

async fn sids(store: &dyn Store, user_id: &str) -> Vec<String> {
    let sessions = store.sessions_of_user(user_id).await.unwrap();
    sessions.iter().map(|session| session.sid.to_string()).collect()
}

pub(super) async fn a_session_comes_back_until_it_is_swept(store: &dyn Store) {
    put_users_and_keys(store).await;
    let one = UserSession { team_id: Some("t".into()), ..session("1", "ada", "new", 1) };
    let two = UserSession { issued_at: now().plus_millis(1), ..session("2", "ada", "new", 3) };
    for session in [&one, &two, &session("3", "bob", "new", 3)] {
        store.put_session(session, true, audit()).await.unwrap();
    }
    assert_eq!(store.session("1").await.unwrap().as_ref(), Some(&one));
    assert_eq!(store.session("4").await.unwrap(), None);
    assert_eq!(sids(store, "ada").await, ["2", "1"], "the newest first");
    let again = store.put_session(&one, true, audit()).await;
    assert!(matches!(again, Err(DirectoryError::Exists { .. })), "{again:?}");

    let revoked = UserSession { revoked_at: Some(now()), ..one.clone() };
    store.put_session(&revoked, false, audit()).await.unwrap();
    assert_eq!(store.session("1").await.unwrap(), Some(revoked.clone()));
    assert_eq!(store.revoke_sessions_of_user("ada", audit()).await.unwrap(), 1, "the one that lives");
    assert_eq!(store.revoke_sessions_of_user("ada", audit()).await.unwrap(), 0);
    let found = store.session("2").await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(audit().at));
    assert_eq!(store.session("3").await.unwrap().unwrap().revoked_at, None, "another's stays");

    // The key of the period before has no sessions.
    assert_eq!(store.sweep_sessions(at(1), at(0)).await.unwrap(), 2);
    assert_eq!((sids(store, "ada").await, kids(store).await), (vec!["2".to_owned()], vec!["new".to_owned()]));
}

pub(super) async fn sessions_end_with_their_user_and_with_their_key(store: &dyn Store) {
    put_users_and_keys(store).await;
    store.put_session(&session("1", "ada", "old", 1), true, audit()).await.unwrap();
    store.put_session(&session("2", "bob", "new", 1), true, audit()).await.unwrap();
    for orphan in [session("3", "nobody", "new", 1), session("3", "bob", "unknown", 1)] {
        assert!(store.put_session(&orphan, true, audit()).await.is_err(), "{orphan:?}");
    }
    store.delete_user("ada", audit()).await.unwrap();
    assert_eq!(store.session("1").await.unwrap(), None);
    assert!(store.session("2").await.unwrap().is_some());
}

pub(super) async fn a_period_has_one_key_and_keeps_it_while_a_session_needs_it(store: &dyn Store) {
    put_users_and_keys(store).await;
    assert_eq!(kids(store).await, ["new", "old"], "the newest first");
    let found = store.session_keys().await.unwrap();
    assert_eq!((found[0].period_start, found[0].seed.expose()), (at(0), "c2VlZA=="));
    for taken in [key("other", 0), key("new", 1)] {
        let put = store.put_session_key(&taken, audit()).await;
        assert!(matches!(put, Err(DirectoryError::Exists { .. })), "{put:?}");
    }
    store.put_session(&session("1", "ada", "old", 1), true, audit()).await.unwrap();
    assert_eq!(store.sweep_sessions(now(), at(0)).await.unwrap(), 0, "it verifies what it has signed");
    assert_eq!(store.sweep_sessions(at(1), at(-2)).await.unwrap(), 1, "the session; the keys are of this period");
    assert_eq!(store.sweep_sessions(at(1), at(0)).await.unwrap(), 1);
    assert_eq!(kids(store).await, ["new"]);
}
