//! Custom authorisers: a service of the operator's own says who calls, by Envoy's ext_authz or by a webhook. Its word is
//! kept for a while; every question is bounded in time and size; and where it does not answer that is trouble of ours
//! (503), never a bad credential.

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

use std::sync::Arc;
use std::time::Instant;

use super::Ask;
use super::assertion::Assertion;
use super::kept::Kept;
use crate::authz::Network;
use crate::config::{Config, CustomAuthMode};
use crate::domain::{Denial, Trace};
pub(super) use consultant::Consultant;
use verdict::Verdict;

/// Milliseconds that only go forward.
type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// The authoriser of one configuration.
pub struct Custom {
    /// Whether its word is final (`mode: on`).
    is_final: bool,
    network: Network,
    consultant: Arc<Consultant>,
}

impl Custom {
    /// The authoriser of the configuration, where one is to be asked.
    ///
    /// # Errors
    /// What is wrong with its address, its headers or the file of `ca`.
    pub fn new(config: &Config, kept: &Kept) -> Result<Option<Custom>, String> {
        Custom::with_clock(config, kept, clock())
    }

    fn with_clock(config: &Config, kept: &Kept, clock: Clock) -> Result<Option<Custom>, String> {
        let general = &config.general_settings;
        let mut slot = kept.consultant.lock();
        let Some((endpoint, mode)) = general.custom_authoriser() else {
            *slot = None;
            return Ok(None);
        };
        let consultant = Consultant::of(general, endpoint, clock, &mut slot)?;
        let network = Network::new(config).map_err(|error| error.to_string())?;
        Ok(Some(Custom { is_final: mode == CustomAuthMode::On, network, consultant }))
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
        let shown = &self.consultant.shown;
        match self.consultant.verdict(ask, &self.network, trace).await? {
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

fn clock() -> Clock {
    let start = Instant::now();
    Box::new(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}
