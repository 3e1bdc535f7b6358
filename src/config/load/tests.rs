use proptest::strategy::Strategy;

use super::*;
use crate::config::{RateLimitsWithout, SignedHeaderKind, Unmeterable, pages};
use crate::domain::Money;

const KEY: &str = "general_settings: {master_key: sk-0123456789}\n";

fn env(name: &str) -> Option<String> {
    match name {
        "KEY" => Some("sk-from-the-environment".to_owned()),
        "SECRET" => Some("hunter2-hunter2".to_owned()),
        "NUMBER" => Some("42".to_owned()),
        "MONEY" => Some("12.5".to_owned()),
        "PRICE" => Some("1e-6".to_owned()),
        "SWITCH" => Some("true".to_owned()),
        "CHOICE" => Some("allow".to_owned()),
        "EVIL" => Some("x\nlisten: {grpc: 0.0.0.0:1}".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "t.yaml", &env).map(|(config, _)| config).map_err(|error| error.to_string())
}

#[test]
fn the_environment_stands_in_for_texts_numbers_switches_and_choices() {
    let config = parse(
        "general_settings: {master_key: os.environ/KEY, enforce_user_param: '${SWITCH}', max_request_size_mb: os.environ/NUMBER}\n\
         litellm_settings: {max_budget: os.environ/MONEY, timezone: '${ZONE:-Asia/Tokyo}'}\n\
         quota: {max_waiting: '${NUMBER}', on_counter_failure: {rate_limits: '${CHOICE}'}}\n\
         metering: {unmeterable: {price: os.environ/MONEY}}\n\
         model_list: [{model_name: m, litellm_params: {input_cost_per_token: os.environ/PRICE}}]\n",
    )
    .unwrap();
    assert_eq!(config.general_settings.master_key.unwrap().expose(), "sk-from-the-environment");
    assert!(config.general_settings.enforce_user_param);
    assert_eq!(config.general_settings.max_request_size_mb, Some(42.0));
    assert_eq!(config.litellm_settings.max_budget, Money::nanos(12_500_000_000));
    assert_eq!(config.litellm_settings.timezone, "Asia/Tokyo");
    assert_eq!(config.quota.max_waiting, 42);
    assert_eq!(config.quota.on_counter_failure.rate_limits, RateLimitsWithout::Allow);
    assert_eq!(config.metering.unmeterable, Unmeterable::Price { price: 12.5 });
    assert_eq!(config.model_list[0].litellm_params.other["input_cost_per_token"], 1e-6);
}

#[test]
fn what_a_variable_holds_is_only_ever_a_value() {
    let config = parse(&format!("{KEY}telemetry: {{log: info}}\nmodel_list: [{{model_name: '${{EVIL}}'}}]\n")).unwrap();
    assert!(config.listen.grpc.ip().is_loopback());
    assert!(config.model_list[0].model_name.contains("0.0.0.0"));
}

#[test]
fn each_mistake_is_told_with_its_line_and_what_to_write() {
    for (text, parts) in [
        ("quota: {cap_outptu: true}\n", &["t.yaml:1:9", "quota.cap_outptu", "did you mean cap_output?"][..]),
        ("lisen: {}\n", &["t.yaml:1:1", "did you mean listen?"]),
        ("quota:\n  cap_output: maybe\n", &["t.yaml:2:15", "quota.cap_output", "true or false"]),
        ("quota:\n  max_waiting: -1\n", &["t.yaml:2:16", "whole number"]),
        ("quota: {reserve: some}\n", &["quota.reserve", "worst_case, none"]),
        ("listen: {grpc: nowhere}\n", &["listen.grpc", "an address with a port", "127.0.0.1:9001"]),
        ("listen: {grpc_clients: [10.0.0.0/8, x]}\n", &["listen.grpc_clients[1]", "10.0.0.0/8"]),
        ("directory: {cache_ttl: 5 minutes}\n", &["directory.cache_ttl", "30d"]),
        ("metering: {unknown_model: perhaps}\n", &["metering.unknown_model", "deny"]),
        ("listen: [1]\n", &["t.yaml:1:9", "a section of keys", "a list"]),
        ("quota: {}\nquota: {}\n", &["t.yaml:2:1", "the key quota stands twice"]),
        ("quota: [\n", &["t.yaml:"]),
        ("model_list:\n  - litellm_params: {}\n", &["t.yaml:2:5", "model_list[0]", "model_name is missing"]),
        ("telemetry: {log: '${MISSING}'}\n", &["t.yaml:1:18", "telemetry.log", "MISSING is not set"]),
        ("general_settings: {custom_sso: a.b}\n", &["general_settings.custom_sso", "not supported"]),
        ("general_settings: {max_request_size: 1}\n", &["did you mean max_request_size_mb?"]),
        ("tls: {grpc: {cert: a.pem}}\n", &["tls.grpc", "key is missing"]),
    ] {
        let error = parse(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{text:?} lacks {part:?}: {error}");
        }
    }
}

#[test]
fn bad_values_and_contradictions_are_told_all_at_once() {
    for (text, path) in [
        ("listen: {http: 127.0.0.1:9001}", "listen.http"),
        ("listen: {ops: 0.0.0.0:9002}", "listen.ops"),
        ("listen: {grpc: 0.0.0.0:9001}", "listen.grpc"),
        ("directory: {url: mysql://db/x}", "directory.url"),
        ("directory: {read_url: postgres://db/x}", "directory.read_url"),
        ("directory: {listen_url: postgres://db/x}", "directory.listen_url"),
        ("directory: {url: postgres://db/x, read_url: sqlite://x}", "directory.read_url"),
        ("directory: {prepared_statements: off}", "directory.prepared_statements"),
        ("directory: {url: postgres://db/x, prepared_statements: off}", "directory.listen_url"),
        ("directory: {pool_size: 0}", "directory.pool_size"),
        ("ledger: {keep: 1d}", "ledger.keep"),
        ("counters: {url: mysql://x}", "counters.url"),
        ("counters: {max_holds: 0}", "counters.max_holds"),
        ("counters: {prefix: 'a*'}", "counters.prefix"),
        ("quota: {cap_output: true, reserve: none}", "quota.cap_output"),
        ("metering: {unknown_model: {input_cost_per_token: -1, output_cost_per_token: 0}}", "metering.unknown_model"),
        ("metering: {unmeterable: {price: 1e9}}", "metering.unmeterable.price"),
        ("request: {max_json_depth: 0}", "request.max_json_depth"),
        ("request: {root_path: genai}", "request.root_path"),
        ("request: {root_path: /genai/}", "request.root_path"),
        ("request: {root_path: /a/../b}", "request.root_path"),
        ("request: {cors_allow_origins: [example.com]}", "request.cors_allow_origins[0]"),
        ("telemetry: {log: 'a=b=c'}", "telemetry.log"),
        ("litellm_settings: {budget_exceeded_status_code: 500}", "litellm_settings.budget_exceeded_status_code"),
        ("litellm_settings: {timezone: Mars/Olympus}", "litellm_settings.timezone"),
        ("litellm_settings: {budget_reset_time: '25:00'}", "litellm_settings.budget_reset_time"),
        ("litellm_settings: {max_budget: -1}", "litellm_settings.max_budget"),
        ("litellm_settings: {budget_exceeded_throttle_percentage: 2}", "litellm_settings.budget_exceeded_throttle"),
        ("model_list: [{model_name: ''}]", "model_list[0].model_name"),
        (
            "model_list: [{model_name: m, model_info: {input_cost_per_token: -1}}]",
            "model_list[0].model_info.input_cost",
        ),
        (
            "model_list: [{model_name: m, litellm_params: {output_cost_per_token: '1'}}]",
            "model_list[0].litellm_params.out",
        ),
    ] {
        let error = parse(&format!("{KEY}{text}\n")).unwrap_err();
        assert!(error.contains("t.yaml:2:") && error.contains(path), "{text}: {error}");
    }
    for (general, path) in [
        ("allowed_ips: [10.0.0.1, 10.0.0.0/99]", "general_settings.allowed_ips[1]"),
        ("allowed_routes: [v1/models]", "general_settings.allowed_routes[0]"),
        ("public_routes: ['*']", "general_settings.public_routes[0]"),
        ("pass_through_endpoints: [{path: x}]", "general_settings.pass_through_endpoints[0].path"),
        ("user_header_name: 'a b'", "general_settings.user_header_name"),
        ("max_request_size_mb: 0", "general_settings.max_request_size_mb"),
        (
            "jwt_public_key_url: 'https://a.example/k, http://b.example/k'\n  jwt_audience: a\n  enable_jwt_auth: true",
            "general_settings.jwt_public_key_url",
        ),
        (
            "litellm_jwtauth: {issuers: [{issuer: a, audience: b, jwks_url: 'http://c.example/k'}]}",
            "general_settings.litellm_jwtauth.issuers[0].jwks_url",
        ),
    ] {
        let error = parse(&format!("general_settings:\n  master_key: sk-0123456789\n  {general}\n")).unwrap_err();
        assert!(error.contains("t.yaml:3:") && error.contains(path), "{general}: {error}");
    }
    let error = parse("counters: {max_holds: 0}\ndirectory: {cache_size: 0}\n").unwrap_err();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn a_master_key_that_can_be_guessed_is_refused_unless_the_danger_is_named() {
    for key in ["", "master_key: ''", "master_key: sk-1234", "master_key: SK-1234", "master_key: sk-abc"] {
        let error = parse(&format!("general_settings: {{{key}}}\n")).unwrap_err();
        assert!(
            error.contains("general_settings.master_key") && error.contains("TOLLWARD_MASTER_KEY"),
            "{key}: {error}"
        );
        assert!(!error.contains("sk-abc"), "{error}");
        let separator = if key.is_empty() { "" } else { ", " };
        let permit = "dangerously_permit_weak_or_unset_master_key: true";
        assert!(parse(&format!("general_settings: {{{key}{separator}{permit}}}\n")).is_ok(), "{key}");
    }
}

#[test]
fn the_environment_alone_can_configure() {
    let load = |pairs: &[(&str, &str)]| {
        let env = |name: &str| pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Config::load(None, &env).map(|(config, _)| config).map_err(|error| error.to_string())
    };
    let key = |config: Config| config.general_settings.master_key.unwrap().expose().to_owned();
    assert_eq!(key(load(&[("LITELLM_MASTER_KEY", "sk-litellm-one")]).unwrap()), "sk-litellm-one");
    let both = [("LITELLM_MASTER_KEY", "sk-litellm-one"), ("TOLLWARD_MASTER_KEY", "sk-tollward-one")];
    assert_eq!(key(load(&both).unwrap()), "sk-tollward-one");
    let url =
        load(&[("TOLLWARD_MASTER_KEY", "sk-tollward-one"), ("DATABASE_URL", "sqlite://a.db")]).unwrap().directory.url;
    assert_eq!(url.unwrap().expose(), "sqlite://a.db");
    assert!(load(&[]).unwrap_err().starts_with("configuration: general_settings.master_key"));
}

#[test]
fn no_message_shows_what_a_variable_holds() {
    for text in [
        "quota: {max_waiting: '${SECRET}'}\n",
        "directory: {cache_ttl: '${SECRET}'}\n",
        "quota: {reserve: '${SECRET}'}\n",
        "listen: {grpc: os.environ/SECRET}\n",
        "metering: {unknown_model: os.environ/SECRET}\n",
        "listen: os.environ/SECRET\n",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = parse("directory: {cache_ttl: '${SECRET}'}\n").unwrap_err();
    assert!(error.contains("variable SECRET"), "{error}");
    assert!(!parse("directory: {url: 'mysql://me:hunter2@db/x'}\n").unwrap_err().contains("hunter2"));
}

#[test]
fn keys_of_litellm_that_are_not_ours_are_named_once() {
    let text = format!("{KEY}router_settings: {{a: os.environ/MISSING}}\nlitellm_settings: {{drop_params: true}}\n");
    let (_, warnings) = Config::parse(&text, "t.yaml", &env).unwrap();
    assert_eq!(warnings.len(), 1);
    let text = warnings[0].to_string();
    assert!(text.contains("router_settings") && text.contains("litellm_settings.drop_params"), "{text}");
}

#[test]
fn litellms_names_fill_ours() {
    let config = parse(
        "general_settings: {master_key: sk-0123456789, user_api_key_cache_ttl: 5, user_api_key_cache_max_size: 7, \
         use_x_forwarded_for: true, database_url: 'sqlite://x.db'}\n\
         litellm_settings: {max_internal_user_budget: 5, internal_user_budget_duration: 30d}\n",
    )
    .unwrap();
    assert_eq!(config.directory.cache_ttl, BudgetDuration::seconds(5));
    assert_eq!(config.directory.cache_size, 7);
    assert_eq!(config.directory.url.unwrap().expose(), "sqlite://x.db");
    assert_eq!(config.request.trusted_hops, 1);
    let user = config.litellm_settings.default_internal_user_params;
    assert_eq!((&user["max_budget"], &user["budget_duration"]), (&Json::from(5.0), &Json::from("30d")));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Some(Path::new("/nowhere/tollward.yaml")), &env).unwrap_err().to_string();
    assert!(error.contains("/nowhere/tollward.yaml"), "{error}");
}

#[test]
fn sections_left_empty_are_empty() {
    assert!(parse(&format!("{KEY}model_list:\nquota:\nlitellm_settings:\n")).is_ok());
}

#[test]
fn a_file_written_for_litellm_loads() {
    let text = r#"
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://example.openai.azure.com/
      api_key: os.environ/SECRET
      api_version: "2025-01-01-preview"
      rpm: 6
    model_info:
      id: one
      mode: chat
      base_model: azure/gpt-4o
      access_groups: ["beta-models"]
      input_cost_per_token: 0.0000025
  - model_name: "anthropic/*"
    litellm_params: {model: "anthropic/*", api_key: os.environ/SECRET}
litellm_settings:
  drop_params: True
  callbacks: ["prometheus"]
  cache: true
  cache_params: {type: redis, host: os.environ/REDIS_HOST}
  max_budget: 100
  budget_duration: 30d
  upperbound_key_generate_params: {max_budget: 100, duration: "30d"}
  default_internal_user_params: {user_role: internal_user}
general_settings:
  master_key: os.environ/KEY
  alerting: ["slack"]
  store_model_in_db: true
  enable_jwt_auth: false
  proxy_batch_write_at: 60
  user_header_mappings:
    - {header_name: X-Customer, litellm_user_role: customer}
router_settings: {routing_strategy: simple-shuffle, redis_password: os.environ/REDIS_PASSWORD}
environment_variables: {A: b}
"#;
    let (config, warnings) = Config::parse(text, "config.yaml", &env).unwrap();
    assert_eq!(config.model_list[0].model_info.access_groups, ["beta-models"]);
    assert_eq!(config.litellm_settings.max_budget, Money::nanos(100_000_000_000));
    assert_eq!(warnings.len(), 1);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(
        parts in proptest::collection::vec(
            proptest::prop_oneof![
                proptest::sample::select(vec![
                    "quota:", "listen:", "model_list:", "general_settings:", " - ", "  ", "\n", "{", "}", "[", "]", "${KEY}",
                    "${", "os.environ/SECRET", "master_key: ", "grpc: ", "model_name: ", "1", "-1", "true", "~", "'", "\"", "&a ", "*a",
                    "<<: ", "? ", "| ", "!!str ", "tls: ", "directory: ", "cache_ttl: ",
                ]).prop_map(str::to_owned),
                "[ -~]{0,6}",
            ],
            0..24,
        )
    ) {
        if let Err(error) = parse(&parts.concat()) {
            proptest::prop_assert!(!error.contains("hunter2"), "{}", error);
        }
    }
}

#[test]
fn every_whole_configuration_in_the_documents_and_the_examples_loads() {
    assert_eq!(pages::load(include_str!("../../../docs/getting-started.md")).len(), 1);
    pages::load_one(include_str!("../../../deploy/tollward.yaml"));
}

#[test]
fn every_configuration_on_the_pages_about_identity_loads_as_written() {
    let [trusted_proxy] = &*pages::load(include_str!("../../../docs/trusted-proxy.md")) else { panic!("one") };
    assert!(trusted_proxy.general_settings.enable_oauth2_proxy_auth);
    let [mtls] = &*pages::load(include_str!("../../../docs/mtls.md")) else { panic!("one") };
    assert!(!mtls.identity.mtls.is_empty());
    let [all] = &*pages::load(include_str!("../../../docs/identity.md")) else { panic!("one") };
    let general = &all.general_settings;
    assert!(general.enable_jwt_auth && general.enable_oauth2_auth && general.enable_oauth2_proxy_auth);
    assert_eq!((all.identity.signed_headers.len(), all.identity.mtls.len()), (1, 1));
    let jwt = pages::load(include_str!("../../../docs/jwt.md"));
    assert_eq!(jwt.len(), 6);
    assert!(jwt.iter().all(|config| config.general_settings.enable_jwt_auth));
    use SignedHeaderKind::{AwsAlb, CloudflareAccess, GoogleIap, Jwt};
    let signed = pages::load(include_str!("../../../docs/signed-headers.md"));
    let kinds = signed.iter().flat_map(|config| &config.identity.signed_headers).map(|header| header.kind);
    assert_eq!(kinds.collect::<Vec<_>>(), [GoogleIap, AwsAlb, CloudflareAccess, Jwt]);
    // What is compiled from them can be used: claim paths, conditions, addresses of keys.
    for config in [all].into_iter().chain(&jwt).chain(&signed) {
        let kept = crate::authn::Kept::default();
        crate::authn::Jwt::new(&config.general_settings, &kept).unwrap();
        crate::authn::SignedHeaders::of(&config.identity.signed_headers, &config.general_settings, &kept).unwrap();
    }
}

#[test]
fn a_proxy_is_trusted_only_where_it_is_listed_and_maps_who_calls() {
    let parse = |general: &str| {
        parse(&format!(
            "general_settings:\n  master_key: sk-0123456789\n  enable_oauth2_proxy_auth: true\n  {general}\n"
        ))
    };
    let user = "oauth2_config_mappings: {user_id: X-User-Id}";
    assert!(parse(&format!("{user}\n  trusted_proxy_ranges: [10.0.0.0/8, 192.0.2.7]")).is_ok());
    assert!(parse(&format!("{user}\n  trusted_proxy_principals: [spiffe://a/b]")).is_ok());
    for (general, path) in [
        (user.to_owned(), "general_settings.enable_oauth2_proxy_auth"),
        (format!("{user}\n  trusted_proxy_ranges: []"), "general_settings.enable_oauth2_proxy_auth"),
        (format!("{user}\n  trusted_proxy_ranges: [10.0.0.0/99]"), "general_settings.trusted_proxy_ranges[0]"),
        (format!("{user}\n  trusted_proxy_ranges: [0.0.0.0/0]"), "general_settings.trusted_proxy_ranges[0]"),
        (format!("{user}\n  trusted_proxy_ranges: ['::/0']"), "general_settings.trusted_proxy_ranges[0]"),
        (format!("{user}\n  trusted_proxy_principals: ['*']"), "general_settings.trusted_proxy_principals[0]"),
        ("trusted_proxy_ranges: [10.0.0.0/8]".to_owned(), "general_settings.oauth2_config_mappings"),
        (
            "oauth2_config_mappings: {models: X-Models}\n  trusted_proxy_ranges: [10.0.0.0/8]".to_owned(),
            "general_settings.oauth2_config_mappings",
        ),
        ("oauth2_config_mappings: {token: X-Token}".to_owned(), "general_settings.oauth2_config_mappings.token"),
        ("oauth2_config_mappings: {metadata: X-M}".to_owned(), "general_settings.oauth2_config_mappings.metadata"),
    ] {
        let error = parse(&general).unwrap_err();
        assert!(error.contains(path), "{general}: {error}");
    }
}

#[test]
fn the_switches_of_postgresql_may_be_off() {
    let text = "general_settings: {master_key: sk-a-long-master-key}\n\
                directory: {url: postgresql://h/d, read_url: postgres://r/d, listen_url: postgres://l/d, migrate: off, \
                prepared_statements: off}\nledger: {keep: 90d, spool: /var/spool/tollward}\n";
    let (config, _) = Config::parse(text, "file", &|_| None).unwrap();
    assert_eq!(config.directory.migrate, crate::config::Migrate::Off);
    assert_eq!(config.directory.prepared_statements, crate::config::PreparedStatements::Off);
    assert_eq!(config.ledger.keep, Some("90d".parse().unwrap()));
}
