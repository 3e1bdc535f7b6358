//! What types cannot say: values that contradict each other, bounds, names of zones and headers, keys that everybody
//! knows. Everything that is wrong is told at once.

mod identity;
mod jwt;
mod oauth2;
mod policy;
mod session;
mod shadow;
mod signed_headers;

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::problem::{Problem, Problems};
use super::tree::Node;
use super::{AddressList, Config, PreparedStatements, Reserve, UnknownModel, Unmeterable, is_postgres};
use crate::domain::{Calendar, Money, Price, Secret};

/// Where counters can be.
const COUNTERS: [&str; 7] =
    ["memory", "redis", "rediss", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"];

/// Master keys that stand in tutorials.
const KNOWN_KEYS: &[&str] = &[
    "sk-1234",
    "sk-12345",
    "sk-123456",
    "sk-1234567",
    "sk-12345678",
    "sk-123456789",
    "sk-1234567890",
    "sk-master",
    "sk-master-key",
    "sk-litellm",
    "sk-test",
    "sk-test1234",
    "sk-admin",
    "sk-password",
    "sk-changeme",
    "changeme",
    "password",
    "password123",
    "master-key",
    "my-master-key",
    "your-master-key",
    "sk-your-master-key",
    "sk-my-master-key",
];

/// Shorter master keys can be guessed.
const MIN_MASTER_KEY: usize = 8;

/// Records are written up to the end of the day after their admission.
const MIN_KEEP: Duration = Duration::from_secs(2 * 86_400);

/// All problems of a configuration; none if it can be used.
#[must_use]
pub fn validate(config: &Config, tree: &Node) -> Problems {
    let mut check = Check { tree, problems: Problems::default() };
    listen(config, &mut check);
    stores(config, &mut check);
    quota_and_metering(config, &mut check);
    request(config, &mut check);
    policy::policy(config, &mut check);
    session::session(config, &mut check);
    shadow::shadow(config, &mut check);
    tls(config, &mut check);
    general(config, &mut check);
    jwt::jwt(config, &mut check);
    identity::identity(config, &mut check);
    signed_headers::signed_headers(config, &mut check);
    oauth2::oauth2(config, &mut check);
    litellm(config, &mut check);
    models(config, &mut check);
    super::custom_auth::check(config, &mut check);
    check.problems
}

pub(super) struct Check<'a> {
    tree: &'a Node,
    problems: Problems,
}

impl Check<'_> {
    pub(super) fn wrong(&mut self, path: impl Into<String>, message: impl Into<String>) {
        let path = path.into();
        let place = self.tree.place_of(&path);
        self.problems.push(Problem { place, path, message: message.into() });
    }

    pub(super) fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.wrong(path, message);
        }
    }

    fn positive(&mut self, value: u64, path: &str) {
        self.require(value > 0, path, "must be more than 0");
    }

    fn price(&mut self, dollars: f64, path: &str) {
        let fits = Price::from_dollars(dollars).is_some();
        self.require(fits, path, "must be a number of dollars that is not negative, and below 9000 a unit");
    }

    pub(super) fn header(&mut self, name: &str, path: &str) {
        let is_name = http::HeaderName::from_bytes(name.as_bytes()).is_ok();
        self.require(is_name, path, "must be the name of a header: letters, digits and -");
    }

    fn path(&mut self, route: &str, path: String) {
        if !route.starts_with('/') {
            self.wrong(path, "must be a path that starts with /");
        }
    }
}

fn listen(config: &Config, check: &mut Check<'_>) {
    let listen = &config.listen;
    let ports = [("grpc", listen.grpc), ("http", listen.http), ("ops", listen.ops)];
    for (index, (name, address)) in ports.iter().enumerate() {
        if let Some((other, _)) = ports[..index].iter().find(|(_, other)| collide(*other, *address)) {
            check.wrong(format!("listen.{name}"), format!("must not be the address of listen.{other} too"));
        }
    }
    let has_mtls = config.tls.grpc.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    let is_guarded = listen.grpc.ip().is_loopback() || has_mtls || !listen.grpc_clients.is_empty() || listen.insecure;
    check.require(
        is_guarded,
        "listen.grpc",
        "whoever reaches this port can read injected provider keys: set tls.grpc.client_ca or listen.grpc_clients, \
         listen on loopback, or set listen.insecure: true",
    );
    check.positive(u64::from(listen.max_concurrent_streams), "listen.max_concurrent_streams");
    check.positive(listen.max_pending_accept_reset_streams as u64, "listen.max_pending_accept_reset_streams");
    check.require(listen.max_header_list_size >= 1_024, "listen.max_header_list_size", "must be at least 1024 bytes");
    check.require(listen.max_message_size >= 64 * 1024, "listen.max_message_size", "must be at least 65536 bytes");
    check.require(listen.workers <= 1_024, "listen.workers", "must be at most 1024; 0 is one a core");
}

/// Whether two listeners cannot both have their address; port 0 is any free one.
fn collide(a: std::net::SocketAddr, b: std::net::SocketAddr) -> bool {
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
}

fn stores(config: &Config, check: &mut Check<'_>) {
    let directory = &config.directory;
    let url = directory.url.as_ref().map_or("sqlite://tollward.db", |url| url.expose());
    let file = url.strip_prefix("sqlite://");
    check.require(
        is_postgres(url) || file.is_some_and(|file| !file.is_empty()),
        "directory.url",
        "must be sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE (DATABASE_URL and \
         general_settings.database_url are read where directory.url is absent)",
    );
    let others = [("read_url", &directory.read_url), ("listen_url", &directory.listen_url)];
    for (name, other) in others.into_iter().filter_map(|(name, url)| url.as_ref().map(|url| (name, url))) {
        let path = format!("directory.{name}");
        check.require(is_postgres(other.expose()), &path, "must be postgres://USER:PASSWORD@HOST/DATABASE");
        check.require(is_postgres(url), &path, "needs a directory.url that leads to PostgreSQL too");
    }
    let is_plain = directory.prepared_statements == PreparedStatements::On;
    check.require(
        is_plain || is_postgres(url),
        "directory.prepared_statements",
        "off is for a pooler before PostgreSQL, and directory.url leads to SQLite",
    );
    check.require(
        is_plain || directory.listen_url.is_some(),
        "directory.listen_url",
        "must be set where prepared_statements is off: listening and locks need a way past the pooler",
    );
    check.require((1..=1_000).contains(&directory.pool_size), "directory.pool_size", "must be from 1 to 1000");
    let keeps_days = config.ledger.keep.is_none_or(|keep| keep.as_duration() >= MIN_KEEP);
    check.require(keeps_days, "ledger.keep", "must be at least 2d: records are still written a day late");
    let is_folder = config.ledger.spool.as_ref().is_none_or(|spool| spool.as_path() != Path::new(""));
    check.require(is_folder, "ledger.spool", "must name a folder");
    check.positive(directory.cache_size as u64, "directory.cache_size");
    let cache_ttl = config.general_settings.user_api_key_cache_ttl;
    let fits = cache_ttl.is_none_or(|seconds| seconds > 0 && seconds <= 86_400);
    check.require(fits, "general_settings.user_api_key_cache_ttl", "must be from 1 to 86400 seconds");
    let counters = &config.counters;
    let scheme = counters.url.as_ref().and_then(|url| url.expose().split_once("://")).map(|(scheme, _)| scheme);
    check.require(
        counters.url.is_none() || scheme.is_some_and(|scheme| COUNTERS.contains(&scheme)),
        "counters.url",
        &format!("must be memory:// or begin with one of {}://", COUNTERS[1..].join("://, ")),
    );
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    check.require(
        !counters.prefix.is_empty() && counters.prefix.chars().all(plain),
        "counters.prefix",
        "must be letters, digits and any of - _ . :",
    );
    check.require((1..=16_384).contains(&counters.shards), "counters.shards", "must be from 1 to 16384");
    check.require((1..=10_000).contains(&counters.timeout_ms), "counters.timeout_ms", "must be from 1 to 10000");
    check.positive(counters.max_holds as u64, "counters.max_holds");
}

fn quota_and_metering(config: &Config, check: &mut Check<'_>) {
    let quota = &config.quota;
    check.require(
        !(quota.cap_output && quota.reserve == Reserve::None),
        "quota.cap_output",
        "bounds what is held, and quota.reserve: none holds nothing; drop one of them",
    );
    check.positive(quota.default_output_tokens, "quota.default_output_tokens");
    check.require(quota.release_wait_ms <= 10_000, "quota.release_wait_ms", "must be at most 10000");
    let metering = &config.metering;
    check.positive(metering.max_decoded_bytes, "metering.max_decoded_bytes");
    if let UnknownModel::Price { input_cost_per_token, output_cost_per_token } = metering.unknown_model {
        check.price(input_cost_per_token, "metering.unknown_model.input_cost_per_token");
        check.price(output_cost_per_token, "metering.unknown_model.output_cost_per_token");
    }
    if let Unmeterable::Price { price } = metering.unmeterable {
        check.price(price, "metering.unmeterable.price");
    }
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&config.telemetry.log) {
        check
            .wrong("telemetry.log", format!("must be a level or levels by module, as in info,tollward=debug: {error}"));
    }
}

fn request(config: &Config, check: &mut Check<'_>) {
    let request = &config.request;
    let is_plain = |segment: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(plain)
    };
    let root = request.root_path.strip_prefix('/');
    check.require(
        request.root_path.is_empty() || root.is_some_and(|root| root.split('/').all(is_plain)),
        "request.root_path",
        "must be a path without encoded characters that starts with / and does not end with it, as /genai",
    );
    check.require((1..=512).contains(&request.max_json_depth), "request.max_json_depth", "must be from 1 to 512");
    check.positive(request.max_decoded_body as u64, "request.max_decoded_body");
    check.require(request.trusted_hops <= 32, "request.trusted_hops", "must be at most 32");
    for (index, origin) in request.cors_allow_origins.iter().enumerate() {
        let is_origin = origin == "*" || origin == "null" || (origin.contains("://") && !origin.ends_with('/'));
        let path = format!("request.cors_allow_origins[{index}]");
        check.require(is_origin, &path, "must be an origin as https://app.example.com, or *");
    }
}

fn tls(config: &Config, check: &mut Check<'_>) {
    for (name, tls) in [("grpc", &config.tls.grpc), ("http", &config.tls.http)] {
        let Some(tls) = tls else { continue };
        let files = [("cert", Some(&tls.cert)), ("key", Some(&tls.key)), ("client_ca", tls.client_ca.as_ref())];
        for (key, file) in files {
            let is_named = file.is_none_or(|file| file.as_path() != Path::new(""));
            check.require(is_named, &format!("tls.{name}.{key}"), "must name a file");
        }
    }
}

fn general(config: &Config, check: &mut Check<'_>) {
    let general = &config.general_settings;
    if !general.dangerously_permit_weak_or_unset_master_key {
        master_key(general.master_key.as_ref(), check);
    }
    for (index, entry) in general.allowed_ips.iter().enumerate() {
        if let Err(error) = AddressList::parse(std::slice::from_ref(entry)) {
            check.wrong(format!("general_settings.allowed_ips[{index}]"), error.to_string());
        }
    }
    for (name, routes) in
        [("allowed_routes", &general.allowed_routes), ("admin_only_routes", &general.admin_only_routes)]
    {
        for (index, route) in routes.iter().enumerate() {
            check.path(route, format!("general_settings.{name}[{index}]"));
        }
    }
    for (index, route) in general.public_routes.iter().enumerate() {
        if route.starts_with('*') || (route.contains('/') && !route.starts_with('/')) {
            let message = "must be a path that starts with /, or the name of a group as LiteLLMRoutes.public_routes";
            check.wrong(format!("general_settings.public_routes[{index}]"), message);
        }
    }
    for (index, endpoint) in general.pass_through_endpoints.iter().enumerate() {
        let path = format!("general_settings.pass_through_endpoints[{index}]");
        check.path(&endpoint.path, format!("{path}.path"));
        if let Some(cost) = endpoint.cost_per_request {
            check.price(cost, &format!("{path}.cost_per_request"));
        }
    }
    let names = [
        ("litellm_key_header_name", general.litellm_key_header_name.as_deref()),
        ("user_header_name", general.user_header_name.as_deref()),
    ];
    for (key, name) in names {
        if let Some(name) = name {
            check.header(name, &format!("general_settings.{key}"));
        }
    }
    for (index, mapping) in general.user_header_mappings.iter().enumerate() {
        check.header(&mapping.header_name, &format!("general_settings.user_header_mappings[{index}].header_name"));
    }
    let size_fits = general.max_request_size_mb.is_none_or(|size| size.is_finite() && size > 0.0);
    check.require(size_fits, "general_settings.max_request_size_mb", "must be more than 0");
    let cache_size = general.user_api_key_cache_max_size;
    check.require(cache_size != Some(0), "general_settings.user_api_key_cache_max_size", "must be more than 0");
}

fn master_key(key: Option<&Secret>, check: &mut Check<'_>) {
    let instead = "set TOLLWARD_MASTER_KEY to a long random text that starts with sk-";
    let path = "general_settings.master_key";
    match key.map(Secret::expose) {
        None | Some("") => check.wrong(path, format!("is not set; {instead}")),
        Some(key) if KNOWN_KEYS.contains(&key.to_ascii_lowercase().as_str()) => {
            check.wrong(path, format!("is a key that everybody knows; {instead}"));
        }
        Some(key) if key.chars().count() < MIN_MASTER_KEY => {
            check.wrong(path, format!("is shorter than {MIN_MASTER_KEY} characters; {instead}"));
        }
        Some(_) => {}
    }
}

fn litellm(config: &Config, check: &mut Check<'_>) {
    let litellm = &config.litellm_settings;
    let is_amount = litellm.max_budget >= Money::ZERO;
    check.require(is_amount, "litellm_settings.max_budget", "must not be negative; 0 is no limit");
    let user_budget = litellm.max_internal_user_budget.is_none_or(|budget| budget >= Money::ZERO);
    check.require(user_budget, "litellm_settings.max_internal_user_budget", "must not be negative");
    let status = litellm.budget_exceeded_status_code;
    let is_known = matches!(status, 400 | 402 | 422 | 429);
    check.require(is_known, "litellm_settings.budget_exceeded_status_code", "must be 400, 402, 422 or 429");
    if let Err(message) = Calendar::new(&litellm.timezone, "00:00") {
        check.wrong("litellm_settings.timezone", message);
    } else if let Err(message) = Calendar::new(&litellm.timezone, &litellm.budget_reset_time) {
        check.wrong("litellm_settings.budget_reset_time", message);
    }
    let share = litellm.budget_exceeded_throttle_percentage;
    let is_share = share.is_none_or(|share| share > 0.0 && share <= 1.0);
    let path = "litellm_settings.budget_exceeded_throttle_percentage";
    check.require(is_share, path, "must be more than 0 and at most 1");
    for (name, target) in &litellm.model_alias_map {
        let path = format!("litellm_settings.model_alias_map.{name}");
        check.require(!target.is_empty(), &path, "must name a model");
    }
}

fn models(config: &Config, check: &mut Check<'_>) {
    for (index, entry) in config.model_list.iter().enumerate() {
        let path = format!("model_list[{index}]");
        check.require(!entry.model_name.is_empty(), &format!("{path}.model_name"), "must name a model");
        prices(&entry.litellm_params.other, &format!("{path}.litellm_params"), check);
        prices(&entry.model_info.other, &format!("{path}.model_info"), check);
        let tokens = entry.model_info.default_output_tokens;
        check.require(tokens != Some(0), &format!("{path}.model_info.default_output_tokens"), "must be more than 0");
    }
}

/// Free parameters named as prices must be prices; tables of prices are read where they are used.
fn prices(params: &Map<String, Json>, path: &str, check: &mut Check<'_>) {
    for (name, value) in params.iter().filter(|(name, _)| name.contains("_cost_per_")) {
        let path = format!("{path}.{name}");
        match value {
            Json::Number(number) => check.price(number.as_f64().unwrap_or(f64::NAN), &path),
            Json::String(_) | Json::Bool(_) => check.wrong(path, "must be a number of dollars, without quotes"),
            Json::Null | Json::Array(_) | Json::Object(_) => {}
        }
    }
}
