//! The operations over a real directory in a folder of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::directory::KeyFilter;
use crate::directory::faulty::FaultyStore;
use crate::directory::testing::TempStore;
use crate::domain::{AuthMethod, Caller, Identity, KeyHash};

pub(super) const NOW: Timestamp = Timestamp::millis(1_795_000_000_000);

/// Remembers what was adjusted; fails on demand.
#[derive(Default)]
pub(crate) struct Adjusted {
    pub done: Mutex<Vec<(String, Money)>>,
    pub fails: AtomicBool,
}

#[async_trait]
impl SpendAdjuster for Adjusted {
    async fn adjust(&self, scope: Scope, to: Money) -> std::result::Result<(), DirectoryError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(DirectoryError::Unavailable("the spool is gone".into()));
        }
        self.done.lock().push((scope.to_string(), to));
        Ok(())
    }
}

pub(super) struct House {
    pub store: Arc<FaultyStore>,
    pub adjusted: Arc<Adjusted>,
    pub manager: Manager,
    temp: TempStore,
}

impl House {
    pub async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub async fn with(config: Config) -> Self {
        let (temp, adjusted) = (TempStore::sqlite().await, Arc::new(Adjusted::default()));
        let store = FaultyStore::over(temp.store.clone());
        let manager = Manager::new(store.clone(), Arc::new(config), adjusted.clone(), NOW);
        House { store, adjusted, manager, temp }
    }

    /// The operations of somebody else on the same directory.
    pub fn others(&self) -> Manager {
        Manager { store: self.temp.store.clone(), ..self.manager.clone() }
    }

    pub async fn generate(&self, actor: &Actor, params: Value) -> Result<Value> {
        Ok(self.manager.generate_key(actor, object(params)).await?.reveal())
    }

    pub async fn team(&self, params: Value) {
        self.manager.create_team(&Actor::operator(), object(params)).await.unwrap();
    }

    /// Makes a user with a role and answers it as an actor with a key of its own.
    pub async fn user(&self, id: &str, params: Value) -> Actor {
        let mut all = object(params);
        all.insert("user_id".into(), json!(id));
        self.manager.create_user(&Actor::operator(), all).await.unwrap();
        self.actor(id).await
    }

    /// The actor as the directory knows it now.
    pub async fn actor(&self, id: &str) -> Actor {
        let user = self.temp.store.user(id).await.unwrap().unwrap();
        let key = self.keys(KeyFilter { user_id: Some(id.to_owned()), ..KeyFilter::default() }).await.pop();
        let role = user.user_role.unwrap_or_default();
        let identity = Arc::new(Identity { key, user: Some(Arc::new(user)), ..Identity::default() });
        Actor::new(Caller::new(AuthMethod::VirtualKey, role, identity), None)
    }

    pub async fn keys(&self, filter: KeyFilter) -> Vec<crate::domain::Key> {
        self.temp.store.list_keys(&KeyFilter { limit: 100, ..filter }).await.unwrap().rows
    }

    pub async fn count_keys(&self) -> usize {
        self.keys(KeyFilter::default()).await.len()
    }

    pub async fn key(&self, answer: &Value) -> crate::domain::Key {
        let hash = KeyHash::of(answer["key"].as_str().unwrap());
        self.temp.store.key(&hash).await.unwrap().unwrap()
    }

    /// Every line of the audit log, oldest first: action, table, actor, and the row before and after.
    pub fn audit(&self) -> Vec<[String; 4]> {
        let connection = rusqlite::Connection::open(self.temp.folder.path().join("directory.db")).unwrap();
        let mut statement = connection
            .prepare(
                "SELECT action, table_name, changed_by, COALESCE(before_value, '') || COALESCE(updated_values, '') \
                 FROM audit_log ORDER BY rowid",
            )
            .unwrap();
        let lines = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?])).unwrap();
        lines.map(|line| line.unwrap()).collect()
    }
}

#[allow(clippy::needless_pass_by_value)]
pub(super) fn object(value: Value) -> Params {
    match value {
        Value::Object(fields) => fields,
        other => panic!("not an object: {other}"),
    }
}

pub(super) fn admin() -> Actor {
    Actor::operator()
}

pub(super) fn admin_static() -> &'static Actor {
    static ADMIN: std::sync::LazyLock<Actor> = std::sync::LazyLock::new(Actor::operator);
    &ADMIN
}

/// Somebody who has this role and nothing else.
pub(super) fn with_role(role: Role) -> Actor {
    Actor::new(Caller::new(AuthMethod::VirtualKey, role, Arc::new(Identity::default())), None)
}

pub(super) fn refused<T>(result: Result<T>) -> (u16, Option<String>) {
    let error = result.err().expect("refused");
    (error.status, error.param.map(|param| param.into_owned()))
}
