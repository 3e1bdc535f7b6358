//! Price lists: LiteLLM's price map, and the prices a `model_list` entry gives. Fields that are not of the grammar are
//! ignored; a field that is, with a value that is not a price, makes the whole list refused.

use serde_json::{Map, Value};

use super::model::{Facts, Surcharges};
use super::rate::{Condition, Field, Rate, Unit};
use crate::domain::Price;

/// Why a price list is refused.
#[derive(Debug, thiserror::Error)]
pub enum PriceError {
    #[error("the price map is not a JSON object of models: {0}")]
    Syntax(String),
    #[error("model {model:?}, field {field:?}: {problem}")]
    Field { model: String, field: String, problem: &'static str },
}

/// What a list says of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) facts: Facts,
    pub(super) rates: Vec<Rate>,
}

impl Listing {
    /// Puts what `over` says over what this says.
    pub(super) fn overlaid(mut self, over: Listing) -> Listing {
        let Facts { provider, mode, max_output_tokens, default_output_tokens, surcharges } = over.facts;
        self.facts.provider = provider.or(self.facts.provider);
        self.facts.mode = mode.or(self.facts.mode);
        self.facts.max_output_tokens = max_output_tokens.or(self.facts.max_output_tokens);
        self.facts.default_output_tokens = default_output_tokens.or(self.facts.default_output_tokens);
        self.facts.surcharges.fast = surcharges.fast.or(self.facts.surcharges.fast);
        self.facts.surcharges.us = surcharges.us.or(self.facts.surcharges.us);
        self.rates.extend(over.rates);
        self
    }
}

/// Reads a whole map. `sample_spec`, LiteLLM's description of the format, is no model.
pub(super) fn read_map(json: &[u8]) -> Result<Vec<(String, Listing)>, PriceError> {
    let map: Map<String, Value> =
        serde_json::from_slice(json).map_err(|error| PriceError::Syntax(error.to_string()))?;
    let models = map.into_iter().filter(|(model, _)| model != "sample_spec");
    models
        .map(|(model, entry)| {
            let Value::Object(fields) = entry else {
                return Err(PriceError::Syntax(format!("the entry of model {model:?} is not an object")));
            };
            let listing = Reader { model: &model, lenient: false }.read(&fields)?;
            Ok((model, listing))
        })
        .collect()
}

/// Reads the parameters of a `model_list` entry, where numbers may be strings too: YAML readers disagree on `1e-6`.
pub(super) fn read_parameters(model: &str, fields: &Map<String, Value>) -> Result<Listing, PriceError> {
    Reader { model, lenient: true }.read(fields)
}

struct Reader<'a> {
    model: &'a str,
    lenient: bool,
}

impl Reader<'_> {
    fn read(&self, fields: &Map<String, Value>) -> Result<Listing, PriceError> {
        let mut listing = Listing::default();
        for (field, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            match field.as_str() {
                "litellm_provider" => listing.facts.provider = Some(self.text(field, value)?),
                "mode" => listing.facts.mode = Some(self.text(field, value)?),
                "max_output_tokens" => listing.facts.max_output_tokens = Some(self.count(field, value)?),
                "default_output_tokens" => listing.facts.default_output_tokens = Some(self.count(field, value)?),
                "provider_specific_entry" => self.surcharges(field, value, &mut listing.facts.surcharges)?,
                "tiered_pricing" => self.tiers(field, value, &mut listing.rates)?,
                "search_context_cost_per_query" => self.searches(field, value, &mut listing.rates)?,
                _ => self.rate(field, value, Condition::default(), &mut listing.rates)?,
            }
        }
        Ok(listing)
    }

    fn error(&self, field: &str, problem: &'static str) -> PriceError {
        PriceError::Field { model: self.model.to_owned(), field: field.to_owned(), problem }
    }

    fn text(&self, field: &str, value: &Value) -> Result<Box<str>, PriceError> {
        value.as_str().map(Into::into).ok_or_else(|| self.error(field, "must be a string"))
    }

    fn number(&self, value: &Value) -> Option<f64> {
        match value {
            Value::String(text) if self.lenient => text.trim().parse().ok(),
            value => value.as_f64(),
        }
    }

    fn count(&self, field: &str, value: &Value) -> Result<u64, PriceError> {
        self.number(value)
            .filter(|number| number.fract() == 0.0 && (0.0..1e15).contains(number))
            .map(|number| number as u64)
            .ok_or_else(|| self.error(field, "must be a whole number of tokens"))
    }

    /// `{fast: 2, us: 1.1}`. Providers have further entries there that are no surcharges.
    fn surcharges(&self, field: &str, value: &Value, surcharges: &mut Surcharges) -> Result<(), PriceError> {
        let factor = |name: &str| {
            let Some(value) = value.get(name) else { return Ok(None) };
            let factor = self.number(value).filter(|factor| (0.0..=1_000.0).contains(factor));
            let thousandths = factor.map(|factor| (factor * 1_000.0).round() as u64);
            thousandths.map(Some).ok_or_else(|| self.error(field, "must give surcharges as numbers up to 1,000"))
        };
        *surcharges = Surcharges { fast: factor("fast")?, us: factor("us")? };
        Ok(())
    }

    fn price(&self, field: &str, value: &Value) -> Result<f64, PriceError> {
        let dollars = self.number(value).ok_or_else(|| self.error(field, "must be a number of dollars a unit"))?;
        match Price::from_dollars(dollars) {
            Some(_) => Ok(dollars),
            None => Err(self.error(field, "must be a price of 0 or more, below 9,000 dollars a unit")),
        }
    }

    /// Reads a field of the grammar, under the condition it stands in.
    fn rate(&self, field: &str, value: &Value, within: Condition, rates: &mut Vec<Rate>) -> Result<(), PriceError> {
        let Some(parsed) = Field::parse(field) else { return Ok(()) };
        let dollars = self.price(field, value)?;
        let (unit, condition, dollars) = match parsed {
            Field::Rate(unit, condition) => (unit, condition, dollars),
            Field::Pixel(condition) => {
                let Some(pixels) = pixels(self.model) else { return Ok(()) };
                (Unit::OutputImage, condition, dollars * pixels)
            }
        };
        let condition = Condition { above: condition.above.max(within.above), ..condition };
        let price = Price::from_dollars(dollars).ok_or_else(|| self.error(field, "is too large"))?;
        // Several names of one unit: the dearest counts.
        match rates.iter_mut().find(|rate| rate.unit == unit && rate.condition == condition) {
            Some(rate) => rate.price = rate.price.max(price),
            None => rates.push(Rate { unit, condition, price }),
        }
        Ok(())
    }

    /// `[{range: [lo, hi], input_cost_per_token, …}]`: a range holds prompts of more than `lo` tokens.
    fn tiers(&self, field: &str, value: &Value, rates: &mut Vec<Rate>) -> Result<(), PriceError> {
        let tiers = value.as_array().ok_or_else(|| self.error(field, "must be a list of ranges"))?;
        for tier in tiers {
            let fields = tier.as_object().ok_or_else(|| self.error(field, "must be a list of objects"))?;
            let above = match fields.get("range") {
                None | Some(Value::Null) => 0,
                Some(range) => {
                    let from = range.as_array().and_then(|range| range.first());
                    let from = from.ok_or_else(|| self.error(field, "needs a range of two numbers"))?;
                    self.count(field, from)?
                }
            };
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                self.rate(name, value, Condition { above, ..Condition::default() }, rates)?;
            }
        }
        Ok(())
    }

    /// Search is priced by the size of its context, which responses do not tell: providers take the medium one unless
    /// asked for another.
    fn searches(&self, field: &str, value: &Value, rates: &mut Vec<Rate>) -> Result<(), PriceError> {
        let sizes =
            value.as_object().ok_or_else(|| self.error(field, "must be an object of prices by context size"))?;
        let mut dearest = None;
        for (size, value) in sizes.iter().filter(|(_, value)| !value.is_null()) {
            let dollars = self.price(field, value)?;
            let price = Price::from_dollars(dollars);
            if size == "search_context_size_medium" {
                dearest = price;
                break;
            }
            dearest = dearest.max(price);
        }
        rates.extend(dearest.map(|price| Rate { unit: Unit::Search, condition: Condition::default(), price }));
        Ok(())
    }
}

/// Pixels of the size an entry is named by, as in `hd/1024-x-1792/dall-e-3`.
fn pixels(model: &str) -> Option<f64> {
    model.split('/').find_map(|part| {
        let (width, height) = part.split_once("-x-")?;
        let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
        Some(f64::from(width) * f64::from(height))
    })
}
