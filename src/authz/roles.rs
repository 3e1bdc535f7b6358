//! May this role use this route? Administrators may use all; everyone may use the routes of models; of the management
//! API each role has its own part, and what no rule grants is refused with 403. Status and the key's own routes are
//! checked before, for administrators too.

use std::borrow::Cow;

use super::groups;
use super::routes::{self, Routes, shown};
use crate::domain::{Api, AuthMethod, Caller, Denial, ErrorType, Role};
use crate::request::RequestView;

/// What of a request decides about its route.
#[derive(Clone, Copy, Debug)]
pub struct RouteAsk<'a> {
    pub method: &'a str,
    /// Normalised, without the query.
    pub path: &'a str,
    /// Undecoded, without `?`.
    pub query: &'a str,
    pub api: Api,
    /// Organizations the request names (`organization_id`, `organizations` of a management call). An administrator of
    /// all of them may use the routes of organization administrators.
    pub organizations: &'a [&'a str],
}

impl<'a> RouteAsk<'a> {
    #[must_use]
    pub fn of(view: &'a RequestView<'_>) -> Self {
        let route = &view.route;
        let method = view.http.method;
        RouteAsk { method, path: &route.path, query: route.query, api: route.api, organizations: &[] }
    }

    fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS")
    }
}

/// Every rule about routes: the key's own list, then administrators' routes, pass-through endpoints and the role.
/// [`Routes::exists`] and public routes come before, since they need no caller.
pub fn route_access(caller: &Caller, ask: &RouteAsk<'_>, routes: &Routes) -> Result<(), Denial> {
    if caller.method == AuthMethod::Public {
        return if routes.is_public(ask.method, ask.path) { Ok(()) } else { Err(refusal(caller, ask)) };
    }
    if let Some(key) = &caller.identity.key {
        routes::key_routes(key, ask.path)?;
    }
    if let Some(grant) = &caller.grant {
        routes::granted_routes(grant, ask.path)?;
        // What manages the gate itself needs a role, whatever the operator does without.
        if grant.is_unchecked && ask.api.is_model_route() {
            return Ok(());
        }
    }
    if caller.method != AuthMethod::MasterKey && groups::contains("master_key_only_routes", ask.path) {
        let message = format!("the route {} needs the master key", shown(ask.path));
        return Err(Denial::new(ErrorType::RouteAccessDenied, "route.master_key_only", message));
    }
    if caller.is_admin() {
        return Ok(());
    }
    if routes.is_admin_only(ask.path) {
        let message = format!("the route {} is for administrators only", shown(ask.path));
        return Err(Denial::new(ErrorType::RouteAccessDenied, "route.admin_only", message));
    }
    match routes.pass_through(ask.method, ask.path) {
        Some(endpoint) if endpoint.auth => return routes::pass_through_access(caller, ask.path),
        Some(_) => return Ok(()),
        None => {}
    }
    role_access(caller, ask)
}

fn role_access(caller: &Caller, ask: &RouteAsk<'_>) -> Result<(), Denial> {
    let path = ask.path;
    // Viewers too: what they may not do is change things, and a model call changes nothing here. A path nobody knows is
    // not a model's because it could be: a key's `allowed_routes` or a pass-through endpoint must name it.
    let is_known_model_route = ask.api.is_model_route() && ask.api != Api::Unmeterable;
    if is_known_model_route || groups::contains("llm_api_routes", path) {
        return Ok(());
    }
    if groups::contains("info_routes", path) {
        return own_user_info(caller, ask);
    }
    let granted = match caller.role {
        Role::ProxyAdmin => true,
        Role::ProxyAdminViewer => ask.is_safe() || groups::contains("admin_viewer_own_routes", path),
        _ if has_permission(caller, "get_spend_routes") && groups::contains("global_spend_tracking_routes", path) => {
            true
        }
        Role::InternalUser | Role::OrgAdmin => {
            // A key without a user is nobody's: it calls models and looks at itself.
            (caller.user_id().is_some() && groups::contains("internal_user_routes", path))
                || is_granted_to_org_admin(caller, ask)
                || is_granted_to_anyone(caller, path)
        }
        Role::InternalUserViewer => {
            groups::contains("internal_user_view_only_routes", path)
                || is_granted_to_org_admin(caller, ask)
                || is_granted_to_anyone(caller, path)
        }
        Role::Team | Role::Customer => is_granted_to_anyone(caller, path),
    };
    if granted { Ok(()) } else { Err(refusal(caller, ask)) }
}

/// Routes whose endpoint checks for itself, those under the MCP trees, and what the key's `allowed_routes` name as
/// paths: only administrators can write such a list.
fn is_granted_to_anyone(caller: &Caller, path: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|entry| routes::names_path(entry, path));
    groups::contains("self_managed_routes", path)
        || path.starts_with("/v1/mcp/")
        || path.starts_with("/mcp-rest/")
        || caller.identity.key.as_ref().is_some_and(|key| named(&key.allowed_routes))
        || routes::is_granted_pass_through(caller, path)
}

fn is_granted_to_org_admin(caller: &Caller, ask: &RouteAsk<'_>) -> bool {
    let administers = |organization: &&str| {
        caller.identity.user.as_ref().is_some_and(|user| user.admin_of.iter().any(|own| own.as_ref() == *organization))
    };
    !ask.organizations.is_empty()
        && groups::contains("org_admin_allowed_routes", ask.path)
        && ask.organizations.iter().all(administers)
}

/// `/user/info?user_id=` tells of oneself only, unless the caller may view everyone.
fn own_user_info(caller: &Caller, ask: &RouteAsk<'_>) -> Result<(), Denial> {
    if !matches!(ask.path, "/user/info" | "/v2/user/info") || caller.role == Role::ProxyAdminViewer {
        return Ok(());
    }
    let own = caller.user_id();
    let is_own = |id: &str| id.is_empty() || own.is_some_and(|own| own.as_ref() == id);
    let mut asked = query_values(ask.query, "user_id");
    if asked.all(|id| is_own(&id)) {
        return Ok(());
    }
    let message = "this key may ask for its own user only; leave user_id out";
    Err(Denial::new(ErrorType::RouteAccessDenied, "route.other_user", message).param("user_id"))
}

fn has_permission(caller: &Caller, name: &str) -> bool {
    let permission = caller.identity.key.as_ref().and_then(|key| key.permissions.get(name));
    permission.and_then(serde_json::Value::as_bool) == Some(true)
}

fn refusal(caller: &Caller, ask: &RouteAsk<'_>) -> Denial {
    let role = caller.role.as_str();
    let message = format!("the role {role} may not use the route {}; ask an administrator", shown(ask.path));
    Denial::new(ErrorType::RouteAccessDenied, "route.role", message)
}

/// All values of a query parameter, decoded; a name that is written percent-encoded counts too.
fn query_values<'a>(query: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    query.split('&').filter_map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(key) == name).then(|| decoded(value))
    })
}

/// Percent-decoding as of `application/x-www-form-urlencoded`; what is not valid stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (b'+', ..) => {
                out.push(b' ');
                at += 1;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests;
