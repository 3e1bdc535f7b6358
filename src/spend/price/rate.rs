//! Rates: what one unit costs, and under which conditions. Field names of a price map are read by their grammar: a base
//! (`input_cost_per_token`) and any combination of suffixes (`_above_200k_tokens`, `_above_1hr`, `_priority`).

use crate::domain::Price;

/// What a rate is multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    InputToken,
    OutputToken,
    ReasoningToken,
    CacheReadToken,
    CacheWriteToken,
    InputAudioToken,
    OutputAudioToken,
    InputImageToken,
    OutputImageToken,
    InputSecond,
    OutputSecond,
    InputCharacter,
    OutputCharacter,
    InputImage,
    OutputImage,
    Page,
    Query,
    Search,
    Request,
}

const UNITS: usize = Unit::Request as usize + 1;

/// A pace the provider serves at, with prices of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Batches,
    Flex,
    Priority,
    Balanced,
    Ultrafast,
}

impl Tier {
    const SUFFIXES: [(&'static str, Tier); 5] = [
        ("_batches", Tier::Batches),
        ("_flex", Tier::Flex),
        ("_priority", Tier::Priority),
        ("_balanced", Tier::Balanced),
        ("_ultrafast", Tier::Ultrafast),
    ];

    /// Reads `service_tier` as requests and responses spell it; `auto`, `default`, `standard` have no prices of their
    /// own.
    pub(super) fn parse(name: &str) -> Option<Tier> {
        [
            ("batch", Tier::Batches),
            ("batches", Tier::Batches),
            ("flex", Tier::Flex),
            ("priority", Tier::Priority),
            // OpenAI's newer name of it.
            ("fast", Tier::Priority),
            ("balanced", Tier::Balanced),
            ("ultrafast", Tier::Ultrafast),
        ]
        .into_iter()
        .find(|(word, _)| name.eq_ignore_ascii_case(word))
        .map(|(_, tier)| tier)
    }
}

/// How long a written cache entry lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Life {
    #[default]
    Minutes,
    Hour,
    HalfDay,
}

/// When a rate applies. The default is always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Condition {
    pub(super) life: Life,
    /// The prompt has more tokens than this; the rate then applies to the whole request. 0 is always.
    pub(super) above: u64,
    pub(super) tier: Option<Tier>,
}

/// A field name, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Rate(Unit, Condition),
    /// Per pixel: a price an image where the entry's name tells the size.
    Pixel(Condition),
}

const BASES: [(&str, Unit); 25] = [
    ("input_cost_per_token_cache_hit", Unit::CacheReadToken),
    ("input_cost_per_token", Unit::InputToken),
    ("output_cost_per_token", Unit::OutputToken),
    ("output_cost_per_reasoning_token", Unit::ReasoningToken),
    ("cache_read_input_token_cost", Unit::CacheReadToken),
    ("cache_creation_input_token_cost", Unit::CacheWriteToken),
    ("input_cost_per_audio_token", Unit::InputAudioToken),
    ("output_cost_per_audio_token", Unit::OutputAudioToken),
    ("input_cost_per_image_token", Unit::InputImageToken),
    ("output_cost_per_image_token", Unit::OutputImageToken),
    ("input_cost_per_second", Unit::InputSecond),
    ("input_cost_per_audio_per_second", Unit::InputSecond),
    ("input_cost_per_video_per_second", Unit::InputSecond),
    ("output_cost_per_second", Unit::OutputSecond),
    ("output_cost_per_video_per_second", Unit::OutputSecond),
    ("input_cost_per_character", Unit::InputCharacter),
    ("output_cost_per_character", Unit::OutputCharacter),
    ("input_cost_per_image", Unit::InputImage),
    ("output_cost_per_image", Unit::OutputImage),
    ("ocr_cost_per_page", Unit::Page),
    ("input_cost_per_page", Unit::Page),
    ("input_cost_per_query", Unit::Query),
    ("output_cost_per_query", Unit::Query),
    ("input_cost_per_request", Unit::Request),
    ("output_cost_per_request", Unit::Request),
];

impl Field {
    /// Reads a field name; `None` for every name that is not a price by this grammar.
    pub(super) fn parse(name: &str) -> Option<Field> {
        for base in ["input_cost_per_pixel", "output_cost_per_pixel"] {
            if let Some(condition) = name.strip_prefix(base).and_then(Condition::parse) {
                return Some(Field::Pixel(condition));
            }
        }
        BASES.iter().find_map(|(base, unit)| {
            let condition = Condition::parse(name.strip_prefix(base)?)?;
            Some(Field::Rate(*unit, condition))
        })
    }
}

impl Condition {
    /// Reads suffixes in any order; `None` where one is not of the grammar or given twice.
    fn parse(mut suffixes: &str) -> Option<Condition> {
        let mut condition = Condition::default();
        while !suffixes.is_empty() {
            if let Some((word, tier)) = Tier::SUFFIXES.iter().find(|(word, _)| suffixes.starts_with(word)) {
                if condition.tier.replace(*tier).is_some() {
                    return None;
                }
                suffixes = &suffixes[word.len()..];
                continue;
            }
            let rest = suffixes.strip_prefix("_above_")?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = rest.split_at(digits);
            let number: u64 = number.parse().ok()?;
            if let Some(rest) = rest.strip_prefix("k_tokens") {
                if condition.above != 0 || number == 0 {
                    return None;
                }
                condition.above = number.checked_mul(1_000)?;
                suffixes = rest;
            } else {
                let rest = rest.strip_prefix("hr")?;
                if condition.life != Life::Minutes {
                    return None;
                }
                condition.life = match number {
                    1 => Life::Hour,
                    12 => Life::HalfDay,
                    _ => return None,
                };
                suffixes = rest;
            }
        }
        Some(condition)
    }
}

/// One line of a price list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rate {
    pub(super) unit: Unit,
    pub(super) condition: Condition,
    pub(super) price: Price,
}

/// All rates of one model, sorted by unit so that a pick looks only at its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rates {
    rates: Vec<Rate>,
    /// Where each unit's rates begin; one more than there are units.
    starts: [u16; UNITS + 1],
    /// Prompt sizes at which some rate changes, ascending, without 0.
    thresholds: Vec<u64>,
}

impl Rates {
    /// Later rates replace earlier ones of the same unit and condition.
    pub(super) fn new(given: impl IntoIterator<Item = Rate>) -> Rates {
        let mut rates: Vec<Rate> = Vec::new();
        for rate in given {
            match rates.iter_mut().find(|known| known.unit == rate.unit && known.condition == rate.condition) {
                Some(known) => known.price = rate.price,
                None => rates.push(rate),
            }
        }
        rates.sort_unstable();
        rates.truncate(usize::from(u16::MAX));
        let mut starts = [0; UNITS + 1];
        for (unit, start) in starts.iter_mut().enumerate() {
            *start = rates.partition_point(|rate| (rate.unit as usize) < unit) as u16;
        }
        let mut thresholds: Vec<u64> =
            rates.iter().map(|rate| rate.condition.above).filter(|above| *above > 0).collect();
        thresholds.sort_unstable();
        thresholds.dedup();
        Rates { rates, starts, thresholds }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Rate> {
        self.rates.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rates.is_empty()
    }

    pub(super) fn thresholds(&self) -> &[u64] {
        &self.thresholds
    }

    /// The rate of a unit for a prompt of this many tokens: the highest context threshold passed wins, then the tier's
    /// own rate over the standard one.
    pub(super) fn pick(&self, unit: Unit, life: Life, tier: Option<Tier>, prompt_tokens: u64) -> Option<Price> {
        let own = usize::from(self.starts[unit as usize])..usize::from(self.starts[unit as usize + 1]);
        self.rates[own]
            .iter()
            .filter(|rate| {
                let when = &rate.condition;
                when.life == life
                    && (when.above == 0 || prompt_tokens > when.above)
                    && (when.tier.is_none() || when.tier == tier)
            })
            .max_by_key(|rate| (rate.condition.above, rate.condition.tier.is_some()))
            .map(|rate| rate.price)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_name_is_read_by_its_grammar() {
        let plain = Condition::default();
        for (name, expected) in [
            ("input_cost_per_token", Some((Unit::InputToken, plain))),
            ("input_cost_per_token_flex", Some((Unit::InputToken, Condition { tier: Some(Tier::Flex), ..plain }))),
            (
                "input_cost_per_token_above_272k_tokens_priority",
                Some((Unit::InputToken, Condition { above: 272_000, tier: Some(Tier::Priority), ..plain })),
            ),
            (
                "input_cost_per_token_priority_above_272k_tokens",
                Some((Unit::InputToken, Condition { above: 272_000, tier: Some(Tier::Priority), ..plain })),
            ),
            (
                "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
                Some((Unit::CacheWriteToken, Condition { above: 200_000, life: Life::Hour, ..plain })),
            ),
            (
                "cache_creation_input_token_cost_above_12hr_batches",
                Some((Unit::CacheWriteToken, Condition { life: Life::HalfDay, tier: Some(Tier::Batches), ..plain })),
            ),
            ("input_cost_per_token_cache_hit", Some((Unit::CacheReadToken, plain))),
            ("output_cost_per_image_token", Some((Unit::OutputImageToken, plain))),
            ("output_cost_per_image", Some((Unit::OutputImage, plain))),
            ("ocr_cost_per_page", Some((Unit::Page, plain))),
            ("input_cost_per_token_flex_flex", None),
            ("input_cost_per_token_above_k_tokens", None),
            ("input_cost_per_token_above_99999999999999999999k_tokens", None),
            ("input_cost_per_token_above_2hr", None),
            ("output_cost_per_second_720p", None),
            ("input_dbu_cost_per_token", None),
            ("max_tokens", None),
            ("", None),
        ] {
            let expected = expected.map(|(unit, condition)| Field::Rate(unit, condition));
            assert_eq!(Field::parse(name), expected, "{name}");
        }
    }
}
