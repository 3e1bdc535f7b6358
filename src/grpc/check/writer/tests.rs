use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::domain::{AuthMethod, Caller, Identity, Key, KeyHash, Role, Timestamp};

fn caller() -> Caller {
    let mut key = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
    key.team_id = Some("team".into());
    Caller::new(
        AuthMethod::VirtualKey,
        Role::InternalUser,
        Arc::new(Identity { key: Some(key), ..Identity::default() }),
    )
}

fn allow() -> Allow {
    let fields = |name: &'static str, value: &str| -> Fields { [(name, value)].into_iter().collect() };
    let standing = Standing {
        upstream_headers: fields("x-tollward-key-alias", "a\r\nb"),
        metadata: fields("decision", "allow"),
        ..Standing::default()
    };
    Allow {
        caller: caller(),
        standing: Arc::new(standing),
        upstream_headers: fields("authorization", "Bearer provider"),
        remove_headers: vec!["authorization".into(), "x-api-key".into()],
        remove_query: vec!["key".into()],
        response_headers: fields("x-ratelimit-limit-requests", "60"),
        metadata: fields("tollward_hold", &"t".repeat(300)),
        hold: None,
        shadow: None,
    }
}

fn written(decision: &Decision, on_error: OnError) -> CheckResponse {
    let mut out = BytesMut::new();
    assert_eq!(write(decision, on_error, &mut out), Answer::Message);
    CheckResponse::decode(out).expect("what is written is a CheckResponse")
}

#[allow(deprecated)]
fn pairs(options: &[HeaderValueOption]) -> Vec<(String, String)> {
    options
        .iter()
        .map(|option| {
            assert_eq!(option.append.map(|append| append.value), Some(false), "releases before 1.37 read this");
            assert_eq!(option.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd, "later ones read this");
            let header = option.header.clone().unwrap();
            (header.key, header.value)
        })
        .collect()
}

fn metadata(response: &CheckResponse) -> Vec<(String, String)> {
    let Some(fields) = &response.dynamic_metadata else { return Vec::new() };
    let mut fields: Vec<_> = fields
        .fields
        .iter()
        .map(|(name, value)| match &value.kind {
            Some(Kind::StringValue(text)) => (name.clone(), text.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    fields.sort();
    fields
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[test]
fn an_allowed_request_gets_its_headers_and_keeps_what_is_set_though_it_was_to_be_removed() {
    let response = written(&Decision::Allow(Box::new(allow())), OnError::ErrorResponse);
    assert_eq!(response.status.clone().unwrap().code, 0);
    assert_eq!(metadata(&response), owned(&[("decision", "allow"), ("tollward_hold", &"t".repeat(300))]));
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("an OK response") };
    // A control character cannot start a header of its own.
    assert_eq!(pairs(&ok.headers), owned(&[("x-tollward-key-alias", "a  b"), ("authorization", "Bearer provider")]));
    // Envoy removes after it has set, so the injected credential must not be listed.
    assert_eq!(ok.headers_to_remove, ["x-api-key"]);
    assert_eq!(pairs(&ok.response_headers_to_add), owned(&[("x-ratelimit-limit-requests", "60")]));
    assert_eq!(ok.query_parameters_to_remove, ["key"]);
}

fn denied(response: CheckResponse) -> DeniedHttpResponse {
    match response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied,
        other => panic!("{other:?}"),
    }
}

#[test]
fn refusals_carry_their_status_code_and_headers() {
    let json = ("content-type", "application/json");
    let mut slow = Denial::new(ErrorType::RateLimit, "rate_limit.key.requests", "slow down");
    slow.retry_after = Some(Duration::from_millis(1_001));
    slow.should_retry = Some(false);
    let mut paid = Denial::new(ErrorType::BudgetExceeded, "budget.key", "spent");
    paid.status = 402;
    paid.retry_after = Some(Duration::ZERO);
    paid.headers = vec![("www-authenticate".into(), "Custom".into())];
    let mut own = Denial::new(ErrorType::AuthError, "auth", "who?");
    own.headers = vec![("WWW-Authenticate".into(), "Custom".into())];
    let cases = [
        (Denial::new(ErrorType::AuthError, "auth", "who?"), 16, 401, vec![json, ("www-authenticate", "Bearer")]),
        (own, 16, 401, vec![("WWW-Authenticate", "Custom"), json]),
        (Denial::new(ErrorType::KeyModelAccessDenied, "model", "no"), 7, 403, vec![json]),
        (Denial::new(ErrorType::RequestTooLarge, "size", "no"), 7, 413, vec![json]),
        (slow, 8, 429, vec![json, ("retry-after", "2"), ("x-should-retry", "false")]),
        (paid, 8, 402, vec![("www-authenticate", "Custom"), json, ("retry-after", "1")]),
    ];
    for (denial, code, status, headers) in cases {
        let (body, reason) = (denial.body(), denial.reason.to_string());
        let response = written(&Decision::Deny(Box::new(denial)), OnError::ErrorResponse);
        assert_eq!(response.status.clone().unwrap().code, code, "{reason}");
        assert_eq!(metadata(&response), owned(&[("decision", "deny"), ("reason", &reason)]));
        let denied = denied(response);
        assert_eq!(denied.status.unwrap().code, status, "{reason}");
        assert_eq!(pairs(&denied.headers), owned(&headers));
        assert_eq!(denied.body, body);
    }
}

#[test]
fn a_refusal_of_a_known_caller_says_in_the_metadata_who_it_was() {
    let mut denial = Denial::new(ErrorType::RateLimit, "rate_limit.team.tokens", "slow down");
    denial.caller = Some(caller());
    let response = written(&Decision::Deny(Box::new(denial)), OnError::ErrorResponse);
    let hash = KeyHash::of("sk-1").to_string();
    let expected =
        [("decision", "deny"), ("key_hash", hash.as_str()), ("reason", "rate_limit.team.tokens"), ("team_id", "team")];
    assert_eq!(metadata(&response), owned(&expected));
}

#[test]
fn trouble_of_our_own_is_told_as_configured() {
    let down = || Decision::Deny(Box::new(Denial::new(ErrorType::NoDbConnection, "directory", "down")));
    let response = written(&down(), OnError::ErrorResponse);
    assert_eq!(response.status.unwrap().code, 14);
    let Some(HttpResponse::ErrorResponse(error)) = response.http_response else { panic!("an error response") };
    assert_eq!(error.status.unwrap().code, 503);

    assert_eq!(denied(written(&down(), OnError::DenyResponse)).status.unwrap().code, 503);

    let mut out = BytesMut::new();
    assert_eq!(write(&down(), OnError::GrpcStatus, &mut out), Answer::Unavailable("down".into()));
    assert!(out.is_empty());
}

#[test]
fn a_bare_connection_is_refused() {
    let mut out = BytesMut::new();
    write_connection_refused(&mut out);
    let response = CheckResponse::decode(out).unwrap();
    let status = response.status.unwrap();
    assert_eq!((status.code, response.http_response), (7, None));
    assert!(status.message.contains("HTTP"));
}

proptest! {
    #[test]
    fn lengths_are_right_whatever_is_written(
        headers in proptest::collection::vec(("[a-z-]{1,40}", "[ -~é€]{0,300}"), 0..12),
        metadata in proptest::collection::btree_map("[a-z_]{1,30}", ".{0,300}", 0..6),
        removed in proptest::collection::vec("[A-Z]{1,200}", 0..6),
        standing: prop::sample::Index,
    ) {
        let fields = |list: &[(String, String)]| -> Fields { list.iter().cloned().collect() };
        let mut allow = allow();
        let (standing, own) = headers.split_at(standing.index(headers.len() + 1));
        let metadata: Vec<_> = metadata.into_iter().collect();
        let (shared, single) = metadata.split_at(metadata.len() / 2);
        let standing = Standing {
            upstream_headers: fields(standing), metadata: fields(shared), ..Standing::default()
        };
        allow.standing = Arc::new(standing);
        allow.upstream_headers = fields(own);
        allow.response_headers = fields(&headers);
        allow.metadata = fields(single);
        allow.remove_headers = removed.iter().cloned().map(Cow::Owned).collect();
        allow.remove_query = removed.iter().cloned().map(Cow::Owned).collect();
        let response = written(&Decision::Allow(Box::new(allow)), OnError::ErrorResponse);
        prop_assert_eq!(super::tests::metadata(&response), metadata);
        let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("an OK response") };
        prop_assert_eq!(pairs(&ok.headers), headers.clone());
        prop_assert_eq!(pairs(&ok.response_headers_to_add), headers.clone());
        prop_assert_eq!(&ok.query_parameters_to_remove, &removed);
        let kept: Vec<_> = removed
            .iter()
            .filter(|name| !headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(name)))
            .cloned()
            .collect();
        prop_assert_eq!(ok.headers_to_remove, kept);
    }
}
