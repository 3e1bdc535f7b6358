//! The reference of the configuration, generated from its types: `docs/configuration.md` cannot disagree with them.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::Config;

const INTRODUCTION: &str = include_str!("reference/introduction.md");

/// Sections in the order one reads them.
const SECTIONS: [&str; 15] = [
    "listen",
    "directory",
    "counters",
    "ledger",
    "general_settings",
    "litellm_settings",
    "model_list",
    "quota",
    "metering",
    "request",
    "policy",
    "shadow",
    "identity",
    "tls",
    "telemetry",
];

impl Config {
    /// The JSON schema of the file, for editors.
    #[must_use]
    pub fn schema() -> Value {
        schemars::schema_for!(Config).to_value()
    }
}

/// The whole page, Markdown.
#[must_use]
pub fn markdown() -> String {
    let schema = Config::schema();
    let mut page = INTRODUCTION.trim_end().to_owned();
    page.push('\n');
    for name in SECTIONS {
        let section = &schema["properties"][name];
        let _ = write!(page, "\n## {name}\n\n");
        if let Some(text) = section["description"].as_str() {
            let _ = write!(page, "{}\n\n", paragraph(text));
        }
        page.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        let (object, prefix) = match section["items"].as_object() {
            Some(items) => (Some(items), format!("{name}[].")),
            None => (section.as_object(), format!("{name}.")),
        };
        if let Some(object) = object {
            rows(&schema, resolved(&schema, object), section.get("default"), &prefix, &mut page, 4);
        }
    }
    page
}

/// A row for each key, then the rows of the sections below it.
fn rows(
    schema: &Value,
    object: &Map<String, Value>,
    defaults: Option<&Value>,
    prefix: &str,
    page: &mut String,
    depth: u8,
) {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return };
    // By name, whatever order the schema is kept in.
    let mut properties: Vec<_> = properties.iter().collect();
    properties.sort_unstable_by_key(|(name, _)| *name);
    for (name, property) in properties {
        let Some(property) = property.as_object() else { continue };
        let default = property.get("default").or_else(|| defaults.and_then(|defaults| defaults.get(name)));
        let meaning = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(
            page,
            "| `{prefix}{name}` | {} | {} | {} |",
            type_of(schema, property),
            default.map(shown_default).unwrap_or_default(),
            paragraph(meaning).replace('|', "\\|"),
        );
        let inner = inner_object(schema, property);
        if let Some((inner, list)) = inner.filter(|_| depth > 0) {
            let prefix = format!("{prefix}{name}{}.", if list { "[]" } else { "" });
            rows(schema, inner, None, &prefix, page, depth - 1);
        }
    }
}

/// The object a property leads to, and whether by a list.
fn inner_object<'a>(schema: &'a Value, property: &'a Map<String, Value>) -> Option<(&'a Map<String, Value>, bool)> {
    if let Some(items) = property.get("items").and_then(Value::as_object) {
        return inner_object(schema, items).map(|(inner, _)| (inner, true));
    }
    let target = resolved(schema, first_choice(property));
    target.contains_key("properties").then_some((target, false))
}

/// What an optional property holds.
fn first_choice(property: &Map<String, Value>) -> &Map<String, Value> {
    let choices = property.get("anyOf").and_then(Value::as_array);
    let first = choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
    first.and_then(Value::as_object).unwrap_or(property)
}

fn resolved<'a>(schema: &'a Value, object: &'a Map<String, Value>) -> &'a Map<String, Value> {
    let name = object.get("$ref").and_then(Value::as_str).and_then(|link| link.strip_prefix("#/$defs/"));
    name.and_then(|name| schema["$defs"][name].as_object()).unwrap_or(object)
}

fn type_of(schema: &Value, property: &Map<String, Value>) -> String {
    let property = first_choice(property);
    if let Some(link) = property.get("$ref").and_then(Value::as_str) {
        match link.rsplit('/').next() {
            Some("Secret") => return "secret".to_owned(),
            Some("Duration") => return "duration".to_owned(),
            Some("Dollars") => return "dollars".to_owned(),
            _ => {}
        }
    }
    let target = resolved(schema, property);
    let words = choices(target);
    if !words.is_empty() {
        return words.join(", ");
    }
    let type_name = match target.get("type") {
        Some(Value::String(name)) => Some(name.as_str()),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    };
    match type_name {
        Some("string") => "text".to_owned(),
        Some("boolean") => "true, false".to_owned(),
        Some("integer") => "whole number".to_owned(),
        Some("number") => "number".to_owned(),
        Some("array") => {
            let items = target.get("items").and_then(Value::as_object);
            format!("list of {}", items.map_or_else(|| "any".to_owned(), |items| type_of(schema, items)))
        }
        Some("object") if target.contains_key("properties") => "section".to_owned(),
        Some("object") => {
            let values = target.get("additionalProperties").and_then(Value::as_object);
            match values.filter(|values| !values.is_empty()) {
                Some(values) => format!("map to {}", type_of(schema, values)),
                None => "map".to_owned(),
            }
        }
        _ => "map".to_owned(),
    }
}

/// The words a choice is made of, and `section` where one of the choices is a section.
fn choices(target: &Map<String, Value>) -> Vec<String> {
    let alternatives = ["oneOf", "anyOf"].iter().find_map(|name| target.get(*name).and_then(Value::as_array));
    let mut words: Vec<String> = Vec::new();
    let words_of = |schema: &Value| -> Vec<String> {
        let listed = schema["enum"].as_array().into_iter().flatten();
        listed.chain(schema.get("const")).filter_map(Value::as_str).map(|word| format!("`{word}`")).collect()
    };
    match alternatives {
        None => words.extend(target.get("enum").map(|_| words_of(&Value::Object(target.clone()))).unwrap_or_default()),
        Some(alternatives) => {
            for alternative in alternatives {
                words.extend(words_of(alternative));
                if let Some(properties) = alternative["properties"].as_object() {
                    let mut keys: Vec<&str> = properties.keys().map(String::as_str).collect();
                    keys.sort_unstable();
                    words.push(format!("`{{{}}}`", keys.join(", ")));
                }
            }
        }
    }
    words
}

fn shown_default(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Array(list) if list.is_empty() => "none".to_owned(),
        Value::Object(map) if map.is_empty() => "none".to_owned(),
        Value::String(text) => format!("`{text}`"),
        value => format!("`{value}`"),
    }
}

/// Rustdoc's line breaks as spaces.
fn paragraph(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
    }

    /// `TOLLWARD_WRITE_DOCS=1 cargo test --lib config::reference` writes the page anew.
    #[test]
    fn the_page_in_docs_is_the_generated_one() {
        let generated = markdown();
        if std::env::var_os("TOLLWARD_WRITE_DOCS").is_some() {
            std::fs::create_dir_all(page().parent().unwrap()).unwrap();
            std::fs::write(page(), &generated).unwrap();
        }
        let written = std::fs::read_to_string(page()).unwrap();
        assert!(
            written == generated,
            "docs/configuration.md is behind the types; run TOLLWARD_WRITE_DOCS=1 cargo test --lib config::reference"
        );
    }

    #[test]
    fn every_section_is_on_the_page_and_every_key_says_what_it_means() {
        let schema = Config::schema();
        let mut known: Vec<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let mut listed = SECTIONS.to_vec();
        known.sort_unstable();
        listed.sort_unstable();
        assert_eq!(known, listed);
        for line in markdown().lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "without a meaning: {line}");
            assert!(line.matches(" | ").count() >= 3, "not four cells: {line}");
        }
    }

    #[test]
    fn the_example_of_the_page_loads() {
        let example = INTRODUCTION.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let env = |name: &str| {
            matches!(name, "TOLLWARD_MASTER_KEY" | "OPENAI_API_KEY").then(|| "sk-an-example-key".to_owned())
        };
        let (config, warnings) = Config::parse(example, "example", &env).unwrap();
        assert!(warnings.is_empty());
        assert_eq!(config.model_list.len(), 2);
    }
}
