//! The ports, opened and spoken to by clients that are not ours.

mod support;

use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use tonic::Code;

use super::*;
use support::{Gate, Running, check, client, config, serve};

#[tokio::test]
async fn a_check_is_answered_by_the_gate_with_a_64_kib_header_and_a_large_body() {
    let running = serve(config(), Gate::default()).await;
    let mut client = client(&running).await;
    for (header, body) in [("x".to_owned(), 0), ("x".repeat(64 * 1024), 0), ("x".to_owned(), 10 * 1024 * 1024)] {
        let response = client.check(check("/allow", &header, body)).await.unwrap().into_inner();
        let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("allowed") };
        let seen = ok.headers[0].header.clone().unwrap();
        assert_eq!(seen.value, format!("{} {body} 127.0.0.1", header.len()));
    }
    let response = client.check(check("/deny", "", 0)).await.unwrap().into_inner();
    assert!(matches!(response.http_response, Some(HttpResponse::DeniedResponse(_))));
    let page = running.metrics.page();
    assert!(page.contains("tollward_decisions_total{outcome=\"allow\",reason=\"\"} 3"), "{page}");
    assert!(page.contains("tollward_decisions_total{outcome=\"deny\",reason=\"test\"} 1"), "{page}");
    assert_eq!(running.gate.released(), 0, "an answer that was delivered keeps its hold");
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_a_check_is_refused_by_its_own_code() {
    let mut config = config();
    config.listen.max_message_size = 4_096;
    let running = serve(config, Gate::default()).await;
    let malformed = support::raw_check(&running, bytes::Bytes::from_static(&[0, 0, 0, 0, 2, 0x0a, 0x7f])).await;
    assert_eq!(malformed, Some(Code::InvalidArgument));
    let mut client = client(&running).await;
    const NOT_UTF8: [u8; 14] = [0, 0, 0, 0, 9, 0x0a, 7, 0x22, 5, 0x12, 3, 0x22, 1, 0xff];
    assert_eq!(support::raw_check(&running, bytes::Bytes::from_static(&NOT_UTF8)).await, Some(Code::Ok));
    let connection = client.check(envoy_types::pb::envoy::service::auth::v3::CheckRequest::default()).await.unwrap();
    assert_eq!(connection.into_inner().status.unwrap().code, 7);
    running.stop().await;
}

/// An error of gRPC would let the request in where `failure_mode_allow` is on, and the client chooses how large it is.
#[tokio::test]
async fn what_is_larger_than_a_message_may_be_is_refused_in_writing() {
    for (shadow, expected) in [(false, Ok(413)), (true, Err(Code::ResourceExhausted))] {
        let mut config = config();
        config.listen.max_message_size = 4_096;
        let running = serve(config, Gate::in_shadow(shadow)).await;
        let mut client = client(&running).await;
        for body in [5_000, 300_000] {
            let answer = client.check(check("/allow", "", body)).await.map_err(|status| status.code());
            let status = answer.map(|answer| match answer.into_inner().http_response {
                Some(HttpResponse::DeniedResponse(denied)) => denied.status.unwrap().code,
                other => panic!("{other:?}"),
            });
            assert_eq!(status, expected, "{body} bytes");
        }
        assert!(client.check(check("/allow", "", 1_000)).await.is_ok(), "the connection goes on");
        running.stop().await;
    }
}

#[tokio::test]
async fn the_deadline_of_the_client_ends_the_decision() {
    let running = serve(config(), Gate::default()).await;
    let mut client = client(&running).await;
    let mut request = tonic::Request::new(check("/hang", "", 0));
    // Below tonic's own use of the header: only the server watches the time.
    request.metadata_mut().insert("grpc-timeout", "20m".parse().unwrap());
    let status = client.check(request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    running.gate.dropped.notified().await;
    running.stop().await;
}

#[tokio::test]
async fn a_check_that_is_cancelled_ends_its_decision_and_one_whose_answer_is_not_taken_gives_its_hold_back() {
    let running = serve(config(), Gate::default()).await;
    let mut client = client(&running).await;
    {
        let hanging = client.check(check("/hang", "", 0));
        tokio::select! {
            _ = hanging => panic!("it hangs"),
            () = running.gate.asked.notified() => {}
        }
    }
    running.gate.dropped.notified().await;

    support::check_without_taking_the_answer(&running).await;
    running.gate.given_back.notified().await;
    assert_eq!(running.gate.released(), 1);
    running.stop().await;
}

#[tokio::test]
async fn health_and_both_reflections_answer() {
    let running = serve(config(), Gate::default()).await;
    let channel = support::channel(&running).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let request = tonic_health::pb::HealthCheckRequest { service: "envoy.service.auth.v3.Authorization".into() };
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    assert_eq!(health.check(request).await.unwrap().into_inner().status(), serving);

    use tonic_reflection::pb::{v1, v1alpha};
    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.message().await.unwrap().unwrap());
    assert!(answer.contains("envoy.service.auth.v3.Authorization"), "{answer}");

    let symbol = "envoy.service.auth.v3.CheckRequest".to_owned();
    let find = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(symbol);
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(find) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(format!("{answer:?}").contains("FileDescriptorResponse"), "{answer:?}");
    running.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_old_is_told_to_go_away_and_finishes_what_it_has() {
    let mut config = config();
    config.listen.max_connection_age = crate::domain::BudgetDuration::seconds(1);
    let running = serve(config, Gate::default()).await;
    let (mut send, connection) = support::h2(&running).await;
    let aged = tokio::spawn(connection);
    let in_flight = support::ask(&mut send, "/wait").await;
    running.gate.asked.notified().await;
    // The connection says that no more streams are taken, though one is open.
    while futures_util::future::poll_fn(|context| send.poll_ready(context)).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running.gate.go_on.notify_one();
    assert_eq!(support::status(in_flight).await, Some(Code::Ok));
    drop(send);
    aged.await.unwrap().unwrap();
    running.stop().await;
}

#[tokio::test]
async fn networks_that_are_not_listed_are_cut_off() {
    let mut config = config();
    config.listen.grpc_clients = vec!["10.0.0.0/8".parse().unwrap()];
    let running = serve(config, Gate::default()).await;
    let mut stream = tokio::net::TcpStream::connect(running.grpc).await.unwrap();
    let mut heard = Vec::new();
    // Closed or reset: either way not a byte was said.
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard).await;
    assert!(heard.is_empty());
    assert_eq!(running.metrics.connections_refused.get(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_it() {
    let running = serve(config(), Gate::default()).await;
    let mut config = config();
    config.listen.grpc = running.grpc;
    let error = Listeners::bind(&config).unwrap_err().to_string();
    assert!(error.contains("listen.grpc") && error.contains(&running.grpc.to_string()), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn mutual_tls_takes_listed_clients_and_new_certificates_without_a_restart() {
    support::mutual_tls().await;
}

#[tokio::test]
async fn readiness_names_its_parts_and_fails_first_when_the_end_begins() {
    let running: Running = serve(config(), Gate::default()).await;
    let get = |path: &str| reqwest::get(format!("http://{}{path}", running.ops));
    assert_eq!(get("/livez").await.unwrap().status(), 200);
    let ready = get("/readyz").await.unwrap();
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.text().await.unwrap(), r#"{"parts":{"directory":"ok"},"status":"ready"}"#);
    assert!(get("/metrics").await.unwrap().text().await.unwrap().ends_with("# EOF\n"));
    running.stop().await;

    let mut slow = config();
    slow.listen.drain_delay = crate::domain::BudgetDuration::seconds(3);
    let running = serve(slow, Gate::default()).await;
    let ending = running.begin_end();
    running.shutdown.draining().await;
    let ready = reqwest::get(format!("http://{}/readyz", running.ops)).await.unwrap();
    assert_eq!(ready.status(), 503);
    assert!(ready.text().await.unwrap().contains("draining"));
    ending.await.unwrap();
}
