//! Settings: the configuration, compiled for the path of a request.

use std::sync::Arc;

use super::defaults::DefaultKeyLimits;
use super::plans::Plans;
use super::shadow::Shadow;
use super::upstream::ProviderKeys;
use crate::authn::{
    Authenticator, Authenticators, Custom, IdentityHeaders, Jwt, Kept, MasterKey, Mtls, OAuth2, OpaqueTokens,
    ProxyHeaders, Resolver, SessionTokens, SignedHeaders, VirtualKeys,
};
use crate::authz::models::Catalog;
use crate::authz::{Network, Params, Policies, Routes};
use crate::config::Config;
use crate::directory::Directory;
use crate::domain::Calendar;
use crate::quota::Periods;
use crate::quota::session::SessionSettings;
use crate::request::ReadSettings;
use crate::spend::Prices;

/// One configuration, ready to answer requests with. Immutable: a reload makes a new one.
pub struct Settings {
    pub config: Arc<Config>,
    pub(super) read: ReadSettings,
    pub(super) authenticators: Authenticators,
    /// Kept from the upstream; `None` where none are read.
    pub(super) identity_headers: Option<Arc<IdentityHeaders>>,
    pub(super) network: Network,
    pub(super) routes: Routes,
    pub(super) params: Params,
    pub(super) catalog: Arc<Catalog>,
    pub(super) policies: Policies,
    pub(super) shadow: Shadow,
    pub(super) periods: Periods,
    pub(super) plans: Plans,
    pub(super) provider_keys: ProviderKeys,
    pub(super) default_key_limits: DefaultKeyLimits,
    pub session: SessionSettings,
}

impl Settings {
    /// The current budget periods.
    #[must_use]
    pub fn periods(&self) -> &Periods {
        &self.periods
    }

    pub(super) fn new(
        config: Arc<Config>,
        directory: &Arc<Directory>,
        prices: &Arc<Prices>,
        kept: &Kept,
    ) -> Result<Self, String> {
        let litellm = &config.litellm_settings;
        let mut list: Vec<Box<dyn Authenticator>> = Vec::new();
        let master = config.general_settings.master_key.clone().filter(|key| !key.is_empty()).map(MasterKey::new);
        list.push(Box::new(VirtualKeys::new(Arc::clone(directory))));
        if config.general_settings.enable_jwt_auth {
            list.push(Box::new(Jwt::new(&config.general_settings, kept)?));
            list.extend(boxed(OpaqueTokens::of(&config.general_settings)?));
        }
        list.extend(boxed(OAuth2::of(&config.general_settings, kept)?));
        let lookup = Arc::clone(prices);
        let provider = move |model: &str| {
            let price = lookup.current().find(model).filter(|price| !price.is_unknown())?;
            Some(price.provider().unwrap_or_default().into())
        };
        let catalog = Arc::new(Catalog::new(&config, Arc::new(provider)));
        let mut around: Vec<Box<dyn Authenticator>> = Vec::new();
        if !config.identity.mtls.is_empty() {
            around.push(Box::new(Mtls::new(&config.identity.mtls)?));
        }
        let signed = SignedHeaders::of(&config.identity.signed_headers, &config.general_settings, kept)?;
        let mut signed_names: Vec<String> = Vec::new();
        for header in signed {
            signed_names.push(header.header().to_owned());
            around.push(Box::new(header));
        }
        let proxy = ProxyHeaders::new(&config.general_settings)?;
        let identity_headers = IdentityHeaders::keep(proxy.as_ref().map(ProxyHeaders::headers), signed_names);
        around.extend(boxed(proxy));
        let authenticators = Authenticators {
            master,
            session: config
                .identity
                .session
                .enabled
                .then(|| SessionTokens::new(&config.identity.session, Arc::clone(directory))),
            custom: Custom::new(&config, kept)?,
            shown: list,
            around,
            resolver: Resolver::new(&config, Arc::clone(directory), Arc::clone(&catalog)),
        };
        Ok(Settings {
            read: ReadSettings::new(&config),
            authenticators,
            identity_headers,
            network: Network::new(&config).map_err(|error| error.to_string())?,
            routes: Routes::new(&config),
            params: Params::new(&config),
            catalog,
            policies: Policies::new(&config.policy).map_err(|(path, message)| format!("{path}: {message}"))?,
            shadow: Shadow::of(&config.shadow),
            periods: Periods::new(Calendar::new(&litellm.timezone, &litellm.budget_reset_time)?),
            plans: Plans::new(config.directory.cache_size),
            provider_keys: ProviderKeys::of(&config.model_list),
            default_key_limits: DefaultKeyLimits::of(&config.model_list),
            session: SessionSettings {
                ask_for_usage: config.metering.ask_for_usage,
                cap_output: config.quota.cap_output,
                max_decoded_bytes: config.metering.max_decoded_bytes,
                token_rate_limit_type: config.general_settings.token_rate_limit_type,
            },
            config,
        })
    }
}

fn boxed<A: Authenticator + 'static>(authenticator: Option<A>) -> Option<Box<dyn Authenticator>> {
    authenticator.map(|authenticator| Box::new(authenticator) as Box<dyn Authenticator>)
}
