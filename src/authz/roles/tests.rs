use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::Config;
use crate::domain::{Grant, Identity, Key, KeyHash, KeyType, Timestamp, User};

fn caller(role: Role, change: impl FnOnce(&mut Key)) -> Caller {
    let mut key = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
    key.user_id = Some("me".into());
    change(&mut key);
    let user = User { user_id: "me".into(), admin_of: vec!["org-1".into(), "org-2".into()], ..User::default() };
    let identity = Identity { key: Some(key), user: Some(Arc::new(user)), ..Identity::default() };
    Caller::new(AuthMethod::VirtualKey, role, Arc::new(identity))
}

fn ask<'a>(method: &'a str, path: &'a str) -> RouteAsk<'a> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    RouteAsk { method, path, query, api: Api::NotModel, organizations: &[] }
}

fn may(caller: &Caller, method: &str, path: &str) -> bool {
    route_access(caller, &ask(method, path), &Routes::default()).is_ok()
}

#[test]
fn each_role_has_its_part_of_the_routes() {
    use Role::{Customer, InternalUser, InternalUserViewer, ProxyAdmin, ProxyAdminViewer, Team};
    for (role, method, path, expected) in [
        (ProxyAdmin, "POST", "/config/update", true),
        (ProxyAdmin, "POST", "/user/new", true),
        (InternalUser, "POST", "/chat/completions", true),
        (InternalUser, "POST", "/v1/embeddings", true),
        (InternalUser, "GET", "/v1/models", true),
        (InternalUser, "POST", "/v1/messages", true),
        (InternalUser, "GET", "/key/info", true),
        (InternalUser, "GET", "/health", true),
        (InternalUser, "POST", "/key/generate", true),
        (InternalUser, "POST", "/model/new", true),
        (InternalUser, "POST", "/team/member_add", true),
        (InternalUser, "POST", "/user/new", false),
        (InternalUser, "POST", "/user/delete", false),
        (InternalUser, "POST", "/team/new", false),
        (InternalUser, "POST", "/team/delete", false),
        (InternalUser, "POST", "/config/update", false),
        (InternalUser, "GET", "/global/spend", false),
        (InternalUser, "GET", "/no/such/route", false),
        (ProxyAdminViewer, "GET", "/user/list", true),
        (ProxyAdminViewer, "GET", "/user/info", true),
        (ProxyAdminViewer, "GET", "/team/info", true),
        (ProxyAdminViewer, "GET", "/global/spend", true),
        (ProxyAdminViewer, "POST", "/user/password", true),
        (ProxyAdminViewer, "POST", "/key/generate", false),
        (ProxyAdminViewer, "POST", "/user/new", false),
        (ProxyAdminViewer, "POST", "/team/delete", false),
        (ProxyAdminViewer, "POST", "/team/member_add", false),
        (ProxyAdminViewer, "POST", "/config/update", false),
        (ProxyAdminViewer, "POST", "/v1/chat/completions", true),
        (InternalUserViewer, "GET", "/spend/keys", true),
        (InternalUserViewer, "POST", "/key/generate", false),
        (InternalUserViewer, "POST", "/user/new", false),
        (InternalUserViewer, "POST", "/v1/chat/completions", true),
        (Team, "POST", "/v1/chat/completions", true),
        (Team, "GET", "/key/info", true),
        (Team, "POST", "/key/generate", false),
        (Customer, "POST", "/v1/chat/completions", true),
        (Customer, "POST", "/key/generate", false),
    ] {
        assert_eq!(may(&caller(role, |_| ()), method, path), expected, "{role:?} {method} {path}");
    }
}

#[test]
fn a_key_without_a_user_calls_models_and_looks_at_itself() {
    let mut identity = (*caller(Role::InternalUser, |key| key.user_id = None).identity).clone();
    identity.user = None;
    let nobodys = Caller::new(AuthMethod::VirtualKey, Role::InternalUser, Arc::new(identity));
    for (method, path, expected) in [
        ("POST", "/v1/chat/completions", true),
        ("GET", "/key/info", true),
        ("GET", "/health", true),
        ("POST", "/key/generate", false),
        ("POST", "/team/new", false),
        ("POST", "/budget/new", false),
        ("GET", "/audit", false),
        ("GET", "/utils/supported_openai_params", false),
    ] {
        assert_eq!(may(&nobodys, method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_refusal_names_the_route_and_the_role_and_is_403() {
    let denial = route_access(&caller(Role::InternalUser, |_| ()), &ask("POST", "/config/update"), &Routes::default())
        .unwrap_err();
    assert_eq!((denial.status, denial.kind), (403, ErrorType::RouteAccessDenied));
    assert!(
        denial.message.contains("/config/update") && denial.message.contains("internal_user"),
        "{}",
        denial.message
    );
}

#[test]
fn the_route_of_a_model_is_open_whatever_its_path() {
    let ask = RouteAsk { api: Api::OpenAiChat, ..ask("POST", "/tenant-a/v1/chat/completions") };
    assert!(route_access(&caller(Role::InternalUser, |_| ()), &ask, &Routes::default()).is_ok());
}

#[test]
fn a_key_confined_to_routes_is_confined_whatever_its_role() {
    for role in Role::ALL {
        let confined = caller(role, |key| key.key_type = KeyType::LlmApi);
        assert!(may(&confined, "POST", "/v1/chat/completions"), "{role:?}");
        assert!(!may(&confined, "POST", "/key/generate"), "{role:?}");
    }
}

#[test]
fn a_route_the_key_names_is_open_to_a_plain_user_but_a_group_is_not_a_grant() {
    let named = caller(Role::InternalUser, |key| key.allowed_routes = vec!["/user/new".to_owned()]);
    assert!(may(&named, "POST", "/user/new"));
    let group = caller(Role::InternalUser, |key| key.allowed_routes = vec!["management_routes".to_owned()]);
    assert!(!may(&group, "POST", "/user/new"));
    assert!(may(&group, "POST", "/key/generate"));
}

#[test]
fn admin_only_routes_are_closed_to_all_but_administrators() {
    let mut config = Config::default();
    config.general_settings.admin_only_routes = vec!["/v1/embeddings".to_owned()];
    let routes = Routes::new(&config);
    let denial =
        route_access(&caller(Role::InternalUser, |_| ()), &ask("POST", "/v1/embeddings"), &routes).unwrap_err();
    assert_eq!((denial.status, denial.reason.as_ref()), (403, "route.admin_only"));
    assert!(route_access(&caller(Role::ProxyAdmin, |_| ()), &ask("POST", "/v1/embeddings"), &routes).is_ok());
    assert!(route_access(&caller(Role::InternalUser, |_| ()), &ask("POST", "/embeddings"), &routes).is_ok());
}

#[test]
fn some_routes_need_the_master_key_itself() {
    let admin = caller(Role::ProxyAdmin, |_| ());
    assert!(!may(&admin, "POST", "/global/spend/reset"));
    let master = Caller { method: AuthMethod::MasterKey, identity: Arc::default(), ..admin };
    assert!(may(&master, "POST", "/global/spend/reset"));
}

#[test]
fn a_caller_that_is_not_checked_calls_any_model_and_manages_by_its_role() {
    let grant = Grant { is_unchecked: true, ..Grant::default() };
    let caller = Caller { grant: Some(Arc::new(grant)), ..caller(Role::InternalUser, |_| ()) };
    let model = RouteAsk { api: Api::Unmeterable, ..ask("POST", "/no/such/route") };
    assert!(route_access(&caller, &model, &Routes::default()).is_ok());
    for path in ["/team/new", "/user/delete", "/config/update", "/global/spend/reset"] {
        assert!(!may(&caller, "POST", path), "{path}");
    }
}

#[test]
fn user_info_tells_of_oneself_only() {
    for (role, query, expected) in [
        (Role::InternalUser, "", true),
        (Role::InternalUser, "?user_id=me", true),
        (Role::InternalUser, "?user_id=%6De", true),
        (Role::InternalUser, "?user_id=other", false),
        (Role::InternalUser, "?user_id=me&user_id=other", false),
        (Role::InternalUser, "?user%5Fid=other", false),
        (Role::ProxyAdminViewer, "?user_id=other", true),
    ] {
        let path = format!("/user/info{query}");
        assert_eq!(may(&caller(role, |_| ()), "GET", &path), expected, "{role:?} {path}");
    }
}

#[test]
fn global_spend_opens_to_a_key_with_the_permission() {
    let permitted = caller(Role::InternalUser, |key| {
        key.permissions.insert("get_spend_routes".to_owned(), json!(true));
    });
    assert!(may(&permitted, "GET", "/global/spend/keys"));
    assert!(!may(&permitted, "POST", "/user/new"));
}

#[test]
fn an_organizations_administrator_manages_that_organization_only() {
    let user = caller(Role::InternalUser, |_| ());
    for (organizations, expected) in
        [(&["org-1"][..], true), (&["org-1", "org-2"], true), (&["org-1", "org-3"], false), (&[], false)]
    {
        let ask = RouteAsk { organizations, ..ask("POST", "/team/new") };
        assert_eq!(route_access(&user, &ask, &Routes::default()).is_ok(), expected, "{organizations:?}");
    }
    let elsewhere = RouteAsk { organizations: &["org-1"], ..ask("POST", "/config/update") };
    assert!(route_access(&user, &elsewhere, &Routes::default()).is_err());
}

#[test]
fn nobody_in_particular_reaches_public_routes_only() {
    let mut config = Config::default();
    config.general_settings.public_routes = vec!["/open/*".to_owned()];
    config.general_settings.pass_through_endpoints =
        serde_json::from_value(json!([{"path": "/weather", "auth": false}, {"path": "/maps"}])).unwrap();
    let routes = Routes::new(&config);
    let nobody = Caller::new(AuthMethod::Public, Role::InternalUserViewer, Arc::default());
    for (path, expected) in [("/open/x", true), ("/weather", true), ("/maps", false), ("/v1/models", false)] {
        assert_eq!(route_access(&nobody, &ask("GET", path), &routes).is_ok(), expected, "{path}");
    }
    let member = caller(Role::InternalUser, |_| ());
    assert_eq!(route_access(&member, &ask("GET", "/maps"), &routes).unwrap_err().reason, "route.pass_through");
    let granted = caller(Role::InternalUser, |key| {
        key.metadata.insert("allowed_passthrough_routes".to_owned(), json!(["/maps"]));
    });
    assert!(route_access(&granted, &ask("GET", "/maps"), &routes).is_ok());
}
