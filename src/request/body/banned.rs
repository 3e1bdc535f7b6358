//! Parameters that clients may not send: they would choose where a provider's key is sent, which credential is used, or
//! what a call costs. The list is data; names are compared as the provider libraries spell them.

/// Names refused as they are.
const NAMES: &[&str] = &[
    // Destinations.
    "api_base",
    "base_url",
    "api_endpoint",
    "endpoint_url",
    "deployment_url",
    "sagemaker_base_url",
    "s3_endpoint_url",
    "model_list",
    "user_config",
    "litellm_credential_name",
    // Credentials.
    "api_key",
    "tenant_id",
    "client_id",
    "client_secret",
    "aad_token",
    "ad_token",
    "ad_token_provider",
    "oci_key",
    "oci_key_file",
    "oci_fingerprint",
    "oci_tenancy",
    "oci_user",
    "token_provider",
    "service_account",
    "service_account_json",
    "google_application_credentials",
    "workload_identity_provider",
    "private_key",
    // Credentials and destinations of log services.
    "gcs_bucket_name",
    "gcs_path_service_account",
    "slack_webhook_url",
    "webhook_url",
    "turn_off_message_logging",
    // Prices.
    "custom_pricing",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "tiered_pricing",
];

/// Families of names, by their beginning.
const FAMILIES: &[&str] = &[
    "aws_",
    "azure_",
    "vertex_",
    "sagemaker_",
    "s3_",
    "watsonx_",
    "langfuse_",
    "langsmith_",
    "arize_",
    "phoenix_",
    "posthog_",
    "braintrust_",
    "lunary_",
    "wandb_",
    "humanloop_",
    "helicone_",
    "datadog_",
    "dd_",
    "opik_",
    "literalai_",
    "logfire_",
    "galileo_",
];

/// Parts of names that are prices, whatever the unit: `input_cost_per_token`, `output_cost_per_second` …
const PRICES: &[&str] = &["_cost_per_", "_token_cost"];

/// References that a gateway would resolve to secrets of its own.
const REFERENCES: &[&str] = &["os.environ/", "oidc/"];

/// Fields that hold what people write; a reference in them is only text.
const PROSE: &[&str] =
    &["prompt", "input", "instructions", "system", "suffix", "query", "text", "content", "message", "user"];

/// Whether a parameter of this name is refused.
pub fn is_banned(name: &str) -> bool {
    // All of them are words joined by underscores; most parameters are one word.
    name.contains('_') && is_listed(name)
}

fn is_listed(name: &str) -> bool {
    NAMES.contains(&name)
        || FAMILIES.iter().any(|family| name.starts_with(family))
        || PRICES.iter().any(|part| name.contains(part))
}

/// Whether this value of this field would be resolved to a secret of the gateway.
pub fn is_reference(name: &str, value: &str) -> bool {
    REFERENCES.iter().any(|reference| value.starts_with(reference)) && !PROSE.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_family_and_price_holds_an_underscore_and_is_banned() {
        for name in NAMES.iter().chain(FAMILIES).chain(PRICES) {
            assert!(name.contains('_') && is_banned(name), "{name}");
        }
        for name in ["model", "messages", "max_tokens", "awsome", "cost"] {
            assert!(!is_banned(name), "{name}");
        }
    }
}
