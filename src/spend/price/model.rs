//! The price of one model: what a usage costs, exactly, and what the dearest usage within a bound would cost.

use std::sync::Arc;

use super::rate::{Life, Rates, Tier, Unit};
use crate::domain::{Money, Price, Usage};

/// What a model costs and how much it may put out. Where several deployments share the model's name, the dearest of
/// them is held and the last given is booked.
#[derive(Clone, Debug)]
pub struct ModelPrice {
    pub(super) name: Arc<str>,
    pub(super) facts: Facts,
    pub(super) rates: Rates,
    /// Rates of further deployments of this name.
    pub(super) others: Vec<Rates>,
    pub(super) unknown: bool,
}

/// What a price list says of a model besides prices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) provider: Option<Box<str>>,
    pub(super) mode: Option<Box<str>>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) default_output_tokens: Option<u64>,
    pub(super) surcharges: Surcharges,
}

/// What the provider multiplies the price of all tokens with, in thousandths; `None` where it has no such surcharge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Surcharges {
    /// For answers at a higher speed.
    pub(super) fast: Option<u64>,
    /// For inference in the United States only.
    pub(super) us: Option<u64>,
}

impl Surcharges {
    /// What the price of tokens is multiplied with, in thousandths, where the surcharges of these names apply.
    fn told<'n>(self, names: impl Iterator<Item = &'n str>) -> u64 {
        let factor = |name| match name {
            "fast" => self.fast,
            "us" => self.us,
            _ => None,
        };
        names.filter_map(factor).fold(1_000, |all, factor| all * factor / 1_000)
    }

    /// The same where they may apply.
    fn most(self, is_fast: bool, is_regional: bool) -> u64 {
        let may = |factor: Option<u64>, comes: bool| factor.filter(|_| comes).unwrap_or(1_000).max(1_000);
        may(self.fast, is_fast) * may(self.us, is_regional) / 1_000
    }
}

/// The bounds of a request that is to be held: nothing it may use is more than this.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dearest<'a> {
    pub input_tokens: u64,
    /// For each choice.
    pub output_tokens: u64,
    pub choices: u64,
    pub images_out: u64,
    pub input_characters: u64,
    /// Audio or video, in or out. Where it is 0 the input holds no audio tokens.
    pub media_millis: u64,
    pub pages: u64,
    /// As asked for. Providers answer with this tier or the standard one; where none is asked for, with the standard
    /// one.
    pub service_tier: Option<&'a str>,
    /// Whether a higher speed is asked for.
    pub is_fast: bool,
    /// Whether the provider may keep inference in one region: the request or the provider's own settings decide.
    pub is_regional: bool,
}

impl ModelPrice {
    /// The name under which the book finds this price again.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.facts.provider.as_deref()
    }

    /// `chat`, `embedding`, `image_generation` …
    #[must_use]
    pub fn mode(&self) -> Option<&str> {
        self.facts.mode.as_deref()
    }

    /// Whether what it makes is images.
    #[must_use]
    pub fn makes_images(&self) -> bool {
        makes_images(self.mode())
    }

    /// Whether an image it makes is paid by the tokens of the image.
    #[must_use]
    pub fn is_paid_by_image_token(&self) -> bool {
        let row = Row { rates: &self.rates, tier: None, prompt_tokens: 0, mode: self.mode() };
        is_paid(row.output_image())
    }

    /// Tokens the model can put out for one choice.
    #[must_use]
    pub fn max_output_tokens(&self) -> Option<u64> {
        self.facts.max_output_tokens
    }

    /// Tokens to hold where a request has no cap of its own.
    #[must_use]
    pub fn default_output_tokens(&self) -> Option<u64> {
        self.facts.default_output_tokens
    }

    /// Whether no list names this model and the price is what the configuration gives to unknown ones.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// Priced 0 on purpose: every rate given is 0, and at least one is given. A model that no list names is not.
    #[must_use]
    pub fn is_free(&self) -> bool {
        let free = |rates: &Rates| !rates.is_empty() && rates.iter().all(|rate| rate.price.is_zero());
        !self.unknown && free(&self.rates) && self.others.iter().all(free)
    }

    /// Dollars per plain input token and per plain output token, for lists that people read.
    #[must_use]
    pub fn per_token(&self) -> (Option<Price>, Option<Price>) {
        let pick = |unit| self.rates.pick(unit, Life::Minutes, None, 0);
        (pick(Unit::InputToken), pick(Unit::OutputToken))
    }

    /// What a usage costs: exact in femto-dollars, rounded once. Parts are priced at their own rate where one is given,
    /// else at the base rate; parts that add up to more than their total are cut to it. Images are priced one by one
    /// unless the usage tells their tokens and those have a price.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Money {
        let tier = usage.service_tier.as_deref().and_then(Tier::parse);
        let row = Row { rates: &self.rates, tier, prompt_tokens: usage.input_tokens, mode: self.mode() };
        let mut bill = Bill::default();

        let mut input = Remainder(usage.input_tokens);
        bill.add(row.cache_write_1h(), input.take(usage.cache_write_1h_tokens));
        bill.add(row.cache_write(), input.take(usage.cache_write_tokens));
        bill.add(row.cache_read(), input.take(usage.cache_read_tokens));
        bill.add(row.input_audio(), input.take(usage.input_audio_tokens));
        bill.add(row.input_image(), input.take(usage.input_image_tokens));
        bill.add(row.input(), input.0);

        let mut output = Remainder(usage.output_tokens);
        bill.add(row.output_audio(), output.take(usage.output_audio_tokens));
        bill.add(row.output_image(), output.take(usage.output_image_tokens));
        bill.add(row.reasoning(), output.take(usage.reasoning_tokens));
        bill.add(row.output(), output.0);
        bill.multiply(self.facts.surcharges.told(usage.surcharges.iter().map(String::as_str)));

        bill.add_per_thousand(row.input_second(), usage.input_millis);
        bill.add_per_thousand(row.output_second(), usage.output_millis);
        bill.add(row.input_character(), usage.input_characters);
        bill.add(row.output_character(), usage.output_characters);
        if usage.output_image_tokens == 0 || !is_paid(row.output_image()) {
            bill.add(row.image_made(), usage.output_images);
        }
        bill.add(row.image_seen(), usage.input_images);
        bill.add(row.pick(Unit::Page), usage.pages);
        bill.add(row.search(), usage.searches);
        if !usage.is_empty() {
            bill.add(row.pick(Unit::Request), 1);
        }
        bill.total()
    }

    /// An upper bound of [`ModelPrice::cost`] over every usage within `ask`: over cache, audio, image and reasoning
    /// tokens, context thresholds, tiers and deployments the request could reach. Web searches have no bound and are
    /// not in it; a rerank is taken for one query.
    #[must_use]
    pub fn dearest(&self, ask: &Dearest<'_>) -> Money {
        let asked = ask.service_tier.and_then(Tier::parse);
        let tiers: &[Option<Tier>] = if asked.is_some() { &[None, asked] } else { &[None] };
        let surcharge = self.facts.surcharges.most(ask.is_fast, ask.is_regional);
        let mut dearest = Money::ZERO;
        for rates in std::iter::once(&self.rates).chain(&self.others) {
            for tier in tiers {
                let reached = rates.thresholds().iter().take_while(|above| **above < ask.input_tokens);
                for prompt_tokens in reached.copied().chain([ask.input_tokens]) {
                    let row = Row { rates, tier: *tier, prompt_tokens, mode: self.mode() };
                    dearest = dearest.max(row.dearest(ask, surcharge));
                }
            }
        }
        dearest
    }
}

/// The rates that apply to one request: its tier and prompt size are known.
struct Row<'a> {
    rates: &'a Rates,
    tier: Option<Tier>,
    prompt_tokens: u64,
    mode: Option<&'a str>,
}

impl Row<'_> {
    fn pick(&self, unit: Unit) -> Option<Price> {
        self.rates.pick(unit, Life::Minutes, self.tier, self.prompt_tokens)
    }

    fn input(&self) -> Option<Price> {
        self.pick(Unit::InputToken)
    }

    fn output(&self) -> Option<Price> {
        self.pick(Unit::OutputToken)
    }

    fn cache_read(&self) -> Option<Price> {
        self.pick(Unit::CacheReadToken).or_else(|| self.input())
    }

    fn cache_write(&self) -> Option<Price> {
        self.pick(Unit::CacheWriteToken).or_else(|| self.input())
    }

    fn cache_write_1h(&self) -> Option<Price> {
        let lasting = |life| self.rates.pick(Unit::CacheWriteToken, life, self.tier, self.prompt_tokens);
        lasting(Life::Hour).or_else(|| lasting(Life::HalfDay)).or_else(|| self.cache_write())
    }

    fn input_audio(&self) -> Option<Price> {
        self.pick(Unit::InputAudioToken).or_else(|| self.input())
    }

    fn input_image(&self) -> Option<Price> {
        self.pick(Unit::InputImageToken).or_else(|| self.input())
    }

    fn output_audio(&self) -> Option<Price> {
        self.pick(Unit::OutputAudioToken).or_else(|| self.output())
    }

    fn output_image(&self) -> Option<Price> {
        self.pick(Unit::OutputImageToken).or_else(|| self.output())
    }

    fn reasoning(&self) -> Option<Price> {
        self.pick(Unit::ReasoningToken).or_else(|| self.output())
    }

    /// Lists give the price of transcribed seconds as input, as output or as both; it is paid once.
    fn input_second(&self) -> Option<Price> {
        let input = self.pick(Unit::InputSecond);
        if self.mode == Some("audio_transcription") { input.max(self.pick(Unit::OutputSecond)) } else { input }
    }

    fn output_second(&self) -> Option<Price> {
        self.pick(Unit::OutputSecond)
    }

    /// Lists that give a price of characters and one of tokens mean the same text. Speech is paid by characters.
    fn input_character(&self) -> Option<Price> {
        self.pick(Unit::InputCharacter).filter(|_| self.mode == Some("audio_speech") || !is_paid(self.input()))
    }

    fn output_character(&self) -> Option<Price> {
        self.pick(Unit::OutputCharacter).filter(|_| self.mode == Some("audio_speech") || !is_paid(self.output()))
    }

    /// Lists of image models give the price of an image made as output or as input.
    fn image_made(&self) -> Option<Price> {
        let made = self.pick(Unit::OutputImage);
        if makes_images(self.mode) { made.max(self.pick(Unit::InputImage)) } else { made }
    }

    fn image_seen(&self) -> Option<Price> {
        if makes_images(self.mode) { None } else { self.pick(Unit::InputImage) }
    }

    fn search(&self) -> Option<Price> {
        if self.mode == Some("rerank") {
            self.pick(Unit::Query)
        } else {
            self.pick(Unit::Search).or_else(|| self.pick(Unit::Query))
        }
    }

    fn dearest(&self, ask: &Dearest<'_>, surcharge: u64) -> Money {
        let input_audio = if ask.media_millis > 0 { self.input_audio() } else { None };
        let input = self.input().max(self.cache_read()).max(self.cache_write()).max(self.cache_write_1h());
        let input = input.max(input_audio).max(self.input_image());
        let output = self.output().max(self.reasoning()).max(self.output_audio()).max(self.output_image());
        let mut bill = Bill::default();
        bill.add(input, self.prompt_tokens);
        bill.add(output, ask.output_tokens.saturating_mul(ask.choices.max(1)));
        bill.multiply(surcharge);
        bill.add_per_thousand(self.input_second(), ask.media_millis);
        bill.add_per_thousand(self.output_second(), ask.media_millis);
        bill.add(self.input_character(), ask.input_characters);
        bill.add(self.image_made(), ask.images_out);
        bill.add(self.pick(Unit::Page), ask.pages);
        if self.mode == Some("rerank") {
            bill.add(self.search(), 1);
        }
        bill.add(self.pick(Unit::Request), 1);
        bill.total()
    }
}

fn makes_images(mode: Option<&str>) -> bool {
    matches!(mode, Some("image_generation" | "image_edit"))
}

fn is_paid(price: Option<Price>) -> bool {
    price.is_some_and(|price| !price.is_zero())
}

/// What is left of a total once its parts are taken out.
struct Remainder(u64);

impl Remainder {
    fn take(&mut self, part: u64) -> u64 {
        let taken = part.min(self.0);
        self.0 -= taken;
        taken
    }
}

/// A sum in thousandths of a femto-dollar, so that milliseconds are exact too.
#[derive(Default)]
struct Bill(i128);

impl Bill {
    fn add(&mut self, price: Option<Price>, units: u64) {
        let Some(price) = price else { return };
        self.0 = self.0.saturating_add(price.times(units).saturating_mul(1_000));
    }

    fn add_per_thousand(&mut self, price: Option<Price>, thousandths: u64) {
        let Some(price) = price else { return };
        self.0 = self.0.saturating_add(price.times(thousandths));
    }

    /// Multiplies all that is in it with thousandths.
    fn multiply(&mut self, thousandths: u64) {
        self.0 = self.0.saturating_mul(i128::from(thousandths)).div_euclid(1_000);
    }

    fn total(&self) -> Money {
        Money::from_femtos(self.0.div_euclid(1_000))
    }
}

impl ModelPrice {
    /// Whether two names cost the same for every usage.
    pub(super) fn costs_the_same(&self, other: &ModelPrice) -> bool {
        let (mine, theirs) = (&self.facts, &other.facts);
        self.rates == other.rates
            && self.others == other.others
            && (&mine.mode, mine.surcharges) == (&theirs.mode, theirs.surcharges)
    }
}
