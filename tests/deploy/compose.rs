//! A Compose file as Compose reads it: merge keys resolved, `${VARIABLES}` replaced.

use std::collections::{BTreeMap, BTreeSet};

use super::support::Value;

/// What a file says of one of its variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// `${NAME:?message}`: nothing starts without it.
    Refuse,
    /// `${NAME:-default}`.
    Default(String),
}

/// The file with its variables replaced, and all the variables it names with what stands in where one is not set.
pub fn read(text: &str, variables: &BTreeMap<&str, &str>) -> (Value, BTreeMap<String, Otherwise>) {
    let mut tree: Value = serde_saphyr::from_str(text).unwrap_or_else(|problem| panic!("{problem}"));
    let mut named = BTreeMap::new();
    replace(&mut tree, variables, &mut named);
    (tree, named)
}

fn replace(value: &mut Value, variables: &BTreeMap<&str, &str>, named: &mut BTreeMap<String, Otherwise>) {
    match value {
        Value::String(text) => *text = replaced(text, variables, named),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, variables, named)),
        Value::Object(members) => members.values_mut().for_each(|member| replace(member, variables, named)),
        _ => {}
    }
}

fn replaced(text: &str, variables: &BTreeMap<&str, &str>, named: &mut BTreeMap<String, Otherwise>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let inside = after.strip_prefix('{').unwrap_or_else(|| panic!("`$` without braces: {text}"));
        let (inside, after) = inside.split_once('}').unwrap_or_else(|| panic!("not closed: {text}"));
        let (name, otherwise) = if let Some((name, _)) = inside.split_once(":?") {
            (name, Otherwise::Refuse)
        } else if let Some((name, default)) = inside.split_once(":-") {
            (name, Otherwise::Default(default.to_owned()))
        } else {
            panic!("${{{inside}}} would be empty where it is not set: {text}")
        };
        let set = variables.get(name).filter(|value| !value.is_empty()).map(|value| (*value).to_owned());
        out.push_str(&match (&otherwise, set) {
            (_, Some(value)) => value,
            (Otherwise::Default(default), None) => default.clone(),
            (Otherwise::Refuse, None) => panic!("refused: {name} is not set"),
        });
        let before = named.insert(name.to_owned(), otherwise.clone());
        assert!(before.is_none_or(|before| before == otherwise), "{name} has two defaults");
        rest = after;
    }
    out + rest
}

/// Names of the members of an object, and the items of a list of texts.
pub fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(members) => members.keys().cloned().collect(),
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        Value::Null => BTreeSet::new(),
        other => panic!("neither names nor a list: {other}"),
    }
}
