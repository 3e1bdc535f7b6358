//! Keys of LiteLLM that are not ours. What concerns no part of the gate is taken out and named once in a warning; what
//! would change who gets in, and is not built here, is an error: to drop it silently would open a door or close one.

use super::problem::{Problem, Problems};
use super::tree::{Node, Value};

/// Sections and keys that concern routing, caching, guardrails, logging and pages.
const IGNORED: &[(&str, &[&str])] = &[
    (
        "",
        &[
            "router_settings",
            "environment_variables",
            "guardrails",
            "mcp_servers",
            "mcp_settings",
            "mcp_tools",
            "vector_store_registry",
            "search_tools",
            "prompts",
            "policies",
            "policy_attachments",
            "files_settings",
            "finetune_settings",
            "batch_settings",
            "callback_settings",
            "assistant_settings",
            "credential_list",
            "agent_list",
            "worker_registry",
            "default_vertex_config",
        ],
    ),
    (
        "general_settings",
        &[
            "allow_user_auth",
            "completion_model",
            "infer_model_from_keys",
            "background_health_checks",
            "health_check_interval",
            "health_check_details",
            "health_check_concurrency",
            "use_shared_health_check",
            "alerting",
            "alert_types",
            "alerting_threshold",
            "alerting_args",
            "alert_to_webhook_url",
            "spend_report_frequency",
            "database_connection_pool_limit",
            "database_connection_timeout",
            "database_type",
            "database_args",
            "disable_prisma_schema_update",
            "disable_spend_logs",
            "disable_spend_updates",
            "disable_error_logs",
            "disable_adding_master_key_hash_to_db",
            "disable_reset_budget",
            "maximum_spend_logs_retention_period",
            "maximum_spend_logs_retention_interval",
            "maximum_spend_logs_cleanup_cron",
            "store_model_in_db",
            "store_prompts_in_spend_logs",
            "proxy_batch_write_at",
            "proxy_batch_polling_interval",
            "proxy_budget_rescheduler_min_time",
            "proxy_budget_rescheduler_max_time",
            "use_redis_transaction_buffer",
            "coordination_redis",
            "encryption_algorithm",
            "key_management_settings",
            "forward_client_headers_to_llm_api",
            "forward_openai_org_id",
            "pass_through_request_timeout",
            "ui_access_mode",
            "ui_theme_config",
            "include_call_id_in_error_body",
            "always_include_stream_usage",
            "enforce_fallback_budget",
            "enforce_fallback_model_access",
            "fail_closed_budget_enforcement",
            "fail_closed_rate_limit_enforcement",
            "disable_fallbacks_on_per_model_rate_limits",
            "max_parallel_requests",
            "max_in_flight_requests_per_worker",
            "max_queued_requests_per_worker",
            "admission_queue_timeout_seconds",
            "max_response_size_mb",
            "max_batch_file_size_mb",
            "max_batch_file_records",
            "max_batch_file_uploads_per_day",
            "max_file_downloads_per_minute",
            "disable_batch_input_file_rate_limiting",
            "skip_batch_input_file_rate_limiting_for_providers",
            "missing_session_id",
            "self_serve_budget_policy",
            "mcp_allowed_clients",
            "mcp_client_id_header",
            "mcp_trusted_proxy_ranges",
            "mcp_xff_num_trusted_hops",
            "mcp_require_explicit_server_scope",
            "mcp_internal_ip_ranges",
            "proxy_config_reload_interval",
            "supported_db_objects",
            "user_mcp_management_mode",
        ],
    ),
    (
        "litellm_settings",
        &[
            "drop_params",
            "modify_params",
            "set_verbose",
            "json_logs",
            "callbacks",
            "success_callback",
            "failure_callback",
            "service_callback",
            "audit_log_callbacks",
            "callback_settings",
            "langfuse_default_tags",
            "turn_off_message_logging",
            "redact_user_api_key_info",
            "redact_messages_in_exceptions",
            "cache",
            "cache_params",
            "default_redis_ttl",
            "default_redis_batch_cache_expiry",
            "enable_redis_auth_cache",
            "force_redis_hash_tag_grouping",
            "enable_caching_on_provider_specific_optional_params",
            "request_timeout",
            "force_ipv4",
            "ssl_verify",
            "ssl_certificate",
            "num_retries",
            "num_retries_per_request",
            "allowed_fails",
            "cooldown_time",
            "fallbacks",
            "default_fallbacks",
            "context_window_fallbacks",
            "content_policy_fallbacks",
            "model_group_settings",
            "public_model_groups",
            "public_agent_groups",
            "public_mcp_servers",
            "add_function_to_prompt",
            "enable_json_schema_validation",
            "enable_preview_features",
            "guardrails",
            "default_team_settings",
            "default_in_memory_ttl",
            "default_key_max_budget_alert_emails",
            "disable_end_user_cost_tracking",
            "disable_end_user_cost_tracking_prometheus_only",
            "disable_copilot_system_to_assistant",
            "disable_hf_tokenizer_download",
            "disable_add_prefix_to_prompt",
            "forward_traceparent_to_llm_provider",
            "log_auth_failure_key_identity",
            "enable_post_custom_auth_checks",
            "max_ui_session_budget",
            "max_end_user_budget",
            "prometheus_metrics_config",
            "prometheus_initialize_budget_metrics",
            "custom_prometheus_metadata_labels",
            "custom_prometheus_tags",
            "priority_reservation",
            "priority_reservation_settings",
            "cost_discount_config",
            "mcp_aliases",
            "s3_callback_params",
            "datadog_params",
            "extra_spend_tag_headers",
            "return_response_headers",
            "include_cost_in_streaming_usage",
            "upperbound_user_generate_params",
            "use_chat_completions_url_for_anthropic_messages",
            "require_auth_for_public_ai_hub",
        ],
    ),
];

/// Keys that would change who gets in or what they may spend, and what to do instead. Allowed where they are off.
const UNSUPPORTED: &[(&str, &[(&str, &str)])] = &[
    ("", &[("include", "put all settings into one file")]),
    (
        "general_settings",
        &[
            ("enable_oauth2_auth", "callers are known by virtual keys and the master key only"),
            ("custom_key_generate", "no custom code is run"),
            ("custom_key_update", "no custom code is run"),
            ("custom_key_policy", "no custom code is run"),
            ("custom_sso", "no custom code is run"),
            ("custom_ui_sso_sign_in_handler", "no custom code is run"),
            ("allow_requests_on_db_unavailable", "directory.stale_if_error keeps known keys working during an outage"),
            ("service_account_settings", "set enforced_params on the keys of service accounts"),
            ("request_tag_mappings", "no baggage is mapped to tags; set tags on keys"),
            ("key_management_system", "read secrets from environment variables or files mounted there"),
            ("vector_store_deny_by_default", "allow the routes of vector stores by allowed_routes of keys"),
            ("search_tool_deny_by_default", "allow the routes of search tools by allowed_routes of keys"),
            ("agent_access_default_deny", "allow the routes of agents by allowed_routes of keys"),
        ],
    ),
    (
        "litellm_settings",
        &[
            ("key_generation_settings", "limit who creates keys by roles"),
            ("tag_budget_config", "create tags with budgets in the directory"),
            ("budget_rollover", "budgets start anew each period"),
            ("enable_key_alias_format_validation", "write key_alias_pattern"),
        ],
    ),
];

/// Takes foreign keys out of the tree. Returns the paths of those that were ignored, and the problems.
pub fn take_out(tree: &mut Node) -> (Vec<String>, Problems) {
    let (mut ignored, mut problems) = (Vec::new(), Problems::default());
    for section in ["", "general_settings", "litellm_settings"] {
        let Some(entries) = entries_of(tree, section) else { continue };
        let (known, refused) = (keys_of(IGNORED, section), keys_of(UNSUPPORTED, section));
        entries.retain(|(key, node)| {
            let path = if section.is_empty() { key.name.clone() } else { format!("{section}.{}", key.name) };
            if let Some((_, instead)) = refused.iter().find(|(name, _)| *name == key.name) {
                if !node.is_off() {
                    let message = format!("is not supported yet, remove the key: {instead}");
                    problems.push(Problem { place: key.place, path, message });
                }
                return false;
            }
            let is_known = known.contains(&key.name.as_str());
            if is_known {
                ignored.push(path);
            }
            !is_known
        });
    }
    (ignored, problems)
}

fn keys_of<T: Copy + Default>(table: &[(&str, T)], section: &str) -> T {
    table.iter().find(|(name, _)| *name == section).map(|(_, keys)| *keys).unwrap_or_default()
}

fn entries_of<'a>(tree: &'a mut Node, section: &str) -> Option<&'a mut Vec<(super::tree::Key, Node)>> {
    let Value::Map(entries) = &mut tree.value else { return None };
    if section.is_empty() {
        return Some(entries);
    }
    let (_, node) = entries.iter_mut().find(|(key, _)| key.name == section)?;
    match &mut node.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_other_work_is_taken_out_and_named() {
        let text = "router_settings: {x: 1}\ngeneral_settings:\n  alerting: [slack]\n  allowed_ips: []\n";
        let mut tree = Node::parse(text).unwrap();
        let (ignored, problems) = take_out(&mut tree);
        assert_eq!(ignored, ["router_settings", "general_settings.alerting"]);
        assert!(problems.is_empty());
        assert!(tree.get("router_settings").is_none());
        assert_eq!(tree.get("general_settings").unwrap().entries().len(), 1);
    }

    #[test]
    fn what_would_change_who_gets_in_is_refused_unless_it_is_off() {
        let mut tree = Node::parse("general_settings:\n  enable_oauth2_auth: true\n  custom_sso: my.sso\n").unwrap();
        let (_, problems) = take_out(&mut tree);
        let told: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), problem.place.line)).collect();
        assert_eq!(told, [("general_settings.enable_oauth2_auth", 2), ("general_settings.custom_sso", 3)]);
        let mut tree = Node::parse("general_settings: {enable_oauth2_auth: false, custom_sso: null}").unwrap();
        assert_eq!(take_out(&mut tree), (vec![], Problems::default()));
    }
}
