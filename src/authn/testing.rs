//! A directory with a few people, and requests of theirs, for tests of authenticators.

use std::sync::Arc;

use tempfile::TempDir;

use super::{Ask, Authenticator, Authenticators, Resolver, VirtualKeys};
use crate::authz::models::Catalog;
use crate::config::Config;
use crate::directory::Directory;
use crate::directory::testing::audit;
use crate::domain::{
    Caller, Denial, Key, KeyHash, Limits, Member, Money, Role, Secret, Step, Team, TeamRole, Timestamp, Trace, User,
};
use crate::request::{Headers, HttpRequest, ReadSettings, RequestView};

/// The key of ada.
pub(crate) const KEY: &str = "sk-of-ada-0123456789";

/// Ada (address `ada@example.com`, 100 dollars) and bob (50 dollars, a viewer) belong to the team `t` (alias `Team T`),
/// ada with a budget of 10 dollars there; ada has a key.
pub(crate) struct House {
    pub(crate) directory: Arc<Directory>,
    config: Config,
    _folder: TempDir,
}

impl House {
    pub(crate) async fn of(config: Config) -> House {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config;
        config.directory.url = Some(Secret::new(format!("sqlite://{}", folder.path().join("a.db").display())));
        let directory = Directory::open(&config).await.unwrap();
        let store = directory.store();
        let dollars = |dollars: f64| Limits { max_budget: Money::from_dollars(dollars), ..Limits::default() };
        for (id, budget, role) in [("ada", 100.0, None), ("bob", 50.0, Some(Role::InternalUserViewer))] {
            let user = User {
                user_id: id.into(),
                user_email: Some(format!("{id}@example.com").into()),
                user_role: role,
                limits: dollars(budget),
                ..User::default()
            };
            store.put_user(&user, true, audit()).await.unwrap();
        }
        let team = Team { team_id: "t".into(), team_alias: Some("Team T".into()), ..Team::default() };
        store.put_team(&team, true, audit()).await.unwrap();
        let member = Member {
            team_id: "t".into(),
            user_id: "ada".into(),
            user_email: None,
            role: TeamRole::User,
            budget_id: None,
            allowed_models: Vec::new(),
            limits: dollars(10.0),
            spend: Money::ZERO,
        };
        store.put_member(&member, true, audit()).await.unwrap();
        let mut key = Key::new(KeyHash::of(KEY), Timestamp::millis(0));
        key.user_id = Some("ada".into());
        store.create_key(&key, audit()).await.unwrap();
        House { directory, config, _folder: folder }
    }

    /// The caller of a request, with the steps that led there.
    pub(crate) async fn ask(
        &self,
        around: Vec<Box<dyn Authenticator>>,
        http: &HttpRequest<'_>,
    ) -> (Result<Caller, Denial>, Vec<Step>) {
        let catalog = Arc::new(Catalog::new(&self.config, Arc::new(|_: &str| None)));
        let authenticators = Authenticators {
            master: None,
            custom: None,
            shown: vec![Box::new(VirtualKeys::new(Arc::clone(&self.directory)))],
            around,
            resolver: Resolver::new(&self.config, Arc::clone(&self.directory), catalog),
        };
        let view = RequestView::read(http, &ReadSettings::new(&self.config)).unwrap();
        let mut trace = Trace::on();
        let found = authenticators.authenticate(&Ask { view: &view, now: Timestamp::now() }, &mut trace).await;
        (found, trace.into_steps())
    }
}

/// A chat of this peer with these headers.
pub(crate) fn chat<'a>(peer: &str, principal: &'a str, headers: &[(&'a str, &'a [u8])]) -> HttpRequest<'a> {
    HttpRequest {
        method: "POST",
        path: "/v1/chat/completions",
        headers: Headers(headers.to_vec()),
        body: None,
        source: peer.parse().ok(),
        source_principal: principal,
        extensions: Vec::new(),
        gateway: "127.0.0.1".parse().unwrap(),
    }
}

/// What the budget is that binds the user, by the directory and the grant; in dollars.
pub(crate) fn user_budget(caller: &Caller) -> Option<f64> {
    caller.identity.user.as_ref()?.limits.max_budget.map(Money::dollars)
}
