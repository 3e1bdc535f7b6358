//! Flags that several commands share: limits, and attributes by name.

use clap::Args;
use serde_json::{Value, json};

use crate::manage::Params;

/// Limits of a key, team, user, organization or budget.
#[derive(Debug, Default, Args)]
pub(super) struct Limits {
    /// Dollars that may be spent
    #[arg(long, value_name = "DOLLARS", allow_negative_numbers = true)]
    max_budget: Option<f64>,
    /// Dollars after which to warn
    #[arg(long, value_name = "DOLLARS", allow_negative_numbers = true)]
    soft_budget: Option<f64>,
    /// How long a budget lasts, as in 1d, 7d, 30d, 1mo; for life without it
    #[arg(long, value_name = "DURATION")]
    budget_duration: Option<String>,
    /// Requests in any 60 seconds
    #[arg(long, value_name = "N")]
    rpm: Option<u64>,
    /// Tokens in any 60 seconds
    #[arg(long, value_name = "N")]
    tpm: Option<u64>,
    /// Requests in flight
    #[arg(long, value_name = "N")]
    max_parallel: Option<u64>,
}

impl Limits {
    pub fn write(&self, params: &mut Params) {
        put(params, "max_budget", self.max_budget);
        put(params, "soft_budget", self.soft_budget);
        put(params, "budget_duration", self.budget_duration.as_deref());
        put(params, "rpm_limit", self.rpm);
        put(params, "tpm_limit", self.tpm);
        put(params, "max_parallel_requests", self.max_parallel);
    }
}

/// Attributes without a flag of their own.
#[derive(Debug, Default, Args)]
pub(super) struct Others {
    /// Any attribute of the API as JSON, as in --set 'model_rpm_limit={"gpt-4o":5}'; repeatable
    #[arg(long = "set", value_name = "NAME=JSON", value_parser = attribute)]
    set: Vec<(String, Value)>,
    /// An attribute of the API to clear; repeatable
    #[arg(long = "clear", value_name = "NAME")]
    clear: Vec<String>,
}

impl Others {
    pub fn write(&self, params: &mut Params) {
        params.extend(self.set.iter().cloned());
        params.extend(self.clear.iter().map(|name| (name.clone(), Value::Null)));
    }
}

/// Reads `NAME=JSON`; what is no JSON is text.
fn attribute(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write an attribute as NAME=JSON")?;
    if name.is_empty() {
        return Err("write an attribute as NAME=JSON".to_owned());
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| json!(value))))
}

/// Sends a value where a flag gave one.
pub(super) fn put<T: Into<Value>>(params: &mut Params, name: &str, value: Option<T>) {
    if let Some(value) = value {
        params.insert(name.to_owned(), value.into());
    }
}

/// Sends a list where a flag gave one.
pub(super) fn put_list(params: &mut Params, name: &str, values: &[String]) {
    if !values.is_empty() {
        params.insert(name.to_owned(), json!(values));
    }
}

/// A page of a list.
#[derive(Debug, Args)]
pub(super) struct Page {
    /// The page, counted from 1
    #[arg(long, default_value_t = 1, value_parser = page)]
    pub page: u64,
    /// Rows a page
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub size: u64,
}

fn page(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(page) if page > 0 => Ok(page),
        _ => Err("pages count from 1".to_owned()),
    }
}

impl Page {
    pub fn offset(&self) -> u64 {
        (self.page - 1).saturating_mul(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_json_and_what_is_not_is_text() {
        for (text, value) in
            [("a=1", json!(1)), ("a=x=y", json!("x=y")), ("a={\"b\":[]}", json!({"b": []})), ("a=", json!(""))]
        {
            assert_eq!(attribute(text), Ok(("a".to_owned(), value)), "{text}");
        }
        assert!(attribute("=1").is_err() && attribute("a").is_err());
    }

    #[test]
    fn only_flags_that_were_given_are_sent() {
        let mut params = Params::new();
        Limits { rpm: Some(0), ..Limits::default() }.write(&mut params);
        Others { set: vec![("x".into(), json!(1))], clear: vec!["tpm_limit".into()] }.write(&mut params);
        assert_eq!(Value::Object(params), json!({"rpm_limit": 0, "x": 1, "tpm_limit": null}));
    }
}
