//! Tables of rows, and the two-column form of one row.

use comfy_table::{Attribute, Cell, ContentArrangement, presets};
use serde_json::Value;

use super::output::Style;

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
            rows: rows.iter().map(|row| columns.iter().map(|(_, field)| shown(&row[*field])).collect()).collect(),
            footer: None,
        }
    }

    /// One line a field that says something.
    pub fn of_fields(row: &Value) -> Self {
        let fields = row.as_object().into_iter().flatten().filter(|(_, value)| !says_nothing(value));
        Table {
            columns: Vec::new(),
            rows: fields.map(|(name, value)| vec![name.clone(), shown(value)]).collect(),
            footer: None,
        }
    }

    pub fn with_footer(mut self, footer: String) -> Self {
        self.footer = Some(footer);
        self
    }

    pub fn render(&self, style: Style) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(if style.borders { presets::UTF8_FULL_CONDENSED } else { presets::NOTHING });
        if style.borders {
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

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
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
    }
}
