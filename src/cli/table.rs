//! Tables of rows, and the two-column form of one row.

use comfy_table::{Attribute, Cell, ContentArrangement, presets};
use serde_json::Value;

use super::output::Style;
use crate::domain::Money;

/// Fields of one row that come first: what it is called, and a secret that shows only once.
const FIRST: [&str; 10] = [
    "key",
    "key_name",
    "key_alias",
    "user_id",
    "user_email",
    "team_id",
    "team_alias",
    "organization_id",
    "organization_alias",
    "budget_id",
];
/// Fields that only repeat others, and those that say nothing while they are false or zero.
const REPEATING: [&str; 4] = ["token_id", "litellm_budget_table", "members_with_roles", "updated_team_memberships"];
const QUIET: [&str; 4] = ["auto_rotate", "blocked", "rotation_count", "throttle_on_budget_exceeded"];
/// Fields in dollars.
const DOLLARS: [&str; 6] =
    ["max_budget", "previous_spend", "soft_budget", "spend", "temp_budget_increase", "max_budget_in_team"];

/// Columns and rows of text.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// Printed below: totals, pages.
    footer: Option<String>,
}

impl Table {
    /// One line an entry of a list, one column a field name.
    pub fn of_rows(rows: &[Value], columns: &[(&str, &str)]) -> Self {
        Table {
            columns: columns.iter().map(|(title, _)| (*title).to_owned()).collect(),
            rows: rows
                .iter()
                .map(|row| columns.iter().map(|(_, field)| field_shown(field, &row[*field])).collect())
                .collect(),
            footer: None,
        }
    }

    /// One line a field that says something.
    pub fn of_fields(row: &Value) -> Self {
        let fields = row.as_object().into_iter().flatten();
        let mut fields: Vec<_> = fields.filter(|(name, value)| !says_nothing(name, value)).collect();
        let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
        fields.sort_by_key(|(name, _)| place(name));
        Table {
            columns: Vec::new(),
            rows: fields.into_iter().map(|(name, value)| vec![name.clone(), field_shown(name, value)]).collect(),
            footer: None,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn with_footer(mut self, footer: String) -> Self {
        self.footer = Some(footer);
        self
    }

    pub fn render(&self, style: Style) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(if style.borders { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
        // A terminal that tells no useful width gets long lines rather than columns of single letters.
        if style.borders && table.width().is_some_and(|width| width >= 40) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if style.colors {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        let heading = |text: &String| {
            let cell = Cell::new(text);
            if style.colors { cell.add_attribute(Attribute::Bold) } else { cell }
        };
        if !self.columns.is_empty() {
            table.set_header(self.columns.iter().map(heading));
        }
        for row in &self.rows {
            table.add_row(row.iter().map(Cell::new));
        }
        let mut text = table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n");
        if let Some(footer) = &self.footer {
            text.push('\n');
            text.push_str(footer);
        }
        text
    }
}

fn says_nothing(name: &str, value: &Value) -> bool {
    let is_zero = value == &Value::Bool(false) || value.as_u64() == Some(0);
    if REPEATING.contains(&name) || QUIET.contains(&name) && is_zero {
        return true;
    }
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn field_shown(name: &str, value: &Value) -> String {
    let dollars = value.as_f64().filter(|_| DOLLARS.contains(&name)).and_then(Money::from_dollars);
    dollars.map_or_else(|| shown(value), |money| money.to_string())
}

/// A value as people read it; control characters are escaped, so that a name cannot steer the terminal.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => printable(text),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// Text without control characters, which could steer a terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().flat_map(escaped).collect()
}

fn escaped(c: char) -> Box<dyn Iterator<Item = char>> {
    if c.is_control() { Box::new(c.escape_default()) } else { Box::new(std::iter::once(c)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PLAIN: Style = Style { borders: false, colors: false };

    #[test]
    fn a_piped_table_is_aligned_plain_and_cannot_steer_a_terminal() {
        let rows = [json!({"id": "a", "models": ["x", "y"]}), json!({"id": "long\u{1b}[31m", "models": []})];
        let text = Table::of_rows(&rows, &[("ID", "id"), ("MODELS", "models")]).render(PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].trim_start().starts_with("ID") && lines[1].contains("x, y"), "{text}");
        let columns: Vec<_> = ["MODELS", "x, y"].iter().zip(&lines).map(|(word, line)| line.find(word)).collect();
        assert_eq!(columns[0], columns[1], "{text}");
        assert!(!text.contains('\u{1b}') && lines[2].contains("long\\u{1b}[31m"), "{text}");
    }

    #[test]
    fn one_row_shows_only_fields_that_say_something() {
        let text = Table::of_fields(&json!({"a": null, "b": [], "c": {}, "d": false, "e": 0})).render(PLAIN);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["d", "no", "e", "0"]);
        let row = json!({"blocked": false, "max_budget": 2.5, "key": "sk-x", "token_id": "t"});
        let text = Table::of_fields(&row).render(PLAIN);
        let words: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(words, ["key", "sk-x", "max_budget", "$2.50"], "what it is called first, money as money");
    }
}
