//! An authoriser that is asked: its verdicts are kept, what many ask at once is asked once, every question is bounded in
//! time, and one that keeps failing is left alone.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::super::Ask;
use super::super::breaker::{Breaker, Opens};
use super::super::fetch::Fetch;
use super::super::outage::Outage;
use super::cache::{Key, Verdicts};
use super::connect::{self, Target};
use super::question::Question;
use super::verdict::{Trouble, Verdict};
use super::{grpc, webhook};
use crate::authz::Network;
use crate::config::{AuthoriserAddress, CustomAuth, General};
use crate::domain::{Denial, Trace};
use crate::flights::Flights;
use crate::uptime::Uptime;

/// A file of certificates is never this large.
const MAX_CA: u64 = 4 * 1024 * 1024;
/// Questions under way at a time.
pub(super) const QUESTIONS: usize = 256;
/// Questions under way and waiting for their turn: each holds a request, with its body where that is sent.
pub(super) const PLACES: usize = 1_024;
/// What a client can bring about is no failure, so half of the calls is a sign too.
const OPENS: Opens = Opens { in_a_row: 5, half_of: Some(20) };

/// See the module. It outlives a reload that does not change it.
pub(in crate::authn) struct Consultant {
    signature: Signature,
    pub(super) shown: String,
    authoriser: Authoriser,
    timeout: Duration,
    send_body: bool,
    verdicts: Verdicts,
    flights: Flights<Key, Result<Verdict, Trouble>>,
    pub(super) breaker: Breaker,
    outage: Outage,
    pub(super) places: Semaphore,
    pub(super) turns: Semaphore,
    pub(super) clock: Uptime,
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
    /// The authoriser of the configuration: the one that is kept where nothing of it changed.
    ///
    /// # Errors
    /// What is wrong with its address, its headers or the file of `ca`.
    pub(super) fn of(
        general: &General,
        endpoint: &str,
        clock: Uptime,
        kept: &mut Option<Arc<Consultant>>,
    ) -> Result<Arc<Consultant>, String> {
        let ca = general.custom_auth_settings.ca.as_deref().map(read_ca).transpose()?;
        let signature = Signature::of(general, endpoint, ca);
        let consultant = match kept.take() {
            Some(consultant) if consultant.signature == signature => consultant,
            _ => Arc::new(Consultant::new(general, endpoint, signature, clock)?),
        };
        *kept = Some(Arc::clone(&consultant));
        Ok(consultant)
    }

    fn new(general: &General, endpoint: &str, signature: Signature, clock: Uptime) -> Result<Self, String> {
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
            signature,
            outage: Outage::of(format!("the custom authoriser at {shown}")),
            shown,
            authoriser,
            timeout,
            send_body: settings.send_body,
            verdicts: Verdicts::new(settings.cache_key.clone(), ttl, negative_ttl),
            flights: Flights::default(),
            breaker: Breaker::new(OPENS),
            places: Semaphore::new(PLACES),
            turns: Semaphore::new(QUESTIONS),
            clock,
        })
    }

    /// What it says of a request.
    ///
    /// # Errors
    /// 413 where it cannot be shown the body; 503 where it does not answer.
    pub(super) async fn verdict(
        self: &Arc<Self>,
        ask: &Ask<'_>,
        network: &Network,
        trace: &mut Trace,
    ) -> Result<Verdict, Denial> {
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

    /// Asks, where it is not left alone, and notes how that ended.
    async fn consult(&self, question: &Question) -> Result<Verdict, Trouble> {
        let found = self.put(question).await;
        let now = (self.clock)();
        match &found {
            Ok(_) => self.outage.answered(now),
            // Nothing was asked, on purpose.
            Err(Trouble::Open) => {}
            Err(trouble) => self.outage.failed(trouble, now),
        }
        found
    }

    async fn put(&self, question: &Question) -> Result<Verdict, Trouble> {
        let Ok(_place) = self.places.try_acquire() else { return Err(Trouble::Crowded) };
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
        if self.breaker.note(answered, (self.clock)()) {
            tracing::debug!(authoriser = %self.shown, "the custom authoriser keeps failing: it is asked once a second");
        }
        found
    }

    /// A place among the questions under way. Who waits longer for it than for an answer gets none.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Trouble> {
        match tokio::time::timeout(self.timeout, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Trouble::Busy),
        }
    }
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
