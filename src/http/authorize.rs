//! One middleware asks the gate about every guarded request, with the same description of it that Envoy would send.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::HOST;

use super::HttpState;
use super::answer::Failure;
use crate::authz::routes::names_path;
use crate::domain::Caller;
use crate::manage::Actor;
use crate::request::{Headers, HttpRequest};

/// The address of the connection's other end, put into each request's extensions by whoever accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Lets a request through with its [`Actor`] in the extensions, or answers the gate's denial.
pub(super) async fn authorize(State(state): State<HttpState>, mut request: Request, next: Next) -> Response {
    let asked = {
        let (method, uri, fields) = (request.method(), request.uri(), request.headers());
        let mut headers: Vec<(&str, &[u8])> = Vec::with_capacity(fields.len() + 1);
        // HTTP/2 carries the host in the target; the gate reads it like any header.
        if let Some(authority) = uri.authority().filter(|_| !fields.contains_key(HOST)) {
            headers.push(("host", authority.as_str().as_bytes()));
        }
        headers.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        let connected = || request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0).or_else(connected);
        let described = HttpRequest {
            method: method.as_str(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()),
            headers: Headers(headers),
            body: None,
            source: peer,
            source_principal: "",
            extensions: Vec::new(),
            gateway: peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        };
        let changed_by = described.headers.text("litellm-changed-by");
        let path = uri.path();
        let named = |caller: &Caller| {
            let key = caller.identity.key.as_ref();
            key.is_some_and(|key| key.allowed_routes.iter().any(|entry| names_path(entry, path)))
        };
        state.authorize.authorize(&described).await.map(|caller| {
            let granted = named(&caller);
            Actor::new(caller, changed_by).with_granted_route(granted)
        })
    };
    match asked {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(denial) => Failure::Denied(Box::new(denial)).into_response(),
    }
}
