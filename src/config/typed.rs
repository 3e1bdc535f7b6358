//! From the tree to the types: a deserializer that knows where it is, so that a wrong type or an unknown key is told
//! with its path and place. Its messages name kinds of values, never what a value holds.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};

use super::problem::Problem;
use super::tree::{Key, Node, Place, Value};

/// Reads a type from the tree. The problem tells path and place.
pub fn read<T: DeserializeOwned>(tree: &Node) -> Result<T, Problem> {
    T::deserialize(At(tree)).map_err(|fault| fault.into_problem(tree.place))
}

/// A fault on its way up: each level adds its part of the path.
#[derive(Debug)]
struct Fault {
    message: String,
    place: Option<Place>,
    /// Innermost first.
    path: Vec<String>,
}

impl Fault {
    fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), place: None, path: Vec::new() }
    }

    fn below(mut self, part: String, place: Place) -> Self {
        self.path.push(part);
        self.place = self.place.or(Some(place));
        self
    }

    fn into_problem(self, root: Place) -> Problem {
        let mut path = String::new();
        for part in self.path.iter().rev() {
            if !path.is_empty() && !part.starts_with('[') {
                path.push('.');
            }
            path.push_str(part);
        }
        Problem { place: self.place.unwrap_or(root), path, message: self.message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        Fault::new(match message.as_str() {
            "invalid socket address syntax" => "an address with a port is expected here, as 127.0.0.1:9001",
            "invalid IP address syntax" => "a network is expected here, as 10.0.0.0/8 or 2001:db8::/32",
            other => other,
        })
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::new(format!("{} is expected here, not {}", plain(expected), kind(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Fault::invalid_type(found, expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(format!("one of {} is expected here", expected.join(", ")))
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Fault::new(match closest(field, expected) {
            Some(close) => format!("there is no such key here; did you mean {close}?"),
            None => format!("there is no such key here; the keys are {}", expected.join(", ")),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Fault::new(format!("the key {field} is missing; add it"))
    }
}

/// Rust's names of types in words.
fn plain(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative and not too large".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "a text (in quotes, if it looks like something else)".to_owned(),
        "a sequence" => "a list".to_owned(),
        "path string" => "the name of a file".to_owned(),
        text if text.starts_with("struct ") => "a section of keys".to_owned(),
        text => text.to_owned(),
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "this number",
        Unexpected::Float(_) => "a number with decimals",
        Unexpected::Str(_) | Unexpected::Char(_) | Unexpected::Bytes(_) => "this text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a section of keys",
        _ => "this",
    }
}

/// The name closest to a misspelt one, if it is close enough to be meant.
pub fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let far = (name.chars().count() / 3).clamp(1, 3);
    let best = known.iter().map(|candidate| (distance(name, candidate), *candidate)).min()?;
    (best.0 <= far).then_some(best.1)
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// A node as a source of data.
#[derive(Clone, Copy)]
struct At<'a>(&'a Node);

impl<'a> At<'a> {
    /// A switch; from the environment it arrives as text.
    fn switch<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.substituted().map(str::parse) {
            Some(Ok(value)) => visitor.visit_bool(value),
            _ => self.any(visitor),
        }
    }

    /// A number; from the environment it arrives as text.
    fn number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Some(text) = self.substituted() else { return self.any(visitor) };
        match (text.parse::<u64>(), text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(value), ..) => visitor.visit_u64(value),
            (_, Ok(value), _) => visitor.visit_i64(value),
            (.., Ok(value)) => visitor.visit_f64(value),
            _ => self.any(visitor),
        }
    }

    fn substituted(self) -> Option<&'a str> {
        match &self.0.value {
            Value::Substituted { text, .. } => Some(text.trim()),
            _ => None,
        }
    }

    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Signed(value) => visitor.visit_i64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::Text(text) => visitor.visit_str(text),
            Value::Substituted { text, .. } => visitor.visit_str(text),
            Value::List(list) => visitor.visit_seq(Items { list, next: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }
}

/// A message may quote what it complains about; where that came from the environment only the variable is told.
fn hidden(fault: Fault, node: &Node) -> Fault {
    let Value::Substituted { variables, .. } = &node.value else { return fault };
    let message = format!("what the environment variable {} holds does not fit here", variables.join(", "));
    Fault { message, ..fault }
}

macro_rules! numbers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for At<'_> {
    type Error = Fault;

    /// Where no type is asked for, a text from the environment that is a number is one: prices among free parameters.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.substituted().map(str::parse::<f64>) {
            Some(Ok(value)) if value.is_finite() => self.number(visitor),
            _ => self.any(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.switch(visitor)
    }

    numbers! {
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_f32 deserialize_f64
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// A list and a section that are left empty are empty.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Null => visitor.visit_seq(Items { list: &[], next: 0 }),
            _ => self.any(visitor),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0.value {
            Value::Null => visitor.visit_map(Entries { entries: &[], next: 0 }),
            _ => self.any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0.value {
            // Serde would take a list for the keys in their order.
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a section of keys")),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.0.value {
            Value::Text(text) | Value::Substituted { text, .. } => {
                let variant: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            _ => Err(de::Error::unknown_variant("", variants)),
        }
    }

    serde::forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
    }
}

struct Items<'a> {
    list: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(node) = self.list.get(self.next) else { return Ok(None) };
        let index = self.next;
        self.next += 1;
        let value = seed.deserialize(At(node)).map_err(|fault| hidden(fault, node));
        value.map(Some).map_err(|fault| fault.below(format!("[{index}]"), node.place))
    }
}

struct Entries<'a> {
    entries: &'a [(Key, Node)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        let name: StrDeserializer<'_, Fault> = key.name.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|fault| fault.below(key.name.clone(), key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((key, node)) = self.entries.get(self.next) else {
            return Err(Fault::new("a value without a key"));
        };
        self.next += 1;
        let value = seed.deserialize(At(node)).map_err(|fault| hidden(fault, node));
        value.map_err(|fault| fault.below(key.name.clone(), node.place))
    }
}
