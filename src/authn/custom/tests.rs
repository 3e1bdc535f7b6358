//! Authorisers that really run: a gRPC service and a web server of this process.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use parking_lot::Mutex;
use prost_types::Struct;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status};

use super::super::{Ask, Named, RoleClaim};
use super::consultant::{PLACES, QUESTIONS};
use super::testing::Shown;
use super::*;
use crate::domain::{KeyHash, Role, Timestamp};
use crate::proto::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use crate::proto::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use crate::proto::envoy::service::auth::v3::check_response::HttpResponse;
use crate::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse};
use crate::proto::envoy::r#type::v3::HttpStatus;
use crate::proto::google::rpc::Status as RpcStatus;
use crate::request::{ReadSettings, RequestView};
use crate::telemetry::testing::Lines;

/// How a service answers.
#[derive(Clone)]
enum Script {
    Reply(Box<CheckResponse>),
    Fail(Code),
    Silence,
}

/// A gRPC authoriser that answers by its script and remembers what it was asked.
#[derive(Clone)]
struct Service {
    script: Arc<Mutex<Script>>,
    asked: Arc<AtomicUsize>,
    last: Arc<Mutex<Option<(CheckRequest, Option<String>)>>>,
    port: u16,
}

#[tonic::async_trait]
impl Authorization for Service {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let token = request.metadata().get("x-gate-token").map(|value| value.to_str().unwrap().to_owned());
        *self.last.lock() = Some((request.into_inner(), token));
        let script = self.script.lock().clone();
        match script {
            Script::Reply(reply) => Ok(Response::new(*reply)),
            Script::Fail(code) => Err(Status::new(code, "sk-what-was-sent must not be shown")),
            Script::Silence => std::future::pending().await,
        }
    }
}

impl Service {
    async fn start(script: Script) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let service = Service {
            script: Arc::new(Mutex::new(script)),
            asked: Arc::default(),
            last: Arc::default(),
            port: listener.local_addr().unwrap().port(),
        };
        let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(service.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        service
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn endpoint(&self) -> Value {
        json!({"endpoint": format!("grpc://127.0.0.1:{}", self.port)})
    }
}

fn metadata(fields: &Value) -> Struct {
    fn proto(value: &Value) -> prost_types::Value {
        use prost_types::value::Kind;
        let kind = match value {
            Value::Null => Kind::NullValue(0),
            Value::Bool(value) => Kind::BoolValue(*value),
            Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap()),
            Value::String(text) => Kind::StringValue(text.clone()),
            Value::Array(list) => Kind::ListValue(prost_types::ListValue { values: list.iter().map(proto).collect() }),
            Value::Object(_) => Kind::StructValue(metadata(value)),
        };
        prost_types::Value { kind: Some(kind) }
    }
    let fields = fields.as_object().unwrap().iter();
    Struct { fields: fields.map(|(name, value)| (name.clone(), proto(value))).collect() }
}

fn allows(fields: &Value) -> Script {
    allows_with(fields, &[])
}

fn allows_with(fields: &Value, headers: &[(&str, &str)]) -> Script {
    let header = |(name, value): &(&str, &str)| HeaderValueOption {
        header: Some(HeaderValue { key: (*name).to_owned(), value: (*value).to_owned(), raw_value: Vec::new() }),
        ..HeaderValueOption::default()
    };
    let ok = OkHttpResponse { headers: headers.iter().map(header).collect(), ..OkHttpResponse::default() };
    Script::Reply(Box::new(CheckResponse {
        http_response: Some(HttpResponse::OkResponse(ok)),
        dynamic_metadata: Some(metadata(fields)),
        ..CheckResponse::default()
    }))
}

fn denies(code: i32, http: Option<i32>, body: &str) -> CheckResponse {
    let denied = |http| {
        HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: http }),
            body: body.to_owned(),
            ..DeniedHttpResponse::default()
        })
    };
    CheckResponse {
        status: Some(RpcStatus { code, message: "told by the status".to_owned(), ..RpcStatus::default() }),
        http_response: http.map(denied),
        ..CheckResponse::default()
    }
}

/// The authoriser of these settings, and its clock in milliseconds.
fn custom_of(general: &Value, kept: &Kept) -> (Custom, Arc<AtomicU64>) {
    let mut general = general.clone();
    general["master_key"] = json!("sk-0123456789");
    let text = json!({"general_settings": general}).to_string();
    let (config, _) = Config::parse(&text, "t.yaml", &|_| None).unwrap();
    let now = Arc::new(AtomicU64::new(100_000));
    let clock = Arc::clone(&now);
    let custom = Custom::with_clock(&config, kept, Arc::new(move || clock.load(Ordering::Relaxed))).unwrap().unwrap();
    (custom, now)
}

fn custom(settings: &Value) -> Custom {
    // No test here waits for a time-out unless it is about one.
    let mut settings = settings.clone();
    let object = settings.as_object_mut().unwrap();
    object.entry("timeout_ms").or_insert(json!(10_000));
    custom_of(&json!({"custom_auth_settings": settings}), &Kept::default()).0
}

fn with(mut settings: Value, more: &Value) -> Value {
    settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    settings
}

async fn ask_traced(custom: &Custom, shown: &Shown<'_>) -> (Result<Option<Arc<Assertion>>, Denial>, String) {
    let http = shown.http();
    let view = RequestView::read(&http, &ReadSettings::new(&Config::default())).unwrap();
    let mut trace = Trace::on();
    let answer = custom.ask(&Ask { view: &view, now: Timestamp::now() }, &mut trace).await;
    let steps = trace.into_steps().into_iter().map(|step| format!("{}: {}\n", step.check, step.found)).collect();
    (answer, steps)
}

async fn ask(custom: &Custom, shown: &Shown<'_>) -> Result<Option<Arc<Assertion>>, Denial> {
    ask_traced(custom, shown).await.0
}

/// Who is named to the bearer of this secret.
async fn user(custom: &Custom, secret: &str) -> Result<String, u16> {
    let value = format!("Bearer {secret}");
    let headers = [("authorization", value.as_bytes())];
    let answer = ask(custom, &Shown::bearer(&headers)).await;
    answer.map(|found| found.unwrap().user_id.as_ref().unwrap().to_string()).map_err(|denial| denial.status)
}

const BEARER: &[(&str, &[u8])] = &[("authorization", b"Bearer opaque-secret")];

#[tokio::test]
async fn a_grpc_service_is_shown_the_request_as_envoy_shows_it() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let custom = custom(&with(service.endpoint(), &json!({"headers": {"X-Gate-Token": "gate-secret"}})));
    let headers: &[(&str, &[u8])] = &[
        (":authority", b"ai.example.com"),
        ("authorization", b"Bearer opaque-secret"),
        ("x-tag", b"a"),
        ("cookie", b"a=1"),
        ("x-tag", b"b"),
        ("cookie", b"b=2"),
    ];
    let shown = Shown {
        headers,
        path: "/v1/chat/completions?x=1",
        principal: "spiffe://mesh/agent",
        extensions: &[("tenant", "blue")],
        body: Some(b"{\"model\":\"m\"}"),
        ..Shown::default()
    };
    let (found, steps) = ask_traced(&custom, &shown).await;
    assert_eq!(found.unwrap().unwrap().user_id.as_deref(), Some("ada"));
    assert!(steps.contains("was asked") && steps.contains("user_id is from the dynamic metadata"), "{steps}");
    let (request, token) = service.last.lock().take().unwrap();
    assert_eq!(token.as_deref(), Some("gate-secret"));
    let attributes = request.attributes.unwrap();
    let source = attributes.source.unwrap();
    assert_eq!(source.principal, "spiffe://mesh/agent");
    assert!(format!("{:?}", source.address).contains("10.0.0.1"));
    assert_eq!(attributes.context_extensions["tenant"], "blue");
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((http.method.as_str(), http.path.as_str()), ("POST", "/v1/chat/completions?x=1"));
    assert_eq!(http.host, "ai.example.com");
    assert_eq!(http.headers["authorization"], "Bearer opaque-secret");
    assert_eq!((http.headers["x-tag"].as_str(), http.headers["cookie"].as_str()), ("a,b", "a=1; b=2"));
    assert!(http.header_map.is_none() && http.body.is_empty() && http.raw_body.is_empty());
}

#[tokio::test]
async fn headers_that_are_not_text_go_as_bytes() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let custom = custom(&service.endpoint());
    let headers: &[(&str, &[u8])] = &[("authorization", b"Bearer opaque-secret"), ("x-name", b"\xe9")];
    ask(&custom, &Shown::bearer(headers)).await.unwrap();
    let (request, _) = service.last.lock().take().unwrap();
    let http = request.attributes.unwrap().request.unwrap().http.unwrap();
    assert!(http.headers.is_empty());
    let raw = http.header_map.unwrap().headers;
    assert_eq!((raw[1].key.as_str(), raw[1].raw_value.as_slice()), ("x-name", b"\xe9".as_slice()));
}

#[tokio::test]
async fn headers_of_an_answer_name_the_caller_where_its_metadata_do_not() {
    let headers = [("X-Tollward-User-Id", "ada"), ("x-tollward-role", "internal_user_viewer"), ("x-other", "y")];
    let service = Service::start(allows_with(&json!({"team_id": "t1"}), &headers)).await;
    let (found, steps) = ask_traced(&custom(&service.endpoint()), &Shown::bearer(BEARER)).await;
    let assertion = found.unwrap().unwrap();
    assert_eq!(assertion.user_id.as_deref(), Some("ada"));
    assert_eq!(assertion.role, RoleClaim::Is(Role::InternalUserViewer));
    assert_eq!(assertion.teams.one, Some(Named::Id("t1".into())));
    assert!(steps.contains("user_id is from the header x-tollward-user-id"), "{steps}");
}

#[tokio::test]
async fn a_denial_of_a_grpc_service_keeps_three_statuses_and_trouble_is_503() {
    let service = Service::start(Script::Silence).await;
    let custom = custom(&with(service.endpoint(), &json!({"cache_ttl": 0, "negative_ttl": 0})));
    let rows = [
        (denies(7, Some(401), "who are you"), 401, "who are you"),
        (denies(7, Some(403), "{\"message\": \"not you\"}"), 403, "not you"),
        (denies(7, Some(429), ""), 429, "told by the status"),
        (denies(7, Some(302), "moved"), 403, "moved"),
        (denies(7, Some(418), "tea"), 403, "tea"),
        (denies(7, Some(0), ""), 403, "told by the status"),
        (denies(7, None, ""), 403, "told by the status"),
        (denies(16, None, ""), 401, "told by the status"),
        (denies(8, None, ""), 429, "told by the status"),
        (denies(0, Some(403), "a contradiction"), 403, "a contradiction"),
        (denies(7, Some(500), "stack trace"), 503, "unavailable"),
        (denies(14, None, ""), 503, "unavailable"),
        (CheckResponse::default(), 401, "does not say whose"),
        (
            CheckResponse {
                http_response: Some(HttpResponse::ErrorResponse(DeniedHttpResponse::default())),
                ..CheckResponse::default()
            },
            503,
            "unavailable",
        ),
    ];
    for (reply, status, message) in rows {
        *service.script.lock() = Script::Reply(Box::new(reply.clone()));
        let denial = ask(&custom, &Shown::bearer(BEARER)).await.unwrap_err();
        assert_eq!(denial.status, status, "{reply:?}");
        assert!(denial.message.contains(message), "{reply:?}: {}", denial.message);
    }
}

#[tokio::test]
async fn errors_silence_floods_and_nobody_listening_are_503_and_show_nothing() {
    let service = Service::start(Script::Fail(Code::PermissionDenied)).await;
    let flood = allows(&json!({"user_id": "ada", "note": "x".repeat(128 * 1024)}));
    let unusable = allows(&json!({"user_id": {"a": 1}}));
    for script in [Script::Fail(Code::PermissionDenied), Script::Fail(Code::Internal), Script::Silence, flood, unusable]
    {
        *service.script.lock() = script;
        let custom = custom(&with(service.endpoint(), &json!({"timeout_ms": 200})));
        let (answer, steps) = ask_traced(&custom, &Shown::bearer(BEARER)).await;
        let denial = answer.unwrap_err();
        assert_eq!((denial.status, &*denial.reason), (503, "custom_auth.unavailable"));
        assert!(denial.retry_after.is_some());
        assert!(!format!("{steps}{}", denial.message).contains("secret"), "{steps}");
        assert!(!steps.contains("what-was-sent"), "{steps}");
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    for endpoint in [format!("grpc://127.0.0.1:{port}"), format!("http://127.0.0.1:{port}/")] {
        let denial = ask(&custom(&json!({"endpoint": endpoint})), &Shown::bearer(BEARER)).await.unwrap_err();
        assert_eq!(denial.status, 503, "{endpoint}");
    }
}

#[tokio::test]
async fn who_is_named_by_nobody_is_refused_unless_the_gate_decides_then() {
    let service = Service::start(allows(&json!({"note": "fine"}))).await;
    let on = custom(&service.endpoint());
    assert_eq!(&*ask(&on, &Shown::bearer(BEARER)).await.unwrap_err().reason, "custom_auth.nobody");
    let auto = custom(&with(service.endpoint(), &json!({"mode": "auto"})));
    assert!(ask(&auto, &Shown::bearer(BEARER)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_word_is_kept_for_its_credential_alone_and_for_its_time_alone() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let (custom, now) = custom_of(&json!({"custom_auth_settings": service.endpoint()}), &Kept::default());
    assert_eq!(user(&custom, "secret-of-ada").await.unwrap(), "ada");
    *service.script.lock() = allows(&json!({"user_id": "grace"}));
    assert_eq!(user(&custom, "secret-of-ada").await.unwrap(), "ada");
    assert_eq!(service.asked(), 1, "the second is answered from what is kept");
    assert_eq!(user(&custom, "secret-of-grace").await.unwrap(), "grace", "another credential, another question");
    now.fetch_add(10_000, Ordering::Relaxed);
    assert_eq!(user(&custom, "secret-of-ada").await.unwrap(), "grace", "its time is over");
    assert_eq!(service.asked(), 3);
    *service.script.lock() = Script::Reply(Box::new(denies(7, Some(403), "no")));
    for _ in 0..2 {
        assert_eq!(user(&custom, "secret-of-mallory").await.unwrap_err(), 403);
    }
    assert_eq!(service.asked(), 4, "refusals are kept too");
    now.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(user(&custom, "secret-of-mallory").await.unwrap_err(), 403);
    assert_eq!(service.asked(), 5, "for a shorter time");
}

#[tokio::test]
async fn nothing_is_kept_where_that_is_off_or_the_body_counts() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    for settings in [json!({"cache_ttl": 0, "negative_ttl": 0}), json!({"send_body": true})] {
        let custom = custom(&with(service.endpoint(), &settings));
        let before = service.asked();
        for _ in 0..2 {
            ask(&custom, &Shown { body: Some(b"\xff"), ..Shown::bearer(BEARER) }).await.unwrap();
        }
        assert_eq!(service.asked() - before, 2, "{settings}");
    }
    let (request, _) = service.last.lock().take().unwrap();
    assert_eq!(request.attributes.unwrap().request.unwrap().http.unwrap().raw_body, b"\xff");
    let custom = custom(&with(service.endpoint(), &json!({"send_body": true})));
    let large = vec![b' '; question::MAX_BODY + 1];
    let denial = ask(&custom, &Shown { body: Some(&large), ..Shown::bearer(BEARER) }).await.unwrap_err();
    assert_eq!(denial.status, 413);
}

#[tokio::test]
async fn what_many_ask_at_once_is_asked_once_and_trouble_is_not_kept() {
    let service = Service::start(Script::Fail(Code::Unavailable)).await;
    let custom = custom(&service.endpoint());
    let shown = Shown::bearer(BEARER);
    let (one, two, three) = tokio::join!(ask(&custom, &shown), ask(&custom, &shown), ask(&custom, &shown));
    assert_eq!([one, two, three].map(|answer| answer.unwrap_err().status), [503; 3]);
    assert_eq!(service.asked(), 1);
    *service.script.lock() = allows(&json!({"user_id": "ada"}));
    assert!(ask(&custom, &shown).await.is_ok());
}

#[tokio::test]
async fn an_authoriser_that_keeps_failing_is_left_alone_until_it_answers_again() {
    let service = Service::start(Script::Fail(Code::Unavailable)).await;
    let (custom, now) = custom_of(&json!({"custom_auth_settings": service.endpoint()}), &Kept::default());
    for _ in 0..8 {
        assert_eq!(user(&custom, "secret-of-ada").await, Err(503));
    }
    assert_eq!(service.asked(), 5, "the fifth failure opens it");
    let (_, steps) = ask_traced(&custom, &Shown::bearer(BEARER)).await;
    assert!(steps.contains("asked once a second"), "{steps}");
    *service.script.lock() = allows(&json!({"user_id": "ada"}));
    assert_eq!(user(&custom, "secret-of-ada").await, Err(503), "within the second nobody asks");
    now.fetch_add(1_000, Ordering::Relaxed);
    assert_eq!(user(&custom, "secret-of-ada").await.as_deref(), Ok("ada"), "the probe closes it");
    assert_eq!(user(&custom, "secret-of-grace").await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn trouble_is_told_once_when_it_begins_and_once_when_it_is_over() {
    let lines = Lines::default();
    let _log = tracing::subscriber::set_default(lines.subscriber());
    let service = Service::start(Script::Fail(Code::Unavailable)).await;
    let (custom, now) = custom_of(&json!({"custom_auth_settings": service.endpoint()}), &Kept::default());
    for turn in 0..8 {
        assert_eq!(user(&custom, &format!("secret-{turn}")).await, Err(503));
    }
    let began = lines.with("an identity provider gives no answer");
    assert_eq!(began.len(), 1, "{}", lines.text());
    assert!(
        began[0].contains("WARN") && began[0].contains("Unavailable") && began[0].contains("127.0.0.1"),
        "{began:?}"
    );
    now.fetch_add(61_000, Ordering::Relaxed);
    assert_eq!(user(&custom, "secret").await, Err(503));
    let goes_on = lines.with("an identity provider still gives no answer");
    assert!(goes_on.len() == 1 && goes_on[0].contains("left_out=4"), "{}", lines.text());
    *service.script.lock() = allows(&json!({"user_id": "ada"}));
    now.fetch_add(1_000, Ordering::Relaxed);
    for turn in 0..3 {
        assert!(user(&custom, &format!("secret-{turn}")).await.is_ok());
    }
    let over = lines.with("an identity provider answers again");
    assert!(over.len() == 1 && over[0].contains("left_out=0 seconds=62"), "{}", lines.text());
    assert!(!lines.text().contains("secret"), "{}", lines.text());
}

#[tokio::test]
async fn answers_that_clients_can_spoil_do_not_open_the_circuit_breaker() {
    let service = Service::start(allows(&json!({"user_id": "a\nb"}))).await;
    let (custom, _) = custom_of(&json!({"custom_auth_settings": service.endpoint()}), &Kept::default());
    for _ in 0..30 {
        assert_eq!(user(&custom, "secret").await, Err(503));
    }
    assert_eq!(service.asked(), 30);
}

#[tokio::test]
async fn a_service_that_cannot_make_sense_of_a_request_has_answered_and_one_that_fails_has_not() {
    use Code::{
        Cancelled, DeadlineExceeded, FailedPrecondition, Internal, InvalidArgument, NotFound, OutOfRange,
        PermissionDenied, ResourceExhausted, Unauthenticated, Unavailable, Unimplemented, Unknown,
    };
    let answers = [
        InvalidArgument,
        NotFound,
        PermissionDenied,
        Unauthenticated,
        ResourceExhausted,
        FailedPrecondition,
        OutOfRange,
    ];
    let failures = [Unavailable, Internal, DeadlineExceeded, Unknown, Unimplemented, Cancelled];
    for (codes, asked) in [(&answers[..], 8), (&failures[..], 5)] {
        for code in codes {
            let service = Service::start(Script::Fail(*code)).await;
            let custom = custom(&service.endpoint());
            for turn in 0..8 {
                assert_eq!(user(&custom, &format!("junk-{turn}")).await, Err(503), "{code:?}");
            }
            assert_eq!(service.asked(), asked, "{code:?}");
        }
    }
}

#[tokio::test]
async fn a_webhook_that_cannot_make_sense_of_a_request_has_answered_and_one_that_fails_has_not() {
    let large = "x".repeat(65 * 1024);
    let flood = "x".repeat(super::super::fetch::MAX_BODY + 1);
    for (status, body, asked) in [
        (400, "", 8),
        (404, "", 8),
        (413, "", 8),
        (422, "", 8),
        (422, &large, 8),
        (429, "", 8),
        (431, "", 8),
        (204, "", 8),
        (302, "", 8),
        (200, &large, 8),
        (200, &flood, 8),
        (408, "", 5),
        (500, "", 5),
        (500, &large, 5),
        (503, "", 5),
    ] {
        let (settings, seen) = webhook(status, body).await;
        let custom = custom(&settings);
        for turn in 0..8 {
            assert_eq!(user(&custom, &format!("junk-{turn}")).await, Err(503), "{status}");
        }
        assert_eq!(seen.lock().len(), asked, "{status}, {} bytes", body.len());
    }
}

#[tokio::test]
async fn a_question_has_its_turn_as_long_as_it_is_under_way() {
    let service = Service::start(Script::Silence).await;
    let custom = custom(&service.endpoint());
    let turns = &custom.consultant().turns;
    assert_eq!(turns.available_permits(), QUESTIONS);
    let asked = async {
        while service.asked() < 3 {
            tokio::task::yield_now().await;
        }
    };
    let shown = Shown::default();
    tokio::select! {
        _ = futures_util::future::join3(ask(&custom, &shown), ask(&custom, &shown), user(&custom, "secret")) => {
            panic!("nobody answers")
        }
        () = asked => {}
    }
    // Those that nobody waits for any more have ended; the one that others may wait for goes on.
    assert_eq!(turns.available_permits(), QUESTIONS - 1);
}

#[tokio::test]
async fn who_does_not_get_its_turn_in_time_gets_503_and_the_authoriser_is_not_blamed() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let custom = custom(&with(service.endpoint(), &json!({"timeout_ms": 20})));
    let all = custom.consultant().turns.acquire_many(u32::try_from(QUESTIONS).unwrap()).await.unwrap();
    for turn in 0..8 {
        let credential = format!("Bearer secret-{turn}");
        let headers = [("authorization", credential.as_bytes())];
        for shown in [Shown::default(), Shown::bearer(&headers)] {
            let (answer, steps) = ask_traced(&custom, &shown).await;
            let denial = answer.unwrap_err();
            assert_eq!((denial.status, &*denial.reason), (503, "custom_auth.unavailable"));
            assert!(denial.retry_after.is_some() && steps.contains("too many questions"), "{steps}");
        }
    }
    drop(all);
    assert_eq!(service.asked(), 0);
    assert!(custom.consultant().breaker.admits((custom.consultant().clock)()));
}

#[tokio::test]
async fn beyond_a_number_of_questions_nobody_waits_and_those_who_have_the_same_join_them() {
    let service = Service::start(Script::Silence).await;
    let custom = custom(&service.endpoint());
    let secrets: Vec<String> = (0..PLACES).map(|turn| format!("secret-{turn}")).collect();
    let mut waiting: Vec<_> = secrets.iter().map(|secret| Box::pin(user(&custom, secret))).collect();
    for question in &mut waiting {
        assert!(futures_util::poll!(question).is_pending());
    }
    // The last of them are begun by the runtime.
    while custom.consultant().places.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    let headers = [("authorization", b"Bearer one-too-many".as_slice())];
    for shown in [Shown::default(), Shown::bearer(&headers)] {
        let (answer, steps) = ask_traced(&custom, &shown).await;
        let denial = answer.unwrap_err();
        assert_eq!((denial.status, &*denial.reason), (503, "custom_auth.crowded"));
        assert!(denial.retry_after.is_some() && steps.contains("too many questions to it are waiting"), "{steps}");
    }
    assert!(began.elapsed().as_secs() < 5, "they do not wait for the time-out of ten seconds");
    let mut same = Box::pin(user(&custom, "secret-0"));
    assert!(futures_util::poll!(&mut same).is_pending(), "it needs no place of its own");
    assert!(custom.consultant().breaker.admits((custom.consultant().clock)()));
    drop((waiting, same));
}

#[tokio::test]
async fn who_gets_its_turn_in_time_gets_its_answer() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let custom = custom(&service.endpoint());
    let all = custom.consultant().turns.acquire_many(u32::try_from(QUESTIONS).unwrap()).await.unwrap();
    let mut waiting = Box::pin(user(&custom, "secret"));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    drop(all);
    assert_eq!(waiting.await.as_deref(), Ok("ada"));
}

#[tokio::test]
async fn what_is_kept_outlives_a_reload_that_does_not_change_the_authoriser() {
    let service = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let kept = Kept::default();
    let general = json!({"custom_auth_settings": service.endpoint()});
    assert_eq!(user(&custom_of(&general, &kept).0, "secret").await.unwrap(), "ada");
    let mut auto = general.clone();
    auto["custom_auth_settings"]["mode"] = json!("auto");
    assert_eq!(user(&custom_of(&auto, &kept).0, "secret").await.unwrap(), "ada");
    assert_eq!(service.asked(), 1);
    let mut unchecked = general;
    unchecked["custom_auth_run_common_checks"] = json!(false);
    let (custom, _) = custom_of(&unchecked, &kept);
    let assertion = ask(&custom, &Shown::bearer(BEARER)).await.unwrap().unwrap();
    assert!(assertion.grant.as_ref().unwrap().is_unchecked);
    assert_eq!(service.asked(), 2);
}

/// A webhook that answers with this status and body, and what it was sent.
async fn webhook(status: u16, body: &str) -> (Value, Arc<Mutex<Vec<(Value, Option<String>)>>>) {
    let (body, seen) = (body.to_owned(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&seen);
    let answer = move |headers: HeaderMap, sent: String| async move {
        let token = headers.get("x-gate-token").map(|value| value.to_str().unwrap().to_owned());
        log.lock().push((serde_json::from_str(&sent).unwrap(), token));
        (StatusCode::from_u16(status).unwrap(), body).into_response()
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = json!({
        "endpoint": format!("http://127.0.0.1:{}/check", listener.local_addr().unwrap().port()),
        "headers": {"x-gate-token": "gate-secret"},
    });
    let routes = Router::new().route("/check", post(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (settings, seen)
}

#[tokio::test]
async fn a_webhook_gets_the_request_as_json_and_answers_with_the_caller() {
    let (settings, seen) = webhook(200, r#"{"user_id": "ada", "models": ["m"], "rpm_limit": 7}"#).await;
    let shown = Shown {
        headers: &[("authorization", b"Bearer opaque-secret"), ("x-tag", b"a"), ("x-tag", b"b")],
        body: Some(b"{}"),
        principal: "spiffe://mesh/agent",
        ..Shown::default()
    };
    let (found, steps) = ask_traced(&custom(&settings), &shown).await;
    let assertion = found.unwrap().unwrap();
    assert_eq!(assertion.user_id.as_deref(), Some("ada"));
    assert_eq!(assertion.grant.as_ref().unwrap().limits.rpm_limit, Some(7));
    assert!(steps.contains("models is from the answer"), "{steps}");
    let (sent, token) = seen.lock().pop().unwrap();
    assert_eq!(token.as_deref(), Some("gate-secret"));
    assert_eq!(sent["api_key"], "opaque-secret");
    assert_eq!((&sent["method"], &sent["path"]), (&json!("POST"), &json!("/v1/chat/completions")));
    assert_eq!((&sent["client_ip"], &sent["principal"]), (&json!("10.0.0.1"), &json!("spiffe://mesh/agent")));
    assert_eq!(sent["headers"]["x-tag"], "a,b");
    assert!(sent.get("body").is_none(), "{sent}");
    let custom = custom(&with(settings, &json!({"send_body": true})));
    ask(&custom, &shown).await.unwrap();
    assert_eq!(seen.lock().pop().unwrap().0["body"], "{}");
}

#[tokio::test]
async fn a_request_without_any_credential_is_judged_too() {
    let (settings, seen) = webhook(200, r#"{"user_id": "guest"}"#).await;
    let custom = custom(&settings);
    for _ in 0..2 {
        assert_eq!(ask(&custom, &Shown::default()).await.unwrap().unwrap().user_id.as_deref(), Some("guest"));
    }
    let seen = seen.lock();
    assert_eq!(seen.len(), 2, "nothing says whose it is: nothing is kept");
    assert_eq!(seen[0].0["api_key"], Value::Null);
}

#[tokio::test]
async fn a_webhook_refuses_by_status_or_by_word_and_all_else_is_trouble() {
    let large = format!(r#"{{"user_id": "ada", "note": "{}"}}"#, "x".repeat(65 * 1024));
    let rows = [
        (401, r#"{"error": {"message": "who are you"}}"#, 401, "who are you"),
        (403, "not you", 403, "not you"),
        (200, r#"{"allow": false, "message": "no", "status": 401}"#, 401, "no"),
        (200, r#"{"allow": false, "message": "no"}"#, 403, "no"),
        (200, r#"{"allow": false, "message": "no", "status": 200}"#, 403, "no"),
        (200, r#"{"allow": true}"#, 401, "does not say whose"),
        (200, r#"{"user_id": "ada", "user_role": "emperor"}"#, 403, "user_role"),
        (200, r#"{"user_id": "ada", "user_id": "grace"}"#, 503, "unavailable"),
        (200, r#"{"allow": "yes", "user_id": "ada"}"#, 503, "unavailable"),
        (200, "[]", 503, "unavailable"),
        (200, "", 503, "unavailable"),
        (200, &large, 503, "unavailable"),
        (204, "", 503, "unavailable"),
        (302, "", 503, "unavailable"),
        (404, "", 503, "unavailable"),
        (429, "", 503, "unavailable"),
        (500, "", 503, "unavailable"),
    ];
    for (status, body, expected, message) in rows {
        let (settings, _) = webhook(status, body).await;
        let denial = ask(&custom(&settings), &Shown::bearer(BEARER)).await.unwrap_err();
        let shown = body.get(..80).unwrap_or(body);
        assert_eq!(denial.status, expected, "{status} {shown}");
        assert!(denial.message.contains(message), "{status} {shown}: {}", denial.message);
    }
}

#[tokio::test]
async fn a_text_is_the_key_that_the_credential_stands_for() {
    for body in [r#""sk-of-the-directory""#, r#"{"api_key": "sk-of-the-directory"}"#] {
        let (settings, _) = webhook(200, body).await;
        let assertion = ask(&custom(&settings), &Shown::bearer(BEARER)).await.unwrap().unwrap();
        assert_eq!(assertion.key, Some(KeyHash::of("sk-of-the-directory")), "{body}");
    }
    let (settings, _) = webhook(200, r#""opaque-secret""#).await;
    let denial = ask(&custom(&settings), &Shown::bearer(BEARER)).await.unwrap_err();
    assert_eq!((denial.status, denial.param.as_deref()), (401, Some("api_key")));
}

#[tokio::test]
async fn a_grpc_service_behind_tls_must_be_signed_by_the_named_authority() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let pem = certified.cert.pem();
    let identity = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certified.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap(),
        )
        .map(|mut config| {
            config.alpn_protocols = vec![b"h2".to_vec()];
            tokio_rustls::TlsAcceptor::from(Arc::new(config))
        })
        .unwrap();
    let plain = Service::start(allows(&json!({"user_id": "ada"}))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = AuthorizationServer::new(plain.clone());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = identity.accept(stream).await else { continue };
            let service = hyper_util::service::TowerToHyperService::new(server.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(
                hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new())
                    .serve_connection(io, service),
            );
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &pem).unwrap();
    let endpoint = json!({"endpoint": format!("grpcs://localhost:{port}")});
    let trusting = custom(&with(endpoint.clone(), &json!({"ca": ca})));
    assert_eq!(user(&trusting, "secret").await.as_deref(), Ok("ada"));
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&ca, other.cert.pem()).unwrap();
    let distrusting = custom(&with(endpoint, &json!({"ca": ca})));
    assert_eq!(user(&distrusting, "secret").await, Err(503));
}
