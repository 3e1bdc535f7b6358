//! The YAML file as a tree in which every key and value knows its place, so that each complaint can name file, line
//! and column. Syntax errors and duplicate keys are found here; what keys mean is not known here.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Line and column, from 1; `0` where there is no place, as in a configuration without a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

#[derive(Clone, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    /// Text that came from the environment: it may stand for a number or a switch, and is never shown.
    Substituted {
        text: String,
        variables: Vec<String>,
    },
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub struct Key {
    pub name: String,
    pub place: Place,
}

/// Where the text is no YAML, and why.
#[derive(Clone, Debug)]
pub struct SyntaxError {
    pub place: Place,
    pub message: String,
}

impl Node {
    /// Reads one YAML document. An empty one is an empty map.
    pub fn parse(text: &str) -> Result<Node, SyntaxError> {
        let options = serde_saphyr::options! {
            strict_booleans: true,
            leading_zero_numbers_as_strings: true,
            underscored_numbers_as_strings: true,
            with_snippet: false,
        };
        match serde_saphyr::from_str_with_options::<Option<Node>>(text, options) {
            Ok(node) => Ok(node.unwrap_or_else(Node::empty)),
            Err(error) => {
                let place = error.location().map(Place::from).unwrap_or_default();
                Err(SyntaxError { place, message: plain_message(&error) })
            }
        }
    }

    #[must_use]
    pub fn empty() -> Node {
        Node { value: Value::Map(Vec::new()), place: Place::default() }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The pairs of a map; none for other values.
    #[must_use]
    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether a switch is off or a value is left empty.
    #[must_use]
    pub fn is_off(&self) -> bool {
        match &self.value {
            Value::Null | Value::Bool(false) => true,
            Value::Text(text) => text.is_empty(),
            Value::List(list) => list.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// The place of a path as in `general_settings.allowed_ips[1]`, or of the last part of it that the file has.
    #[must_use]
    pub fn place_of(&self, path: &str) -> Place {
        let mut node = self;
        for part in path.split(['.', '[']) {
            let next = match (&node.value, part.strip_suffix(']')) {
                (Value::List(list), Some(index)) => index.parse::<usize>().ok().and_then(|index| list.get(index)),
                _ => node.get(part),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.place
    }
}

/// The message without its place, which is told apart from it.
fn plain_message(error: &serde_saphyr::Error) -> String {
    let error = error.without_snippet();
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("the key {key} stands twice; remove one of the two");
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let end = first.find(" at line ").unwrap_or(first.len());
    first[..end].trim_end_matches([':', ' ']).to_owned()
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Place { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Node { value: spanned.value, place: spanned.referenced.into() })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(u64::try_from(value).map_or(Value::Signed(value), Value::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = seq.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { name: key.value, place: key.referenced.into() };
            entries.push((key, map.next_value()?));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_values_know_their_places() {
        let tree = Node::parse("a: 1\nb:\n  - x\n  - c: true\n").unwrap();
        let place = |path| {
            let Place { line, column } = tree.place_of(path);
            (line, column)
        };
        assert_eq!(place("a"), (1, 4));
        assert_eq!(place("b[0]"), (3, 5));
        assert_eq!(place("b[1].c"), (4, 8));
        assert_eq!(place("b[1].missing"), (4, 5));
        assert_eq!(tree.entries()[1].0.place, Place { line: 2, column: 1 });
    }

    #[test]
    fn an_empty_file_is_an_empty_map() {
        for text in ["", "# nothing\n", "---\n"] {
            assert!(Node::parse(text).unwrap().entries().is_empty(), "{text:?}");
        }
    }

    #[test]
    fn syntax_errors_and_duplicate_keys_tell_where() {
        for (text, line) in
            [("a: [1\nb: 2\n", 2), ("a: 1\nb: 2\na: 3\n", 3), ("a:\n  b: 1\n  b: 2\n", 3), ("a: 'x\n", 1)]
        {
            let error = Node::parse(text).unwrap_err();
            assert_eq!(error.place.line, line, "{text:?}: {}", error.message);
            assert!(!error.message.is_empty() && !error.message.contains("line "), "{}", error.message);
        }
    }

    #[test]
    fn words_that_look_like_other_types_stay_text() {
        let tree = Node::parse("a: no\nb: 007\nc: '12'\nd: 00:30\n").unwrap();
        for (name, text) in [("a", "no"), ("b", "007"), ("c", "12"), ("d", "00:30")] {
            let node = tree.get(name).unwrap();
            assert!(matches!(&node.value, Value::Text(found) if found == text), "{name}: {node:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a-z0-9:\\-\\[\\]{}&*!'\"\n #<>|\t]{0,80}") {
            let _ = Node::parse(&text);
        }
    }
}
