//! From the file to a [`Config`]: read, take out what is foreign, put the environment in, type, fill in, validate. All
//! of it or nothing; every complaint names its place.

use std::path::Path;

use serde_json::Value as Json;

use super::problem::{ConfigError, Problem, Problems, Warning};
use super::substitute::{Environment, substitute};
use super::tree::Node;
use super::{Config, General, UnknownModel, foreign, typed, validate};
use crate::domain::{BudgetDuration, Secret};

/// A configuration file is never this large; what is may be a mistaken path.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

impl Config {
    /// Reads and validates a file; without one, the defaults and the environment. Errors tell everything that is wrong,
    /// by file, line and column, and never show a secret.
    pub fn load(path: Option<&Path>, env: Environment<'_>) -> Result<(Config, Vec<Warning>), ConfigError> {
        match path {
            None => Config::parse("", "configuration", env),
            Some(path) => Config::parse(&read(path)?, &path.display().to_string(), env),
        }
    }

    /// Like [`Config::load`], from text; `file` is the name in messages.
    pub fn parse(text: &str, file: &str, env: Environment<'_>) -> Result<(Config, Vec<Warning>), ConfigError> {
        let invalid = |problems: Problems| ConfigError::Invalid { file: file.to_owned(), problems };
        let syntax = |error: super::tree::SyntaxError| {
            invalid(Problem { place: error.place, path: String::new(), message: error.message }.into())
        };
        let mut tree = Node::parse(text).map_err(syntax)?;
        let (ignored, mut problems) = foreign::take_out(&mut tree);
        problems.extend(substitute(&mut tree, env));
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let mut config: Config = typed::read(&tree).map_err(|problem| invalid(problem.into()))?;
        fill_in(&mut config, env);
        let problems = validate::validate(&config, &tree);
        if !problems.is_empty() {
            return Err(invalid(problems));
        }
        let warnings = if ignored.is_empty() {
            Vec::new()
        } else {
            let message = format!("these keys concern no part of the gate and are ignored: {}", ignored.join(", "));
            vec![Warning { file: file.to_owned(), message }]
        };
        Ok((config, warnings))
    }
}

/// The text of the file, bounded.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    use std::io::Read;
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.to_owned(), reason };
    let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut text = String::new();
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
    if read as u64 > MAX_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

/// The environment where the file is silent, and LiteLLM's names for our keys: after this, only ours need be read.
fn fill_in(config: &mut Config, env: Environment<'_>) {
    let set = |name: &str| env(name).filter(|value| !value.is_empty()).map(Secret::new);
    let general = &mut config.general_settings;
    if general.master_key.is_none() {
        general.master_key = set("TOLLWARD_MASTER_KEY").or_else(|| set("LITELLM_MASTER_KEY"));
    }
    if config.directory.url.is_none() {
        config.directory.url = general.database_url.clone().or_else(|| set("DATABASE_URL"));
    }
    if let Some(seconds) = general.user_api_key_cache_ttl.and_then(|seconds| u32::try_from(seconds).ok()) {
        config.directory.cache_ttl = BudgetDuration::seconds(seconds);
    }
    if let Some(size) = general.user_api_key_cache_max_size {
        config.directory.cache_size = size;
    }
    if general.use_x_forwarded_for {
        config.request.trusted_hops = config.request.trusted_hops.max(1);
    }
    jwt(general, env);
    super::oauth2::fill_in(general, env);
    let litellm = &mut config.litellm_settings;
    if litellm.block_requests_for_models_without_pricing {
        config.metering.unknown_model = UnknownModel::Deny;
    }
    let user = &mut litellm.default_internal_user_params;
    if let Some(budget) = litellm.max_internal_user_budget {
        user.entry("max_budget").or_insert_with(|| Json::from(budget.dollars()));
    }
    if let Some(duration) = litellm.internal_user_budget_duration {
        user.entry("budget_duration").or_insert_with(|| Json::from(duration.to_string()));
    }
}

/// LiteLLM's flat keys and its environment, put where the others are.
fn jwt(general: &mut General, env: Environment<'_>) {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    if general.jwt_public_key_url.is_none() {
        general.jwt_public_key_url = set("JWT_PUBLIC_KEY_URL");
    }
    if general.jwt_audience.0.is_empty() {
        general.jwt_audience.0.extend(set("JWT_AUDIENCE"));
    }
    if general.jwt_issuer.is_none() {
        general.jwt_issuer = set("JWT_ISSUER");
    }
    let jwt = &mut general.litellm_jwtauth;
    if let Some(scope) = &general.jwt_admin_scope {
        jwt.admin_jwt_scope.clone_from(scope);
    }
    if general.user_allowed_email_domain.is_some() {
        jwt.user_allowed_email_domain.clone_from(&general.user_allowed_email_domain);
    }
    jwt.enforce_rbac |= general.enforce_rbac;
}

#[cfg(test)]
mod tests;
