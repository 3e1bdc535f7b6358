//! Custom authorisers: the operator's own say who calls. A service is asked, by Envoy's ext_authz or by a webhook: its word
//! is kept for a while, every question is bounded in time and size, and where it does not answer that is trouble of ours
//! (503), never a bad credential. Or an expression of the configuration tells, in place.

mod cache;
mod connect;
mod consultant;
mod fields;
mod grpc;
mod question;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verdict;
mod webhook;
mod written;

use std::sync::Arc;

use super::Ask;
use super::assertion::Assertion;
use super::kept::Kept;
use crate::authz::Network;
use crate::config::{Config, CustomAuthMode, CustomAuthoriser};
use crate::domain::{Denial, Trace};
use crate::uptime::{Uptime, uptime};
pub(super) use consultant::Consultant;
use verdict::Verdict;
use written::Written;

/// The authoriser of one configuration.
pub struct Custom {
    /// Whether its word is final (`mode: on`).
    is_final: bool,
    network: Network,
    judge: Judge,
}

enum Judge {
    Asked(Arc<Consultant>),
    Written(Box<Written>),
}

impl Custom {
    /// The authoriser of the configuration, where one is to be asked.
    ///
    /// # Errors
    /// What is wrong with its address, its headers or the file of `ca`, or with its expression.
    pub fn new(config: &Config, kept: &Kept) -> Result<Option<Custom>, String> {
        Custom::with_clock(config, kept, uptime())
    }

    fn with_clock(config: &Config, kept: &Kept, clock: Uptime) -> Result<Option<Custom>, String> {
        let general = &config.general_settings;
        let mut slot = kept.consultant.lock();
        let authoriser = general.custom_authoriser();
        if !matches!(authoriser, Some((CustomAuthoriser::Endpoint(_), _))) {
            *slot = None;
        }
        let Some((authoriser, mode)) = authoriser else { return Ok(None) };
        let judge = match authoriser {
            CustomAuthoriser::Endpoint(endpoint) => Judge::Asked(Consultant::of(general, endpoint, clock, &mut slot)?),
            CustomAuthoriser::Expression(expression) => Judge::Written(Box::new(Written::new(config, expression)?)),
        };
        let network = Network::new(config).map_err(|error| error.to_string())?;
        Ok(Some(Custom { is_final: mode == CustomAuthMode::On, network, judge }))
    }

    /// Whether nobody else is asked.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_final
    }

    /// Whom it names. `None` only where its word is not final: it lets the request pass and names nobody.
    ///
    /// # Errors
    /// What it refuses, with its status; 503 where it does not answer.
    pub async fn ask(&self, ask: &Ask<'_>, trace: &mut Trace) -> Result<Option<Arc<Assertion>>, Denial> {
        let (shown, verdict) = match &self.judge {
            Judge::Asked(consultant) => {
                (consultant.shown.as_str(), consultant.verdict(ask, &self.network, trace).await?)
            }
            Judge::Written(written) => {
                ("the expression", written.verdict(ask, self.network.client(ask.view.http), trace)?)
            }
        };
        match verdict {
            Verdict::Named(told) => {
                for (field, source) in &told.fields {
                    trace.step("custom_auth", format_args!("{field} is from {source}"));
                }
                Ok(Some(Arc::clone(&told.assertion)))
            }
            Verdict::Nobody => {
                trace.step("custom_auth", format_args!("{shown} names nobody"));
                if self.is_final { Err(verdict::nobody()) } else { Ok(None) }
            }
            Verdict::Refused(refusal) => {
                trace.step("custom_auth", format_args!("{shown} refuses it"));
                Err(refusal.denial())
            }
        }
    }
}

#[cfg(test)]
impl Custom {
    fn consultant(&self) -> &Consultant {
        match &self.judge {
            Judge::Asked(consultant) => consultant,
            Judge::Written(_) => panic!("nobody is asked"),
        }
    }
}
