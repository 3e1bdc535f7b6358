//! Answers about tokens, kept by the SHA-256 of the whole token as long as they are good. Each token is asked about once
//! at a time, whoever waits; tokens that were refused are kept apart, so that guessed ones never push good ones out, and
//! failures are not kept: a server that fails again and again is left alone.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::Semaphore;

use super::super::breaker::{Breaker, Opens};
use super::super::digests::Digests;
use super::super::fetch::FetchError;
use super::super::outage::Outage;
use super::failure::Failure;
use super::mapping::{Good, Judged};
use super::refused;
use crate::authn::Assertion;
use crate::authn::jwt::MAX_TOKEN;
use crate::domain::{Denial, KeyHash, Secret, Timestamp, Trace};
use crate::flights::Flights;

/// What all answers that are kept may take, in bytes: tens of thousands of the usual ones.
const GOOD_BYTES: u64 = 64 * 1024 * 1024;
/// What one takes: so many times its text, read into members, and this besides.
const EXPANSION: u64 = 3;
const OVERHEAD: u64 = 1024;
const BAD_ENTRIES: usize = 16_384;
/// Questions under way at a time.
const QUESTIONS: usize = 128;
/// Failures in a row alone: many a server fails for a token that is none, and strangers may show as many as they like.
const OPENS: Opens = Opens { in_a_row: 3, half_of: None };
/// Requests on different threads read the clock at slightly different times; an entry from further ahead was made
/// before the clock was set back, and is not used.
const CLOCK_LEEWAY: i64 = 60_000;

/// How long answers are kept at most.
#[derive(Clone, Copy)]
pub(super) struct Lifetimes {
    pub good: Duration,
    pub bad: Duration,
}

/// An answer that is kept.
#[derive(Clone)]
struct Entry<T> {
    value: T,
    from: Timestamp,
    until: Timestamp,
    weight: u64,
}

impl<T: Clone> Entry<T> {
    fn value(&self, now: Timestamp) -> Option<T> {
        let is_good = self.from <= now.plus_millis(CLOCK_LEEWAY) && now < self.until;
        is_good.then(|| self.value.clone())
    }
}

#[derive(Clone)]
struct Weights;

impl Weighter<KeyHash, Entry<Arc<Assertion>>> for Weights {
    fn weight(&self, _: &KeyHash, entry: &Entry<Arc<Assertion>>) -> u64 {
        entry.weight
    }
}

/// What a question came to.
type Outcome = Result<Result<Arc<Assertion>, Arc<Denial>>, Failure>;

/// See the module.
pub(super) struct Answers {
    inner: Arc<Inner>,
}

struct Inner {
    /// Who is asked, for logs and explanations.
    server: String,
    patience: Duration,
    lifetimes: Lifetimes,
    good: Cache<KeyHash, Entry<Arc<Assertion>>, Weights>,
    digests: Digests,
    bad: Cache<KeyHash, Entry<Arc<Denial>>>,
    flights: Flights<KeyHash, Outcome>,
    questions: Semaphore,
    breaker: Breaker,
    outage: Outage,
    began: Instant,
}

impl Answers {
    /// A question takes at most `patience`.
    pub fn new(server: String, patience: Duration, lifetimes: Lifetimes) -> Answers {
        let usual = usize::try_from(GOOD_BYTES / (3 * OVERHEAD)).unwrap_or(BAD_ENTRIES);
        Answers {
            inner: Arc::new(Inner {
                outage: Outage::of(server.clone()),
                server,
                patience,
                lifetimes,
                good: Cache::with_weighter(usual, GOOD_BYTES, Weights),
                digests: Digests::default(),
                bad: Cache::new(BAD_ENTRIES),
                flights: Flights::default(),
                questions: Semaphore::new(QUESTIONS),
                breaker: Breaker::new(OPENS),
                began: Instant::now(),
            }),
        }
    }

    /// What is known of a token from before and still holds, without asking.
    pub fn at_hand(&self, token: &str, now: Timestamp) -> Option<Arc<Assertion>> {
        self.inner.digests.find(token, |hash| self.inner.good.get(hash)).and_then(|entry| entry.value(now))
    }

    /// Whose the token is: as it is known, else by asking.
    ///
    /// # Errors
    /// What was made of the answer; 503 where there is none.
    pub async fn get<F>(
        &self,
        token: &str,
        now: Timestamp,
        trace: &mut Trace,
        ask: impl FnOnce(Secret) -> F,
    ) -> Result<Arc<Assertion>, Denial>
    where
        F: Future<Output = Result<Judged, Failure>> + Send + 'static,
    {
        // What cannot be an access token (RFC 6749, appendix A.12) is not asked about.
        if token.len() > MAX_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(refused());
        }
        let inner = &self.inner;
        // The hash of a token, made as that of a key is.
        let hash = KeyHash::of(token);
        if let Some(assertion) = inner.good.get(&hash).and_then(|entry| entry.value(now)) {
            trace.step("oauth2", format_args!("{} answered a while ago", inner.server));
            return Ok(assertion);
        }
        if let Some(denial) = inner.bad.get(&hash).and_then(|entry| entry.value(now)) {
            trace.step("oauth2", format_args!("{} led to a refusal a while ago", inner.server));
            return Err((*denial).clone());
        }
        let asked = || {
            let (inner, asking) = (Arc::clone(inner), ask(Secret::new(token)));
            async move {
                let answer = inner.fly(asking).await;
                inner.land(hash, now, answer)
            }
        };
        let outcome = inner.flights.join(hash, asked).await;
        match outcome {
            Ok(answer) => {
                trace.step("oauth2", format_args!("{} answers", inner.server));
                answer.map_err(|denial| (*denial).clone())
            }
            Err(failure) => {
                trace.step("oauth2", format_args!("{} gives no answer: {failure}", inner.server));
                Err(failure.denial())
            }
        }
    }
}

#[cfg(test)]
impl Answers {
    /// Questions under way.
    pub fn under_way(&self) -> usize {
        self.inner.flights.count()
    }
}

impl Inner {
    /// Asks, within bounds of time and number, where the server is not left alone.
    async fn fly(&self, asking: impl Future<Output = Result<Judged, Failure>>) -> Result<Judged, Failure> {
        if !self.breaker.admits(self.millis()) {
            return Err(Failure::Resting);
        }
        let bounded = async {
            let Ok(_permit) = self.questions.acquire().await else { return Err(Failure::Busy) };
            tokio::time::timeout(self.patience, asking)
                .await
                .unwrap_or(Err(Failure::Fetch(FetchError::Timeout(self.patience))))
        };
        // Twice: who waited long for its turn has less of it for the answer.
        tokio::time::timeout(2 * self.patience, bounded).await.unwrap_or(Err(Failure::Busy))
    }

    /// Keeps what was found.
    fn land(&self, hash: KeyHash, from: Timestamp, answer: Result<Judged, Failure>) -> Outcome {
        self.note(answer.as_ref().err());
        match answer {
            Ok(Ok(Good { assertion, until, bytes })) => {
                self.bad.remove(&hash);
                let kept_until = from.plus(self.lifetimes.good);
                let until = until.map_or(kept_until, |until| until.min(kept_until));
                let weight = bytes as u64 * EXPANSION + OVERHEAD;
                self.good.insert(hash, Entry { value: Arc::clone(&assertion), from, until, weight });
                Ok(Ok(assertion))
            }
            Ok(Err(denial)) => {
                self.good.remove(&hash);
                let denial = Arc::<Denial>::from(denial);
                let until = from.plus(self.lifetimes.bad);
                self.bad.insert(hash, Entry { value: Arc::clone(&denial), from, until, weight: 1 });
                Ok(Err(denial))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Notes how a question ended.
    fn note(&self, failure: Option<&Failure>) {
        let now = self.millis();
        match failure {
            None => {
                self.breaker.note(true, now);
                self.outage.answered(now);
            }
            // Nothing was asked.
            Some(Failure::Resting) => {}
            Some(failure) => {
                if failure.is_general() {
                    self.breaker.note(false, now);
                }
                self.outage.failed(failure, now);
            }
        }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
