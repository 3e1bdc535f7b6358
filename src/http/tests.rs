//! The router over a directory of its own and a gate that knows two callers.

use axum::body::{Body, to_bytes};
use http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::directory::testing::TempStore;
use crate::domain::{AuthMethod, ErrorType, Identity, Role};
use crate::manage::tests::house::Adjusted;

/// Lets `admin` in as an admin and `panic` as one that breaks; refuses all else.
struct Gate;

#[async_trait]
impl Authorize for Gate {
    async fn authorize(&self, request: &HttpRequest<'_>) -> Result<Caller, Denial> {
        assert!(request.body.is_none(), "the gate never sees the body");
        match request.headers.text("authorization") {
            Some("Bearer admin") => {
                let identity = Arc::new(Identity::default());
                Ok(Caller::new(AuthMethod::MasterKey, Role::ProxyAdmin, identity))
            }
            Some("Bearer panic") => panic!("a handler that breaks"),
            Some("Bearer busy") => {
                let mut denial = Denial::new(ErrorType::RateLimit, "rate_limit", "too many");
                denial.retry_after = Some(Duration::from_millis(1_200));
                denial.should_retry = Some(true);
                denial.headers.push(("x-ratelimit-limit-requests".into(), "3".into()));
                Err(denial)
            }
            _ => Err(Denial::new(ErrorType::AuthError, "no_credential", "no key")),
        }
    }
}

async fn api() -> (Router, TempStore) {
    let temp = TempStore::sqlite().await;
    let api = router(HttpState {
        authorize: Arc::new(Gate),
        store: temp.store.clone(),
        config: Arc::new(ArcSwap::from_pointee(Config::default())),
        adjuster: Arc::new(Adjusted::default()),
        now: || Timestamp::millis(1_795_000_000_000),
    });
    (api, temp)
}

async fn send(api: &Router, key: &str, method: &str, path: &str, body: impl Into<Body>) -> Response<Body> {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
    api.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap()
}

async fn json_of(response: Response<Body>) -> (u16, Value) {
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn call(api: &Router, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    json_of(send(api, "admin", method, path, body).await).await
}

#[tokio::test]
async fn a_key_lives_from_generate_to_delete() {
    let (api, _temp) = api().await;
    let (status, made) = call(&api, "POST", "/key/generate", json!({"key_alias": "a", "max_budget": 2})).await;
    assert_eq!(status, 200, "{made}");
    let key = made["key"].as_str().unwrap();
    let (_, info) = call(&api, "GET", &format!("/key/info?key={key}"), Value::Null).await;
    assert_eq!(info["info"]["max_budget"], json!(2.0));
    let (_, info) = call(&api, "POST", "/key/info", json!({"key": "a"})).await;
    assert_eq!(info["key"], json!("a"));
    assert_eq!(call(&api, "POST", "/key/update", json!({"key": key, "rpm_limit": 3})).await.1["rpm_limit"], json!(3));
    assert_eq!(call(&api, "POST", "/key/block", json!({"key": key})).await.1["blocked"], json!(true));
    assert_eq!(call(&api, "POST", "/key/unblock", json!({"key": key})).await.1["blocked"], json!(false));
    let (status, new) = call(&api, "POST", &format!("/key/{key}/regenerate"), Value::Null).await;
    assert_eq!(status, 200, "{new}");
    let (_, list) = call(&api, "GET", "/key/list?page=1&size=3&return_full_object=true", Value::Null).await;
    assert_eq!((&list["total_count"], &list["keys"][0]["token"]), (&json!(1), &new["token"]));
    let (_, deleted) = call(&api, "POST", "/key/delete", json!({"keys": [new["key"]]})).await;
    assert_eq!(deleted, json!({"deleted_keys": [new["key"]]}));
    let (status, error) = call(&api, "GET", "/key/info?key=a", Value::Null).await;
    assert_eq!(
        (status, &error["error"]["type"], &error["error"]["param"]),
        (404, &json!("not_found_error"), &json!("key"))
    );
}

#[tokio::test]
async fn teams_and_users_have_the_shapes_clients_read() {
    let (api, _temp) = api().await;
    let (status, user) = call(&api, "POST", "/user/new", json!({"user_id": "u", "user_email": "u@x"})).await;
    assert_eq!((status, &user["user_id"]), (200, &json!("u")));
    assert!(user["key"].as_str().unwrap().starts_with("sk-"), "{user}");
    let made = json!({"team_id": "t", "members_with_roles": [{"user_id": "u", "role": "admin"}]});
    let (_, team) = call(&api, "POST", "/team/new", made).await;
    assert_eq!(team["members_with_roles"], json!([{"user_id": "u", "user_email": "u@x", "role": "admin"}]));
    let (_, team) = call(&api, "GET", "/team/info?team_id=t", Value::Null).await;
    assert_eq!((&team["team_id"], &team["team_memberships"][0]["user_id"]), (&json!("t"), &json!("u")));
    assert!(team["team_info"].is_object() && team["keys"].is_array());
    let (_, info) = call(&api, "GET", "/user/info?user_id=u", Value::Null).await;
    assert_eq!((&info["teams"][0]["team_id"], &info["user_info"]["teams"]), (&json!("t"), &json!(["t"])));
    assert!(info["keys"][0].get("key").is_none(), "no secret after the first answer: {info}");
}

#[tokio::test]
async fn what_the_gate_refuses_is_answered_with_its_headers() {
    let (api, _temp) = api().await;
    let response = send(&api, "busy", "POST", "/key/generate", "{}").await;
    let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("retry-after").as_deref(), Some("2"));
    assert_eq!(header("x-should-retry").as_deref(), Some("true"));
    assert_eq!(header("x-ratelimit-limit-requests").as_deref(), Some("3"));
    assert_eq!(json_of(response).await.1["error"]["code"], json!("429"));
    let response = send(&api, "stranger", "POST", "/key/generate", "not even json").await;
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    assert_eq!(json_of(response).await.0, 401, "a stranger learns nothing about the body");
}

#[tokio::test]
async fn bad_bodies_get_errors_and_never_a_crash() {
    let (api, _temp) = api().await;
    for (body, status) in [
        ("[]".to_owned(), 400),
        ("null".to_owned(), 400),
        ("{".to_owned(), 400),
        ("\u{0}".to_owned(), 400),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), 400),
        (format!("{{\"x\": \"{}\"}}", "y".repeat(BODY_LIMIT)), 413),
        ("{\"max_budget\": 1e999}".to_owned(), 400),
    ] {
        let (got, answer) = json_of(send(&api, "admin", "POST", "/key/generate", body).await).await;
        assert_eq!((got, answer["error"]["message"].is_string()), (status, true), "{answer}");
    }
    let (status, answer) = json_of(send(&api, "panic", "POST", "/key/generate", "{}").await).await;
    assert_eq!((status, &answer["error"]["type"]), (500, &json!("internal_server_error")));
}

#[tokio::test]
async fn every_listed_route_is_served_and_guarded_but_the_public_ones() {
    let (api, _temp) = api().await;
    let (_, listed) = json_of(send(&api, "", "GET", "/routes", "").await).await;
    for route in listed["routes"].as_array().unwrap() {
        let path = route["path"].as_str().unwrap().replace("{key}", "k");
        let public = path.starts_with("/health/") || path == "/routes";
        for method in route["methods"].as_array().unwrap() {
            let status = send(&api, "stranger", method.as_str().unwrap(), &path, "").await.status().as_u16();
            assert_eq!(status, if public { 200 } else { 401 }, "{method} {path}");
        }
    }
    assert_eq!(send(&api, "", "GET", "/nowhere", "").await.status().as_u16(), 404);
    assert_eq!(send(&api, "admin", "DELETE", "/key/generate", "").await.status().as_u16(), 405);
}
