//! Values and how the domain's types become them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use super::super::{DirectoryError, Result};
use crate::domain::{
    BudgetDuration, BudgetWindow, KeyHash, KeyType, Limits, ModelBudget, Money, Role, Secret, TeamRole, Timestamp,
};

/// What a column holds.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Value {
    Null,
    Integer(i64),
    Text(String),
}

/// The columns of a row that was read, one after the other.
pub(in super::super) trait Columns {
    fn integer(&mut self) -> Result<Option<i64>>;
    fn text(&mut self) -> Result<Option<String>>;
    /// Whether the next column is NULL; does not go on.
    fn is_null(&mut self) -> Result<bool>;
    fn skip(&mut self, columns: usize);
}

pub(in super::super) fn corrupt(why: impl std::fmt::Display) -> DirectoryError {
    DirectoryError::Corrupt(why.to_string())
}

/// A type that lies in one column, or in a few.
pub(in super::super) trait Column: Sized {
    fn names(field: &'static str, names: &mut Vec<&'static str>) {
        names.push(field);
    }
    fn put(&self, values: &mut Vec<Value>);
    fn get(columns: &mut dyn Columns) -> Result<Self>;
}

fn integer(columns: &mut dyn Columns) -> Result<i64> {
    columns.integer()?.ok_or_else(|| corrupt("a number is missing"))
}

fn text(columns: &mut dyn Columns) -> Result<String> {
    columns.text()?.ok_or_else(|| corrupt("a text is missing"))
}

/// Types that are a number.
macro_rules! number {
    ($($type:ty: $put:expr, $get:expr;)+) => {$(
        impl Column for $type {
            fn put(&self, values: &mut Vec<Value>) {
                let put: fn(&$type) -> i64 = $put;
                values.push(Value::Integer(put(self)));
            }
            fn get(columns: &mut dyn Columns) -> Result<Self> {
                let get: fn(i64) -> Option<$type> = $get;
                let number = integer(columns)?;
                get(number).ok_or_else(|| corrupt(format!("{number} is no {}", stringify!($type))))
            }
        }
    )+};
}

number! {
    bool: |value| i64::from(*value), |number| Some(number != 0);
    u32: |value| i64::from(*value), |number| u32::try_from(number).ok();
    u64: |value| i64::try_from(*value).unwrap_or(i64::MAX), |number| u64::try_from(number).ok();
    Money: |value| value.as_nanos(), |number| Some(Money::nanos(number));
    Timestamp: |value| value.as_millis(), |number| Some(Timestamp::millis(number));
}

/// Types that are a text.
macro_rules! text {
    ($($type:ty: $put:expr, $get:expr;)+) => {$(
        impl Column for $type {
            fn put(&self, values: &mut Vec<Value>) {
                let put: fn(&$type) -> String = $put;
                values.push(Value::Text(put(self)));
            }
            fn get(columns: &mut dyn Columns) -> Result<Self> {
                let get: fn(&str) -> Option<$type> = $get;
                let text = text(columns)?;
                get(&text).ok_or_else(|| corrupt(format!("{text:?} is no {}", stringify!($type))))
            }
        }
    )+};
}

text! {
    String: Clone::clone, |text| Some(text.to_owned());
    Arc<str>: |value| value.to_string(), |text| Some(text.into());
    KeyHash: ToString::to_string, |text| text.parse().ok();
    Secret: |value| value.expose().to_owned(), |text| Some(Secret::new(text));
    BudgetDuration: ToString::to_string, |text| text.parse().ok();
    Role: |value| value.as_str().to_owned(), |text| Some(Role::parse(text).unwrap_or_default());
    TeamRole: named, by_name;
    KeyType: named, by_name;
}

/// An enum as serde names it.
fn named<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Json::String(name)) => name,
        _ => String::new(),
    }
}

fn by_name<T: DeserializeOwned>(name: &str) -> Option<T> {
    serde_json::from_value(Json::String(name.to_owned())).ok()
}

impl<T: Column> Column for Option<T> {
    fn put(&self, values: &mut Vec<Value>) {
        match self {
            Some(value) => value.put(values),
            None => values.push(Value::Null),
        }
    }
    fn get(columns: &mut dyn Columns) -> Result<Self> {
        if columns.is_null()? {
            columns.skip(1);
            return Ok(None);
        }
        T::get(columns).map(Some)
    }
}

/// Lists and maps are JSON; NULL reads as empty.
fn put_json<T: Serialize>(value: &T, values: &mut Vec<Value>) {
    // Strings, numbers and maps with string keys: writing them as JSON cannot fail.
    values.push(serde_json::to_string(value).map_or(Value::Null, Value::Text));
}

fn get_json<T: DeserializeOwned + Default>(columns: &mut dyn Columns) -> Result<T> {
    match columns.text()? {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(&text).map_err(corrupt),
    }
}

impl<T: Serialize + DeserializeOwned> Column for Vec<T> {
    fn put(&self, values: &mut Vec<Value>) {
        put_json(self, values);
    }
    fn get(columns: &mut dyn Columns) -> Result<Self> {
        get_json(columns)
    }
}

impl<T: Serialize + DeserializeOwned> Column for BTreeMap<String, T> {
    fn put(&self, values: &mut Vec<Value>) {
        put_json(self, values);
    }
    fn get(columns: &mut dyn Columns) -> Result<Self> {
        get_json(columns)
    }
}

impl Column for Map<String, Json> {
    fn put(&self, values: &mut Vec<Value>) {
        put_json(self, values);
    }
    fn get(columns: &mut dyn Columns) -> Result<Self> {
        get_json(columns)
    }
}

/// Money inside JSON columns is nano-dollars too: what is written in dollars would be rounded.
#[derive(Serialize, Deserialize)]
struct StoredWindow {
    budget_duration: BudgetDuration,
    max_budget_nanodollars: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredModelBudget {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    max_budget_nanodollars: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    budget_duration: Option<BudgetDuration>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    rpm_limit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    tpm_limit: Option<u64>,
}

impl Column for Limits {
    fn names(_: &'static str, names: &mut Vec<&'static str>) {
        names.extend([
            "max_budget",
            "soft_budget",
            "budget_duration",
            "budget_limits",
            "rpm_limit",
            "tpm_limit",
            "tpd_limit",
            "max_parallel_requests",
            "model_max_budget",
            "model_rpm_limit",
            "model_tpm_limit",
        ]);
    }

    fn put(&self, values: &mut Vec<Value>) {
        self.max_budget.put(values);
        self.soft_budget.put(values);
        self.budget_duration.put(values);
        let windows = self.budget_limits.iter().map(|window| StoredWindow {
            budget_duration: window.budget_duration,
            max_budget_nanodollars: window.max_budget.as_nanos(),
        });
        windows.collect::<Vec<_>>().put(values);
        self.rpm_limit.put(values);
        self.tpm_limit.put(values);
        self.tpd_limit.put(values);
        self.max_parallel_requests.put(values);
        let models = self.model_max_budget.iter().map(|(model, budget)| {
            let stored = StoredModelBudget {
                max_budget_nanodollars: budget.max_budget.map(Money::as_nanos),
                budget_duration: budget.budget_duration,
                rpm_limit: budget.rpm_limit,
                tpm_limit: budget.tpm_limit,
            };
            (model.clone(), stored)
        });
        models.collect::<BTreeMap<_, _>>().put(values);
        self.model_rpm_limit.put(values);
        self.model_tpm_limit.put(values);
    }

    fn get(columns: &mut dyn Columns) -> Result<Self> {
        let window = |stored: StoredWindow| BudgetWindow {
            budget_duration: stored.budget_duration,
            max_budget: Money::nanos(stored.max_budget_nanodollars),
        };
        let model = |stored: StoredModelBudget| ModelBudget {
            max_budget: stored.max_budget_nanodollars.map(Money::nanos),
            budget_duration: stored.budget_duration,
            rpm_limit: stored.rpm_limit,
            tpm_limit: stored.tpm_limit,
        };
        Ok(Limits {
            max_budget: Column::get(columns)?,
            soft_budget: Column::get(columns)?,
            budget_duration: Column::get(columns)?,
            budget_limits: <Vec<StoredWindow> as Column>::get(columns)?.into_iter().map(window).collect(),
            rpm_limit: Column::get(columns)?,
            tpm_limit: Column::get(columns)?,
            tpd_limit: Column::get(columns)?,
            max_parallel_requests: Column::get(columns)?,
            model_max_budget: <BTreeMap<String, StoredModelBudget> as Column>::get(columns)?
                .into_iter()
                .map(|(name, stored)| (name, model(stored)))
                .collect(),
            model_rpm_limit: Column::get(columns)?,
            model_tpm_limit: Column::get(columns)?,
        })
    }
}
