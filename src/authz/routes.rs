//! Which routes exist, which are open to all, and which a key may use: the allowlists of the configuration, of keys, and
//! of pass-through endpoints. An allowlist that is there and does not hold the path refuses it.

use serde_json::{Map, Value};

use super::groups;
use crate::config::{Config, PassThroughEndpoint};
use crate::domain::{Caller, Denial, ErrorType, Grant, Key, KeyType, Team};
use crate::request::without_keys;

/// The route settings of the configuration, ready to be asked.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    public: Vec<Public>,
    only: Vec<String>,
    admin_only: Vec<String>,
    pass_through: Vec<PassThroughEndpoint>,
}

#[derive(Clone, Debug)]
enum Public {
    Exact(String),
    Prefix(String),
    Group(String),
}

impl Routes {
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let general = &config.general_settings;
        let by_token = if general.enable_jwt_auth { &*general.litellm_jwtauth.public_allowed_routes } else { &[] };
        let public = general.public_routes.iter().chain(by_token).map(|entry| {
            let name = entry.strip_prefix("LiteLLMRoutes.").unwrap_or(entry);
            match entry.strip_suffix('*') {
                _ if groups::is_group(name) => Public::Group(name.to_owned()),
                Some(prefix) => Public::Prefix(prefix.to_owned()),
                None => Public::Exact(entry.clone()),
            }
        });
        Routes {
            public: public.collect(),
            only: general.allowed_routes.clone(),
            admin_only: general.admin_only_routes.clone(),
            pass_through: general.pass_through_endpoints.clone(),
        }
    }

    /// Whether the route needs no credential: a public route, or a pass-through endpoint with `auth: false`.
    #[must_use]
    pub fn is_public(&self, method: &str, path: &str) -> bool {
        let listed = self.public.iter().any(|public| match public {
            Public::Exact(exact) => exact == path,
            Public::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Public::Group(name) => groups::contains(name, path),
        });
        listed || self.pass_through(method, path).is_some_and(|endpoint| !endpoint.auth)
    }

    /// Refuses a path outside `general_settings.allowed_routes`, where that is set. For everyone, before the credential.
    pub fn exists(&self, path: &str) -> Result<(), Denial> {
        if self.only.is_empty() || self.only.iter().any(|only| only == path) {
            return Ok(());
        }
        Err(Denial::new(
            ErrorType::RouteAccessDenied,
            "route.not_served",
            format!("the route {} is not served here", shown(path)),
        ))
    }

    #[must_use]
    pub fn is_admin_only(&self, path: &str) -> bool {
        self.admin_only.iter().any(|route| route == path)
    }

    /// The pass-through endpoint that serves this path: an exact one stands before one that includes what lies below it.
    #[must_use]
    pub fn pass_through(&self, method: &str, path: &str) -> Option<&PassThroughEndpoint> {
        let serves = |endpoint: &&PassThroughEndpoint| {
            endpoint.methods.is_empty() || endpoint.methods.iter().any(|known| known.eq_ignore_ascii_case(method))
        };
        let exact = self.pass_through.iter().filter(serves).find(|endpoint| endpoint.path == path);
        exact.or_else(|| {
            let below = |endpoint: &&PassThroughEndpoint| endpoint.include_subpath && is_below(&endpoint.path, path);
            self.pass_through.iter().filter(serves).filter(below).max_by_key(|endpoint| endpoint.path.len())
        })
    }
}

/// Refuses a path outside the key's own routes: `allowed_routes`, else what its `key_type` stands for.
pub fn key_routes(key: &Key, path: &str) -> Result<(), Denial> {
    let allowed = match (key.allowed_routes.is_empty(), key.key_type) {
        (false, _) => key.allowed_routes.iter().any(|entry| entry_holds(entry, path)),
        (true, KeyType::Default) => true,
        (true, KeyType::LlmApi) => groups::contains("llm_api_routes", path),
        (true, KeyType::Management) => groups::contains("management_routes", path),
        (true, KeyType::ReadOnly) => groups::contains("info_routes", path),
    };
    if allowed {
        return Ok(());
    }
    Err(Denial::new(
        ErrorType::RouteAccessDenied,
        "route.key",
        format!("this key may not use the route {}; ask for a key with it in allowed_routes", shown(path)),
    ))
}

/// Refuses a path outside the routes the credential itself is good for.
pub fn granted_routes(grant: &Grant, path: &str) -> Result<(), Denial> {
    if grant.routes.iter().all(|list| list.iter().any(|entry| entry_holds(entry, path))) {
        return Ok(());
    }
    Err(Denial::new(
        ErrorType::RouteAccessDenied,
        "route.credential",
        format!("this credential is not good for the route {}", shown(path)),
    ))
}

/// Whether an entry of `allowed_routes` holds the path: the path itself or what lies below it, a group of that name, or
/// a prefix before a trailing `*`.
#[must_use]
pub fn entry_holds(entry: &str, path: &str) -> bool {
    names_path(entry, path) || groups::contains(entry, path)
}

/// Like [`entry_holds`] without groups.
#[must_use]
pub fn names_path(entry: &str, path: &str) -> bool {
    match entry.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix),
        None => entry == path || is_below(entry, path),
    }
}

fn is_below(parent: &str, path: &str) -> bool {
    let parent = parent.trim_end_matches('/');
    !parent.is_empty() && path.strip_prefix(parent).is_some_and(|rest| rest.starts_with('/'))
}

/// Refuses a caller that neither its key nor its team lets through to a pass-through endpoint. What either denies is
/// denied; a list of the key replaces the team's.
pub fn pass_through_access(caller: &Caller, path: &str) -> Result<(), Denial> {
    let key = caller.identity.key.as_ref();
    let team = caller.identity.team.as_deref();
    let holds = |list: Option<&Vec<Value>>| {
        list.is_some_and(|list| list.iter().filter_map(Value::as_str).any(|entry| names_path(entry, path)))
    };
    let denied = holds(of_key(key, "denied_passthrough_routes")) || holds(of_team(team, "denied_passthrough_routes"));
    let allowed = of_key(key, "allowed_passthrough_routes").or_else(|| of_team(team, "allowed_passthrough_routes"));
    if !denied && holds(allowed) {
        return Ok(());
    }
    Err(Denial::new(
        ErrorType::RouteAccessDenied,
        "route.pass_through",
        format!(
            "this key may not use the pass-through route {}; it must be in allowed_passthrough_routes",
            shown(path)
        ),
    ))
}

/// Whether `allowed_passthrough_routes` of key or team holds the path.
#[must_use]
pub fn is_granted_pass_through(caller: &Caller, path: &str) -> bool {
    pass_through_access(caller, path).is_ok()
}

fn of_key<'a>(key: Option<&'a Key>, name: &str) -> Option<&'a Vec<Value>> {
    key.and_then(|key| list(&key.metadata, name).or_else(|| list(&key.extra, name)))
}

fn of_team<'a>(team: Option<&'a Team>, name: &str) -> Option<&'a Vec<Value>> {
    team.and_then(|team| list(&team.metadata, name).or_else(|| list(&team.extra, name)))
}

/// A list that is there and empty says nothing, like an absent one.
fn list<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Vec<Value>> {
    map.get(name).and_then(Value::as_array).filter(|list| !list.is_empty())
}

/// A path as a message may show it: without keys, for messages are logged; control characters escaped, its length
/// bounded.
#[must_use]
pub fn shown(path: &str) -> String {
    let path = without_keys(path);
    let mut text: String = path.chars().take(200).flat_map(char::escape_debug).collect();
    if path.chars().nth(200).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::domain::{AuthMethod, Identity, KeyHash, Role, Timestamp};

    fn key(change: impl FnOnce(&mut Key)) -> Key {
        let mut key = Key::new(KeyHash::of("sk-1"), Timestamp::millis(0));
        change(&mut key);
        key
    }

    fn config(change: impl FnOnce(&mut crate::config::General)) -> Routes {
        let mut config = Config::default();
        change(&mut config.general_settings);
        Routes::new(&config)
    }

    #[test]
    fn a_key_reaches_the_routes_its_list_names() {
        for (list, path, expected) in [
            (vec!["openai_routes"], "/chat/completions", true),
            (vec!["info_routes"], "/chat/completions", false),
            (vec!["info_routes", "/custom/route"], "/user/info", true),
            (vec!["info_routes", "/custom/route"], "/custom/route", true),
            (vec!["llm_api_routes"], "/anthropic/v1/messages", true),
            (vec!["llm_api_routes"], "/gemini/countTokens", true),
            (vec!["llm_api_routes"], "/v1beta/models/bedrock/claude-x:generateContent", true),
            (vec!["mcp_routes"], "/v1/mcp/server/abc/approve", true),
            (vec!["/chat"], "/chat/completions", true),
            (vec!["/chat"], "/chatter", false),
            (vec!["/chat*"], "/chatter", true),
            (vec!["/v1/*"], "/v1/embeddings", true),
            (vec!["/v1/*"], "/v2/rerank", false),
            (vec!["/"], "/key/generate", false),
            (vec![], "/anything", true),
        ] {
            let key = key(|key| key.allowed_routes = list.iter().map(|&entry| entry.to_owned()).collect());
            assert_eq!(key_routes(&key, path).is_ok(), expected, "{list:?} on {path}");
        }
    }

    #[test]
    fn a_key_type_stands_for_a_group_of_routes() {
        for (key_type, path, expected) in [
            (KeyType::LlmApi, "/v1/chat/completions", true),
            (KeyType::LlmApi, "/key/generate", false),
            (KeyType::Management, "/key/generate", true),
            (KeyType::Management, "/v1/chat/completions", false),
            (KeyType::ReadOnly, "/key/info", true),
            (KeyType::ReadOnly, "/key/generate", false),
            (KeyType::Default, "/key/generate", true),
        ] {
            let denial = key_routes(&key(|key| key.key_type = key_type), path);
            assert_eq!(denial.is_ok(), expected, "{key_type:?} on {path}");
        }
        let both = key(|key| {
            key.key_type = KeyType::LlmApi;
            key.allowed_routes = vec!["/key/info".to_owned()];
        });
        assert!(key_routes(&both, "/key/info").is_ok(), "a list stands before the type");
    }

    #[test]
    fn public_routes_are_exact_or_prefixes_or_groups_and_none_by_default() {
        let routes = config(|general| {
            general.public_routes =
                ["/hello", "/open/*", "LiteLLMRoutes.public_routes"].map(str::to_owned).into_iter().collect();
        });
        for (path, expected) in [
            ("/hello", true),
            ("/hello/you", false),
            ("/open/a/b", true),
            ("/opened", false),
            ("/health/liveliness", true),
            ("/v1/chat/completions", false),
        ] {
            assert_eq!(routes.is_public("GET", path), expected, "{path}");
        }
        assert!(!Routes::default().is_public("GET", "/"));
    }

    #[test]
    fn globally_allowed_routes_are_exact() {
        let routes = config(|general| general.allowed_routes = vec!["/embeddings".to_owned()]);
        assert!(routes.exists("/embeddings").is_ok());
        assert_eq!(routes.exists("/v1/embeddings").unwrap_err().status, 403);
        assert!(Routes::default().exists("/any").is_ok());
    }

    #[test]
    fn a_pass_through_endpoint_serves_its_path_and_below_it_only_when_told() {
        let endpoints = serde_json::from_value(json!([
            {"path": "/weather", "auth": false},
            {"path": "/maps", "include_subpath": true},
            {"path": "/maps/open", "auth": false, "include_subpath": true, "methods": ["GET"]},
        ]))
        .unwrap();
        let routes = config(|general| general.pass_through_endpoints = endpoints);
        for (method, path, found, public) in [
            ("GET", "/weather", true, true),
            ("GET", "/weather/today", false, false),
            ("GET", "/maps/tile", true, false),
            ("GET", "/mapsandmore", false, false),
            ("GET", "/maps/open/tile", true, true),
            ("POST", "/maps/open/tile", true, false),
        ] {
            assert_eq!(routes.pass_through(method, path).is_some(), found, "{method} {path}");
            assert_eq!(routes.is_public(method, path), public, "{method} {path}");
        }
    }

    #[test]
    fn pass_through_needs_a_grant_and_a_denial_wins() {
        let caller = |key_metadata: Value, team_metadata: Value| {
            let team = Team { metadata: team_metadata.as_object().unwrap().clone(), ..Team::default() };
            let identity = Identity {
                key: Some(key(|key| key.metadata = key_metadata.as_object().unwrap().clone())),
                team: Some(Arc::new(team)),
                ..Identity::default()
            };
            Caller::new(AuthMethod::VirtualKey, Role::InternalUser, Arc::new(identity))
        };
        let (allow, deny) = ("allowed_passthrough_routes", "denied_passthrough_routes");
        for (key, team, expected) in [
            (json!({}), json!({}), false),
            (json!({allow: ["/maps"]}), json!({}), true),
            (json!({}), json!({allow: ["/maps"]}), true),
            (json!({allow: ["/other"]}), json!({allow: ["/maps"]}), false),
            (json!({allow: []}), json!({allow: ["/maps"]}), true),
            (json!({allow: ["/maps"], deny: ["/maps/tile"]}), json!({}), false),
            (json!({allow: ["/maps"]}), json!({deny: ["/maps*"]}), false),
            (json!({allow: "/maps"}), json!({}), false),
        ] {
            let caller = caller(key.clone(), team.clone());
            assert_eq!(pass_through_access(&caller, "/maps/tile").is_ok(), expected, "key {key}, team {team}");
        }
    }

    #[test]
    fn a_message_shows_neither_keys_nor_control_characters_and_stays_short() {
        let denial = granted_routes(&Grant { routes: vec![vec![]], ..Grant::default() }, "/key/sk-SECRET/regenerate");
        let message = denial.unwrap_err().message;
        assert!(message.contains("/key/sk-…/regenerate") && !message.contains("SECRET"), "{message}");
        let text = shown(&format!("/a\r\n{}", "x".repeat(10_000)));
        assert!(text.starts_with("/a\\r\\n") && text.len() < 300, "{text}");
    }
}
