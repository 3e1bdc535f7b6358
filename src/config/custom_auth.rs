use std::collections::BTreeMap;
use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::validate::Check;
use super::{AuthoriserAddress, Config, General, Lifetime};
use crate::authn::fetch::is_loopback;
use crate::domain::Secret;
use crate::expression::Fields;

/// What to write where a file names Python code.
const INSTEAD: &str = "names Python code, which is not run here: let a service of yours decide, and write \
     custom_auth_settings: {endpoint: \"grpc://127.0.0.1:9191\"} (a gRPC service that speaks Envoy's ext_authz) or \
     custom_auth_settings: {endpoint: \"https://auth.example.com/check\"} (a webhook) beside it; or say it in CEL, as \
     custom_auth_settings: {expression: \"request.client_ip == '10.0.0.7' ? {'user_id': 'ada'} : null\"}";
/// What is of an endpoint alone.
const OF_ENDPOINTS: &str = "is for an endpoint, and an expression says who calls: leave it out";

/// An authoriser of yours that says who calls.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CustomAuth {
    /// `on`: it alone decides about every request. `auto`: it is asked first, and the gate decides where it refuses or
    /// names nobody. `off`: it is not asked. Where nothing is said: `on` with an `endpoint` or an `expression`, else `off`.
    pub mode: Option<CustomAuthMode>,
    /// `grpc://HOST:PORT` or `grpcs://HOST:PORT` (a service that speaks Envoy's ext_authz), or `https://…` (a webhook;
    /// `http://` on loopback addresses).
    pub endpoint: Option<String>,
    /// In place of an `endpoint`: a CEL expression over `request`, `credential` and `now` that is a map with the fields of a
    /// webhook's answer, or `null` where it does not know who calls. It is evaluated for every request; the other settings
    /// but `mode` are for an `endpoint`.
    pub expression: Option<String>,
    /// Milliseconds it may take to answer.
    pub timeout_ms: u64,
    /// How long its word for a caller is kept; `0` asks again each time.
    pub cache_ttl: Lifetime,
    /// How long a refusal is kept; `0` asks again each time.
    pub negative_ttl: Lifetime,
    /// What its word depends on: `credential`, `method`, `path`, `host`, `client_ip`, `principal`, `header:NAME`. Requests
    /// that are alike in all of these get the same answer while it is kept, so name every header it looks at.
    #[schemars(with = "Vec<String>")]
    pub cache_key: Vec<CachePart>,
    /// Headers of the webhook, or metadata of the call, by which it knows the gate.
    pub headers: BTreeMap<String, Secret>,
    /// A PEM file of the only authorities that may have signed its certificate; without one, those of this machine.
    pub ca: Option<PathBuf>,
    /// Sends the body of requests, up to 1 MiB. Nothing is kept then.
    pub send_body: bool,
    /// Lets credentials travel unencrypted to a `grpc://` endpoint on another machine.
    pub insecure: bool,
}

impl Default for CustomAuth {
    fn default() -> Self {
        use CachePart::{ClientIp, Credential, Host, Method, Path, Principal};
        CustomAuth {
            mode: None,
            endpoint: None,
            expression: None,
            timeout_ms: 500,
            cache_ttl: Lifetime::seconds(10),
            negative_ttl: Lifetime::seconds(1),
            cache_key: vec![Credential, Method, Path, Host, ClientIp, Principal],
            headers: BTreeMap::new(),
            ca: None,
            send_body: false,
            insecure: false,
        }
    }
}

/// When the authoriser is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CustomAuthMode {
    /// For every request, and its word is final.
    On,
    /// Never.
    Off,
    /// First; where it refuses or names nobody the gate's own ways decide.
    Auto,
}

/// What says who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CustomAuthoriser<'a> {
    /// A service at this address.
    Endpoint(&'a str),
    /// This expression.
    Expression(&'a str),
}

/// A part of a request that the authoriser's word depends on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum CachePart {
    /// The credential, wherever it stands, and all fields that hold credentials.
    Credential,
    Method,
    /// With its query.
    Path,
    Host,
    ClientIp,
    /// Of the peer's certificate.
    Principal,
    /// All fields of this (lower-case) name.
    Header(String),
}

impl TryFrom<String> for CachePart {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "credential" => CachePart::Credential,
            "method" => CachePart::Method,
            "path" => CachePart::Path,
            "host" => CachePart::Host,
            "client_ip" => CachePart::ClientIp,
            "principal" => CachePart::Principal,
            other => match other.strip_prefix("header:").map(|name| HeaderName::from_bytes(name.as_bytes())) {
                Some(Ok(name)) => CachePart::Header(name.as_str().to_owned()),
                _ => {
                    return Err(
                        "must be one of credential, method, path, host, client_ip, principal, header:NAME".to_owned()
                    );
                }
            },
        })
    }
}

impl From<CachePart> for String {
    fn from(part: CachePart) -> String {
        let name = match part {
            CachePart::Credential => "credential",
            CachePart::Method => "method",
            CachePart::Path => "path",
            CachePart::Host => "host",
            CachePart::ClientIp => "client_ip",
            CachePart::Principal => "principal",
            CachePart::Header(name) => return format!("header:{name}"),
        };
        name.to_owned()
    }
}

impl General {
    /// What says who calls and whether its word is final; `None` where nothing does.
    #[must_use]
    pub fn custom_authoriser(&self) -> Option<(CustomAuthoriser<'_>, CustomAuthMode)> {
        let settings = &self.custom_auth_settings;
        let mode = settings.mode.unwrap_or(CustomAuthMode::On);
        let endpoint = settings.endpoint.as_deref().map(CustomAuthoriser::Endpoint);
        let authoriser = endpoint.or_else(|| settings.expression.as_deref().map(CustomAuthoriser::Expression))?;
        (mode != CustomAuthMode::Off).then_some((authoriser, mode))
    }
}

/// What the types cannot say of these keys.
pub(super) fn check(config: &Config, check: &mut Check<'_>) {
    let general = &config.general_settings;
    let settings = &general.custom_auth_settings;
    let path = |key: &str| format!("general_settings.custom_auth_settings.{key}");
    match (&settings.endpoint, &settings.expression, settings.mode) {
        (Some(_), Some(_), _) => {
            check.wrong(path("expression"), "stands beside an endpoint, and one of them says who calls: leave one out");
        }
        (_, _, Some(CustomAuthMode::Off)) => {}
        (None, None, mode) => {
            if general.custom_auth.as_ref().is_some_and(|code| !code.is_empty()) {
                check.wrong("general_settings.custom_auth", INSTEAD);
            } else if mode.is_some() {
                let message = "asks an authoriser, and there is none: write its endpoint or an expression beside it";
                check.wrong(path("mode"), message);
            }
        }
        (None, Some(expression), _) => {
            if let Err(error) = Fields::over_credentials(expression) {
                check.wrong(path("expression"), error.to_string());
            }
            check.require(settings.headers.is_empty(), &path("headers"), OF_ENDPOINTS);
            check.require(settings.ca.is_none(), &path("ca"), OF_ENDPOINTS);
            check.require(!settings.send_body, &path("send_body"), OF_ENDPOINTS);
        }
        (Some(endpoint), None, _) => match AuthoriserAddress::parse(endpoint) {
            Err(message) => check.wrong(path("endpoint"), message),
            Ok(AuthoriserAddress::Grpc { host, tls: false, .. }) if !is_loopback(&host) && !settings.insecure => {
                let message = "credentials would travel unencrypted to another machine: write grpcs://, or set \
                     custom_auth_settings.insecure: true where the network between is yours alone";
                check.wrong(path("endpoint"), message);
            }
            Ok(_) => {}
        },
    }
    check.require((1..=10_000).contains(&settings.timeout_ms), &path("timeout_ms"), "must be from 1 to 10000");
    for (key, time) in [("cache_ttl", settings.cache_ttl), ("negative_ttl", settings.negative_ttl)] {
        check.require(time <= Lifetime::seconds(3_600), &path(key), "must be at most 1h");
    }
    let says_who =
        |part: &CachePart| matches!(part, CachePart::Credential | CachePart::Principal | CachePart::Header(_));
    let message = "must hold credential, principal or a header: else callers would get each other's answers";
    check.require(settings.cache_key.iter().any(says_who), &path("cache_key"), message);
    for (name, value) in &settings.headers {
        let path = path(&format!("headers.{name}"));
        check.header(name, &path);
        check.require(HeaderValue::from_str(value.expose()).is_ok(), &path, "holds what no header can");
    }
    let is_named = settings.ca.as_ref().is_none_or(|file| !file.as_os_str().is_empty());
    check.require(is_named, &path("ca"), "must name a file");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(general: &str) -> Result<Config, String> {
        let text = format!("general_settings:\n  master_key: sk-0123456789\n{general}");
        Config::parse(&text, "t.yaml", &|_| None).map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn it_is_asked_where_there_is_one_unless_it_is_off() {
        let endpoint = "endpoint: 'grpc://127.0.0.1:1'";
        for (settings, expected) in [
            (endpoint.to_owned(), Some(CustomAuthMode::On)),
            (format!("{endpoint}, mode: on"), Some(CustomAuthMode::On)),
            (format!("{endpoint}, mode: auto"), Some(CustomAuthMode::Auto)),
            (format!("{endpoint}, mode: off"), None),
            ("mode: off".to_owned(), None),
        ] {
            let config = parse(&format!("  custom_auth: a.b\n  custom_auth_settings: {{{settings}}}\n")).unwrap();
            assert_eq!(config.general_settings.custom_authoriser().map(|(_, mode)| mode), expected, "{settings}");
        }
        let config = parse("  custom_auth: a.b\n  custom_auth_settings: {expression: 'null', mode: auto}\n").unwrap();
        let expected = (CustomAuthoriser::Expression("null"), CustomAuthMode::Auto);
        assert_eq!(config.general_settings.custom_authoriser(), Some(expected));
        assert!(parse("").unwrap().general_settings.custom_authoriser().is_none());
    }

    #[test]
    fn the_configuration_in_the_documents_loads() {
        let env = |name: &str| name.ends_with("KEY").then(|| "sk-of-the-environment-0123456789".to_owned());
        let blocks = crate::config::pages::blocks(include_str!("../../docs/custom-auth.md"));
        let loaded: Vec<_> = blocks.iter().map(|block| Config::parse(block, "document", &env).unwrap()).collect();
        let [(service, warnings), (twin, no_warnings)] = &*loaded else { panic!("two configurations") };
        assert!(warnings[0].message.ends_with("ignored: general_settings.allow_user_auth"), "{}", warnings[0].message);
        assert!(no_warnings.is_empty());
        let endpoint = CustomAuthoriser::Endpoint("grpc://127.0.0.1:9191");
        assert_eq!(service.general_settings.custom_authoriser(), Some((endpoint, CustomAuthMode::Auto)));
        let twin = twin.general_settings.custom_authoriser();
        assert!(matches!(twin, Some((CustomAuthoriser::Expression(_), CustomAuthMode::Auto))), "{twin:?}");
    }

    #[test]
    fn python_alone_is_an_error_that_says_what_to_write() {
        for settings in ["", "  custom_auth_settings: {mode: auto}\n"] {
            let error = parse(&format!("  custom_auth: custom_auth.user_api_key_auth\n{settings}")).unwrap_err();
            for part in [
                "t.yaml:3:",
                "general_settings.custom_auth",
                "custom_auth_settings: {endpoint:",
                "grpc://",
                "custom_auth_settings: {expression:",
            ] {
                assert!(error.contains(part), "lacks {part}: {error}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (settings, named) in [
            ("mode: on", "custom_auth_settings.mode"),
            ("mode: sometimes", "custom_auth_settings.mode"),
            ("endpoint: 'ftp://x'", "custom_auth_settings.endpoint"),
            ("endpoint: 'grpc://auth.example.com:9191'", "insecure: true"),
            ("endpoint: 'http://auth.example.com/'", "write https"),
            (
                "endpoint: 'grpc://[::1]:1', expression: 'null'",
                "custom_auth_settings.expression: stands beside an endpoint",
            ),
            ("mode: off, endpoint: 'grpc://[::1]:1', expression: 'null'", "expression: stands beside an endpoint"),
            ("expression: ''", "custom_auth_settings.expression: the expression is empty"),
            (
                "expression: \"{'user_id': caller.role}\"",
                "expression: at 1:13 of the expression: there is no variable caller",
            ),
            (
                "expression: 'request.stream'",
                "expression: at 1:8 of the expression: the result is true or false; it must",
            ),
            ("expression: 'null', send_body: true", "custom_auth_settings.send_body: is for an endpoint"),
            ("expression: 'null', headers: {a: b}", "custom_auth_settings.headers: is for an endpoint"),
            ("expression: 'null', ca: a.pem", "custom_auth_settings.ca: is for an endpoint"),
            ("endpoint: 'grpc://[::1]:1', timeout_ms: 0", "custom_auth_settings.timeout_ms"),
            ("endpoint: 'grpc://[::1]:1', cache_ttl: 2h", "custom_auth_settings.cache_ttl"),
            ("endpoint: 'grpc://[::1]:1', cache_ttl: soon", "custom_auth_settings.cache_ttl"),
            ("endpoint: 'grpc://[::1]:1', cache_key: [method, path]", "custom_auth_settings.cache_key"),
            ("endpoint: 'grpc://[::1]:1', cache_key: [user]", "custom_auth_settings.cache_key[0]"),
            ("endpoint: 'grpc://[::1]:1', headers: {'a b': c}", "custom_auth_settings.headers"),
            ("endpoint: 'grpc://[::1]:1', ca: ''", "custom_auth_settings.ca"),
        ] {
            let error = parse(&format!("  custom_auth_settings: {{{settings}}}\n")).unwrap_err();
            assert!(error.contains("t.yaml:3:") && error.contains(named), "{settings}: {error}");
        }
    }
}
