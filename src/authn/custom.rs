//! Custom authorisers: a service of the operator's own says who calls, by Envoy's ext_authz or by a webhook. Its word is
//! kept for a while; every question is bounded in time and size; and where it does not answer that is trouble of ours
//! (503), never a bad credential.

mod breaker;
mod cache;
mod connect;
mod fields;
mod grpc;
mod question;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod verdict;
mod webhook;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Ask;
use super::assertion::Assertion;
use super::fetch::Fetch;
use super::flight::Flights;
use super::kept::Kept;
use crate::authz::Network;
use crate::config::{AuthoriserAddress, Config, CustomAuth, CustomAuthMode, General};
use crate::domain::{Denial, Trace};
use breaker::Breaker;
use cache::{Key, Verdicts};
use connect::Target;
use question::Question;
use verdict::{Trouble, Verdict};

/// A file of certificates is never this large.
const MAX_CA: u64 = 4 * 1024 * 1024;

/// Questions under way at a time.
const QUESTIONS: usize = 256;
/// How often the log is told that there are too many, in milliseconds.
const BUSY_EVERY: u64 = 1_000;

/// Milliseconds that only go forward.
type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// The authoriser of one configuration.
pub struct Custom {
    /// Whether its word is final (`mode: on`).
    is_final: bool,
    network: Network,
    consultant: Arc<Consultant>,
}

/// An authoriser, its verdicts and how it does: what outlives a reload that does not change it.
pub(super) struct Consultant {
    config: Signature,
    shown: String,
    authoriser: Authoriser,
    timeout: Duration,
    send_body: bool,
    verdicts: Verdicts,
    flights: Flights<Key, Result<Verdict, Trouble>>,
    breaker: Breaker,
    turns: Semaphore,
    /// When the log may be told again that there are too many questions.
    busy_told_until: AtomicU64,
    clock: Clock,
}

/// All that makes an authoriser another one. It holds secrets and is only ever compared.
#[derive(PartialEq)]
struct Signature {
    text: String,
    headers: Vec<(String, String)>,
    ca: Option<Vec<u8>>,
}

enum Authoriser {
    Grpc(grpc::Service),
    Webhook(webhook::Webhook),
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
        let ca = general.custom_auth_settings.ca.as_deref().map(read_ca).transpose()?;
        let signature = Signature::of(general, endpoint, ca);
        let consultant = match slot.take() {
            Some(consultant) if consultant.config == signature => consultant,
            _ => Arc::new(Consultant::new(general, endpoint, signature, clock)?),
        };
        *slot = Some(Arc::clone(&consultant));
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

impl Signature {
    fn of(general: &General, endpoint: &str, ca: Option<Vec<u8>>) -> Self {
        let CustomAuth { timeout_ms, cache_ttl, negative_ttl, cache_key, send_body, .. } =
            &general.custom_auth_settings;
        let checks = general.custom_auth_run_common_checks;
        let headers = &general.custom_auth_settings.headers;
        Signature {
            text: format!(
                "{endpoint} {timeout_ms} {cache_ttl:?} {negative_ttl:?} {cache_key:?} {send_body} {checks:?}"
            ),
            headers: headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect(),
            ca,
        }
    }
}

impl Consultant {
    fn new(general: &General, endpoint: &str, signature: Signature, clock: Clock) -> Result<Self, String> {
        let settings = &general.custom_auth_settings;
        let timeout = Duration::from_millis(settings.timeout_ms);
        let is_unchecked = general.custom_auth_run_common_checks == Some(false);
        let ca = signature.ca.as_deref();
        let failed = |error: String| format!("general_settings.custom_auth_settings: {error}");
        let (shown, authoriser) = match AuthoriserAddress::parse(endpoint).map_err(failed)? {
            AuthoriserAddress::Grpc { host, port, tls } => {
                let shown = format!("{}://{host}:{port}", if tls { "grpcs" } else { "grpc" });
                let tls = if tls { Some(connect::tls(ca).map_err(failed)?) } else { None };
                let headers = settings.headers.iter().map(|(name, value)| (name.as_str(), value.expose()));
                let target = Target { host, port, tls, timeout };
                let service = grpc::Service::new(target, headers, is_unchecked).map_err(failed)?;
                (shown, Authoriser::Grpc(service))
            }
            AuthoriserAddress::Webhook(endpoint) => {
                let fetch = match ca {
                    Some(pem) => Fetch::trusting(timeout, pem),
                    None => Fetch::new(timeout),
                };
                let headers = settings.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                let shown = endpoint.to_string();
                let fetch = fetch.map_err(failed)?;
                (shown, Authoriser::Webhook(webhook::Webhook { endpoint, fetch, headers, is_unchecked }))
            }
        };
        // What a body says is not part of any key.
        let (ttl, negative_ttl) = if settings.send_body {
            Default::default()
        } else {
            (settings.cache_ttl.as_duration(), settings.negative_ttl.as_duration())
        };
        Ok(Consultant {
            config: signature,
            shown,
            authoriser,
            timeout,
            send_body: settings.send_body,
            verdicts: Verdicts::new(settings.cache_key.clone(), ttl, negative_ttl),
            flights: Flights::default(),
            breaker: Breaker::default(),
            turns: Semaphore::new(QUESTIONS),
            busy_told_until: AtomicU64::new(0),
            clock,
        })
    }

    async fn verdict(self: &Arc<Self>, ask: &Ask<'_>, network: &Network, trace: &mut Trace) -> Result<Verdict, Denial> {
        let client = network.client(ask.view.http);
        let key = self.verdicts.key(ask, client);
        if let Some(verdict) = key.as_ref().and_then(|key| self.verdicts.get(key, (self.clock)())) {
            trace.step("custom_auth", format_args!("{} was asked before, and its answer is kept", self.shown));
            return Ok(verdict);
        }
        let question = Question::of(ask, client, self.send_body)?;
        let found = match key {
            None => self.consult(&question).await,
            Some(key) => {
                let own = Arc::clone(self);
                self.flights.join(key, move || async move { own.consult_and_keep(key, &question).await }).await
            }
        };
        found.inspect(|_| trace.step("custom_auth", format_args!("{} was asked", self.shown))).map_err(|trouble| {
            trace.step("custom_auth", format_args!("{} is unavailable: {trouble}", self.shown));
            trouble.denial()
        })
    }

    async fn consult_and_keep(&self, key: Key, question: &Question) -> Result<Verdict, Trouble> {
        let at = (self.clock)();
        let verdict = self.consult(question).await?;
        self.verdicts.keep(key, at, verdict.clone());
        Ok(verdict)
    }

    /// A place among the questions under way. Who waits longer for it than for an answer gets none.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Trouble> {
        if let Ok(Ok(turn)) = tokio::time::timeout(self.timeout, self.turns.acquire()).await {
            return Ok(turn);
        }
        let now = (self.clock)();
        let until = self.busy_told_until.load(Ordering::Relaxed);
        let next = now.saturating_add(BUSY_EVERY);
        let claim = || self.busy_told_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed);
        if now >= until && claim().is_ok() {
            tracing::warn!(authoriser = %self.shown, "{QUESTIONS} questions to the custom authoriser are under way");
        }
        Err(Trouble::Busy)
    }

    async fn consult(&self, question: &Question) -> Result<Verdict, Trouble> {
        let _turn = self.turn().await?;
        if !self.breaker.admits((self.clock)()) {
            return Err(Trouble::Open);
        }
        let asking = async {
            match &self.authoriser {
                Authoriser::Grpc(service) => service.ask(question).await,
                Authoriser::Webhook(webhook) => webhook.ask(question).await,
            }
        };
        let found = tokio::time::timeout(self.timeout, asking).await.unwrap_or(Err(Trouble::Timeout(self.timeout)));
        let answered = found.as_ref().err().is_none_or(Trouble::is_answered);
        if let Err(trouble) = &found {
            tracing::warn!(authoriser = %self.shown, %trouble, "the custom authoriser does not say who calls");
        }
        if self.breaker.note(answered, (self.clock)()) {
            tracing::warn!(authoriser = %self.shown, "the custom authoriser keeps failing: it is asked once a second");
        }
        found
    }
}

fn clock() -> Clock {
    let start = Instant::now();
    Box::new(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    let failed = |error: &dyn std::fmt::Display| {
        format!("general_settings.custom_auth_settings.ca: {} cannot be read: {error}", path.display())
    };
    let mut pem = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| failed(&error))?;
    file.take(MAX_CA + 1).read_to_end(&mut pem).map_err(|error| failed(&error))?;
    if pem.len() as u64 > MAX_CA {
        return Err(failed(&"it is too large"));
    }
    Ok(pem)
}
