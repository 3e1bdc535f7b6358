use std::time::Duration;

use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

use crate::domain::BudgetDuration;

/// How long something is kept: `10s`, seconds as a number, or `0` for not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(Duration);

impl Lifetime {
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Lifetime(Duration::from_secs(seconds))
    }

    #[must_use]
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl<'de> Deserialize<'de> for Lifetime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = Lifetime;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a time as 10s, or 0")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Lifetime, E> {
        Ok(Lifetime::seconds(seconds))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Lifetime, E> {
        if matches!(text, "0" | "0s") {
            return Ok(Lifetime::default());
        }
        let time: BudgetDuration = text.parse().map_err(|_| E::custom("must be a time as 10s, or 0"))?;
        Ok(Lifetime(time.as_duration()))
    }
}

impl Serialize for Lifetime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}s", self.0.as_secs()))
    }
}

impl JsonSchema for Lifetime {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lifetime".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string"})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Option<u64> {
        serde_json::from_value::<Lifetime>(value).ok().map(|time| time.as_duration().as_secs())
    }

    #[test]
    fn a_lifetime_is_a_duration_seconds_or_nothing() {
        for (value, expected) in [
            (json!("10s"), Some(10)),
            (json!("2m"), Some(120)),
            (json!("0"), Some(0)),
            (json!("0s"), Some(0)),
            (json!(0), Some(0)),
            (json!(7), Some(7)),
            (json!("7"), None),
            (json!("soon"), None),
            (json!(-1), None),
            (json!(1.5), None),
        ] {
            assert_eq!(read(value.clone()), expected, "{value}");
        }
    }
}
