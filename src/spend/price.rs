//! Prices: which list names a model, under which of its names, and what then a unit costs. Lists are read as a whole or
//! refused as a whole; a book never changes once it is built, so a price in use is never half of one list and half of
//! another.

mod list;
mod model;
mod name;
mod rate;

use std::collections::hash_map::Entry;
use std::sync::Arc;

use ahash::AHashMap;
use aws_lc_rs::digest;

use self::list::Listing;
pub use self::list::PriceError;
pub use self::model::{Dearest, ModelPrice};
use self::rate::{Condition, Rate, Rates, Unit};
use crate::config::{ModelEntry, UnknownModel};
use crate::domain::{Price, glob};

/// Public list prices of current models, in the format of LiteLLM's price map.
const BUILTIN: &[u8] = include_bytes!("price/builtin.json");

/// Qualities that lists name images by.
const IMAGE_QUALITIES: [&str; 7] = ["standard", "hd", "low", "medium", "high", "xhigh", "max"];

/// All prices in force. Immutable; a changed list makes a new book.
#[derive(Debug)]
pub struct PriceBook {
    version: Arc<str>,
    exact: AHashMap<Box<str>, Arc<ModelPrice>>,
    /// Further names (without the provider, without the date) that lead to one price only; `None` where they lead to
    /// several that differ.
    derived: AHashMap<Box<str>, Option<Arc<ModelPrice>>>,
    /// `*` names of `model_list`, longest first.
    patterns: Vec<Pattern>,
    unknown: Option<Arc<ModelPrice>>,
}

#[derive(Debug)]
struct Pattern {
    name: Box<str>,
    /// The provider's name of the model, with the text the star stood for put in place of its own star.
    target: Option<Box<str>>,
    /// Prices the entry gives itself.
    own: Option<Arc<ModelPrice>>,
}

impl PriceBook {
    /// The book of the built-in table alone; models it does not name are denied.
    #[must_use]
    pub fn builtin() -> PriceBook {
        // The table is part of the program and read by a test; were it broken, no model would have a price.
        PriceBook::build(None, &[], UnknownModel::Deny)
            .unwrap_or_else(|_| Builder::default().finish(UnknownModel::Deny))
    }

    /// Builds a book: prices of `model_list` stand before those of the price map, those before the built-in table.
    ///
    /// # Errors
    /// Where a list is not of its format: names the model and the field. The book in force should then stay.
    pub fn build(
        price_map_json: Option<&[u8]>,
        models: &[ModelEntry],
        unknown: UnknownModel,
    ) -> Result<PriceBook, PriceError> {
        let mut builder = Builder::default();
        builder.list(list::read_map(BUILTIN)?);
        if let Some(json) = price_map_json {
            builder.list(list::read_map(json)?);
        }
        builder.deployments(models)?;
        Ok(builder.finish(unknown))
    }

    /// A short hash of all the book holds.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// Finds a model's price, by the first of these that gives one:
    /// 1. the name as it is;
    /// 2. without its provider (`openai/gpt-4o`: an entry `gpt-4o` of that provider), or with one where only one price
    ///    is known for the bare name;
    /// 3. without its date or with one (`gpt-4o-2024-11-20`, `gpt-4o`), where all dates known have one price;
    /// 4. the longest `*` name of `model_list` that matches;
    /// 5. what the configuration gives to unknown models, which is nothing by default.
    #[must_use]
    pub fn find(&self, model: &str) -> Option<Arc<ModelPrice>> {
        self.listed(model).or_else(|| self.matched(model)).or_else(|| self.unknown.clone())
    }

    /// Finds the price of images of one size and quality, as lists name it (`hd/1024-x-1792/dall-e-3`). Size and quality
    /// are the caller's words: they find entries of images and no others, and what is no size finds none.
    #[must_use]
    pub fn find_image(&self, model: &str, size: Option<&str>, quality: Option<&str>) -> Option<Arc<ModelPrice>> {
        let (provider, bare) = match model.split_once('/') {
            Some((provider, bare)) => (Some(provider), bare),
            None => (None, model),
        };
        let (width, height) = size.unwrap_or("1024x1024").split_once('x').filter(|sides| {
            let is_side = |side: &str| !side.is_empty() && side.bytes().all(|byte| byte.is_ascii_digit());
            is_side(sides.0) && is_side(sides.1)
        })?;
        let quality = quality.unwrap_or("standard");
        if !IMAGE_QUALITIES.contains(&quality) {
            return None;
        }
        let exact = |name: &str| self.exact.get(name).filter(|price| price.makes_images());
        let provided = |name: String| match provider {
            Some(provider) => exact(&format!("{provider}/{name}")).or_else(|| exact(&name)),
            None => exact(&name),
        };
        provided(format!("{quality}/{width}-x-{height}/{bare}"))
            .or_else(|| provided(format!("{width}-x-{height}/{bare}")))
            .cloned()
    }

    /// Every name listed with its price, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ModelPrice>> {
        self.exact.values()
    }

    fn listed(&self, model: &str) -> Option<Arc<ModelPrice>> {
        self.named(model).or_else(|| self.named(name::undated(model)?))
    }

    fn named(&self, model: &str) -> Option<Arc<ModelPrice>> {
        let exact = self.exact.get(model).cloned();
        exact.or_else(|| self.without_provider(model)).or_else(|| self.derived.get(model).cloned().flatten())
    }

    fn without_provider(&self, model: &str) -> Option<Arc<ModelPrice>> {
        let (provider, bare) = model.split_once('/')?;
        let price = self.exact.get(bare)?;
        price.provider().is_some_and(|known| name::is_same_provider(provider, known)).then(|| price.clone())
    }

    fn matched(&self, model: &str) -> Option<Arc<ModelPrice>> {
        self.patterns.iter().filter(|pattern| glob::matches(&pattern.name, model)).find_map(|pattern| {
            pattern.own.clone().or_else(|| {
                let target = pattern.target.as_deref()?;
                self.listed(&name::substituted(&pattern.name, target, model)?)
            })
        })
    }
}

/// Collects listings by name, then makes the book.
#[derive(Default)]
struct Builder {
    listings: AHashMap<Box<str>, Listing>,
    /// Deployments of `model_list` by public name.
    deployments: AHashMap<Box<str>, Vec<Listing>>,
    patterns: Vec<Pattern>,
}

impl Builder {
    /// Entries without any price are no entries: their models are unknown rather than free.
    fn list(&mut self, listings: Vec<(String, Listing)>) {
        let priced = listings.into_iter().filter(|(_, listing)| !listing.rates.is_empty());
        self.listings.extend(priced.map(|(model, listing)| (model.into_boxed_str(), listing)));
    }

    fn deployments(&mut self, models: &[ModelEntry]) -> Result<(), PriceError> {
        let prices = Builder { listings: self.listings.clone(), ..Builder::default() }.finish(UnknownModel::Deny);
        for entry in models {
            let own = list::read_parameters(&entry.model_name, &entry.litellm_params.other)?;
            let mut own = own.overlaid(list::read_parameters(&entry.model_name, &entry.model_info.other)?);
            own.facts.default_output_tokens =
                entry.model_info.default_output_tokens.or(own.facts.default_output_tokens);
            let base_model = entry.model_info.other.get("base_model").and_then(|name| name.as_str());
            let target = base_model.or(entry.litellm_params.model.as_deref());
            if glob::is_pattern(&entry.model_name) {
                let name: Box<str> = entry.model_name.as_str().into();
                let own = (!own.rates.is_empty()).then(|| Arc::new(priced(&name, vec![own])));
                self.patterns.push(Pattern { name, target: target.map(Into::into), own });
                continue;
            }
            let base =
                [target, Some(entry.model_name.as_str())].into_iter().flatten().find_map(|name| prices.listed(name));
            let base =
                base.map(|price| Listing { facts: price.facts.clone(), rates: price.rates.iter().copied().collect() });
            let listing = base.unwrap_or_default().overlaid(own);
            if !listing.rates.is_empty() {
                self.deployments.entry(entry.model_name.as_str().into()).or_default().push(listing);
            }
        }
        Ok(())
    }

    fn finish(self, unknown: UnknownModel) -> PriceBook {
        let mut exact = AHashMap::with_capacity(self.listings.len());
        for (name, listing) in self.listings {
            exact.insert(name.clone(), Arc::new(priced(&name, vec![listing])));
        }
        for (name, deployments) in self.deployments {
            exact.insert(name.clone(), Arc::new(priced(&name, deployments)));
        }
        let mut patterns = self.patterns;
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.name.len()));
        let unknown = unknown_price(unknown).map(Arc::new);
        let version = version(&exact, &patterns, unknown.as_deref());
        PriceBook { version, derived: derived(&exact), exact, patterns, unknown }
    }
}

/// The last deployment is booked, so it leads; what it does not say of the model the others say, the largest.
fn priced(name: &str, mut deployments: Vec<Listing>) -> ModelPrice {
    let last = deployments.pop().unwrap_or_default();
    let mut facts = last.facts;
    for other in &deployments {
        facts.max_output_tokens = facts.max_output_tokens.max(other.facts.max_output_tokens);
        facts.default_output_tokens = facts.default_output_tokens.max(other.facts.default_output_tokens);
    }
    let others = deployments.into_iter().map(|listing| Rates::new(listing.rates)).collect();
    ModelPrice { name: name.into(), facts, rates: Rates::new(last.rates), others, unknown: false }
}

fn unknown_price(policy: UnknownModel) -> Option<ModelPrice> {
    let (input, output) = match policy {
        UnknownModel::Deny => return None,
        UnknownModel::Zero => (0.0, 0.0),
        UnknownModel::Price { input_cost_per_token, output_cost_per_token } => {
            (input_cost_per_token, output_cost_per_token)
        }
    };
    let rate =
        |unit, dollars| Price::from_dollars(dollars).map(|price| Rate { unit, condition: Condition::default(), price });
    // A price that is none (negative, not a number) denies, as if nothing were configured.
    let rates = Rates::new([rate(Unit::InputToken, input)?, rate(Unit::OutputToken, output)?]);
    let (facts, others) = (model::Facts::default(), Vec::new());
    Some(ModelPrice { name: "*unknown*".into(), facts, rates, others, unknown: true })
}

/// Names that lead to a listed price without being listed: the bare name of `provider/name`, and each name without its
/// date. A name that leads to prices that differ leads nowhere.
fn derived(exact: &AHashMap<Box<str>, Arc<ModelPrice>>) -> AHashMap<Box<str>, Option<Arc<ModelPrice>>> {
    let mut derived: AHashMap<Box<str>, Option<Arc<ModelPrice>>> = AHashMap::new();
    let mut lead = |name: &str, price: &Arc<ModelPrice>| {
        if exact.contains_key(name) {
            return;
        }
        match derived.entry(name.into()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Some(price.clone()));
            }
            Entry::Occupied(mut known) => {
                let same = known.get().as_ref().is_some_and(|known| known.costs_the_same(price));
                // Of equal prices the first by name, so that two builds of one list agree.
                let first = known.get().as_ref().is_some_and(|known| known.name <= price.name);
                if !same {
                    known.insert(None);
                } else if !first {
                    known.insert(Some(price.clone()));
                }
            }
        }
    };
    for (name, price) in exact {
        let provider = |prefix| price.provider().is_some_and(|known| name::is_same_provider(prefix, known));
        let bare = name.split_once('/').filter(|(prefix, _)| provider(prefix)).map(|(_, bare)| bare);
        for name in [Some(&**name), bare].into_iter().flatten() {
            if bare == Some(name) {
                lead(name, price);
            }
            if let Some(undated) = name::undated(name) {
                lead(undated, price);
            }
        }
    }
    derived
}

fn version(
    exact: &AHashMap<Box<str>, Arc<ModelPrice>>,
    patterns: &[Pattern],
    unknown: Option<&ModelPrice>,
) -> Arc<str> {
    let mut models: Vec<&Arc<ModelPrice>> = exact.values().collect();
    models.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let contents = format!("{models:?}{patterns:?}{unknown:?}");
    let hash = digest::digest(&digest::SHA256, contents.as_bytes());
    hash.as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests;
