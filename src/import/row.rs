//! A row of the source: values by column, each taken out once; what nobody took is told.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::domain::{BudgetDuration, KeyHash, Money, Timestamp};

/// A value that cannot be carried, and why. The reason never shows the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub column: String,
    pub reason: String,
}

impl Fault {
    pub(super) fn new(column: &str, reason: impl Into<String>) -> Fault {
        Fault { column: column.to_owned(), reason: reason.into() }
    }
}

pub(super) type Taken<T> = Result<T, Fault>;

/// Columns that are not NULL, as JSON text.
pub(super) struct SourceRow(BTreeMap<String, Box<RawValue>>);

impl SourceRow {
    pub(super) fn parse(json: &str) -> Result<SourceRow, String> {
        let all: BTreeMap<String, Option<Box<RawValue>>> =
            serde_json::from_str(json).map_err(|error| format!("a row is no JSON: {error}"))?;
        Ok(SourceRow(all.into_iter().filter_map(|(column, value)| Some((column, value?))).collect()))
    }

    /// Takes a value of a JSON type; NULL is absent. JSON that was stored as text is read all the same.
    pub(super) fn take<T: DeserializeOwned>(&mut self, column: &str) -> Taken<Option<T>> {
        let Some(raw) = self.0.remove(column).filter(|raw| raw.get() != "null") else { return Ok(None) };
        match serde_json::from_str(raw.get()) {
            Ok(value) => Ok(Some(value)),
            Err(_) => {
                let inner = serde_json::from_str::<String>(raw.get()).ok();
                match inner.and_then(|inner| serde_json::from_str(&inner).ok()) {
                    Some(value) => Ok(Some(value)),
                    None => Err(Fault::new(column, "not of the type expected there")),
                }
            }
        }
    }

    /// A text that says something.
    pub(super) fn text(&mut self, column: &str) -> Taken<Option<String>> {
        // An id of digits may come as a number.
        let Some(raw) = self.0.remove(column) else { return Ok(None) };
        let text = match serde_json::from_str::<Value>(raw.get()) {
            Ok(Value::String(text)) => text,
            Ok(Value::Number(number)) => number.to_string(),
            Ok(Value::Null) => return Ok(None),
            _ => return Err(Fault::new(column, "not a text")),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// A text that must be there, and may be an id.
    pub(super) fn id(&mut self, column: &str) -> Taken<String> {
        let id = self.text(column)?.ok_or_else(|| Fault::new(column, "missing"))?;
        if id.chars().count() > 255 || id.chars().any(char::is_control) {
            return Err(Fault::new(column, "longer than 255 characters, or with control characters"));
        }
        Ok(id)
    }

    /// Dollars, read as text.
    pub(super) fn money(&mut self, column: &str) -> Taken<Option<Money>> {
        let Some(raw) = self.0.remove(column) else { return Ok(None) };
        // NaN and the infinities come as text.
        let text = raw.get().trim_matches('"');
        let money = text.parse::<f64>().ok().and_then(Money::from_dollars);
        money.map(Some).ok_or_else(|| Fault::new(column, "not an amount of dollars that can be counted"))
    }

    /// Dollars of a limit: they cannot be negative.
    pub(super) fn budget(&mut self, column: &str) -> Taken<Option<Money>> {
        match self.money(column)? {
            Some(money) if money < Money::ZERO => Err(Fault::new(column, "a negative amount")),
            money => Ok(money),
        }
    }

    pub(super) fn count(&mut self, column: &str) -> Taken<Option<u64>> {
        let Some(raw) = self.0.remove(column) else { return Ok(None) };
        let text = raw.get().trim_matches('"');
        // Older schemas count in floats.
        let whole = text.strip_suffix(".0").unwrap_or(text);
        let count = whole.parse::<u64>().ok().filter(|count| i64::try_from(*count).is_ok());
        count.map(Some).ok_or_else(|| Fault::new(column, "not a whole number of zero or more"))
    }

    pub(super) fn flag(&mut self, column: &str) -> Taken<bool> {
        Ok(self.take::<bool>(column)?.unwrap_or_default())
    }

    pub(super) fn time(&mut self, column: &str) -> Taken<Option<Timestamp>> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        Timestamp::parse(&text).map(Some).ok_or_else(|| Fault::new(column, "not a time"))
    }

    pub(super) fn duration(&mut self, column: &str) -> Taken<Option<BudgetDuration>> {
        let Some(text) = self.text(column)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Fault::new(column, "not a duration such as 30d"))
    }

    pub(super) fn hash(&mut self, column: &str) -> Taken<KeyHash> {
        let text = self.text(column)?.ok_or_else(|| Fault::new(column, "missing"))?;
        text.to_ascii_lowercase().parse().map_err(|_| Fault::new(column, "not the SHA-256 of a key"))
    }

    pub(super) fn texts(&mut self, column: &str) -> Taken<Vec<String>> {
        Ok(self.take(column)?.unwrap_or_default())
    }

    pub(super) fn object(&mut self, column: &str) -> Taken<Map<String, Value>> {
        Ok(self.take(column)?.unwrap_or_default())
    }

    /// Drops what says nothing to anybody but LiteLLM itself.
    pub(super) fn pass_over(&mut self, columns: &[&str]) {
        columns.iter().for_each(|column| drop(self.0.remove(*column)));
    }

    /// Everything that is left, as it is.
    pub(super) fn take_all(&mut self) -> Map<String, Value> {
        let all = std::mem::take(&mut self.0).into_iter();
        all.filter_map(|(column, raw)| Some((column, serde_json::from_str(raw.get()).ok()?))).collect()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What nobody took and says something.
    pub(super) fn rest(self) -> Vec<(String, Value)> {
        let values = self.0.into_iter().filter_map(|(column, raw)| {
            let value = serde_json::from_str::<Value>(raw.get()).ok()?;
            (!says_nothing(&value)).then_some((column, value))
        });
        values.collect()
    }
}

pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "{}" || text == "[]",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_were_written_and_what_is_left_is_told() {
        let mut row = SourceRow::parse(
            r#"{"spend":0.30000000000000004,"nan":"NaN","rpm":7,"old":7.0,"neg":-1,"json":"{\"a\":1}",
                "when":"2026-11-24T12:00:00.5",                "none":null,"left":"x","empty":[]}"#,
        )
        .unwrap();
        assert_eq!(row.money("spend"), Ok(Some(Money::nanos(300_000_000))));
        assert!(row.money("nan").is_err() && row.budget("neg").is_err());
        assert_eq!((row.count("rpm"), row.count("old"), row.count("none")), (Ok(Some(7)), Ok(Some(7)), Ok(None)));
        assert_eq!(row.object("json").unwrap()["a"], 1);
        assert_eq!(row.time("when"), Ok(Timestamp::parse("2026-11-24T12:00:00.5Z")));
        assert_eq!(row.rest(), [("left".to_owned(), Value::String("x".to_owned()))]);
    }
}
