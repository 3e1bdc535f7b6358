//! What a token or a provider says of its bearer: objects read strictly, paths into them, and values read leniently.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use smallvec::SmallVec;

/// The deepest nesting of a document that is read; the object itself is the first level.
const MAX_NESTING: usize = 32;
/// The longest path, in bytes, and its most steps.
const MAX_PATH: usize = 512;
const MAX_STEPS: usize = 16;

/// Why a text is no object that can be trusted. It tells nothing of what the text holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not one JSON object whose members have names of their own")]
pub struct ObjectError;

/// Reads one JSON object. A name that an object at any depth holds twice is refused, since readers disagree about which
/// one counts (RFC 7515, section 4; RFC 7519, section 4); so is a nesting beyond 32 levels.
pub fn read_object(text: &[u8]) -> Result<Map<String, Value>, ObjectError> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Strict { room: MAX_NESTING }.deserialize(&mut reader).map_err(|_| ObjectError)?;
    reader.end().map_err(|_| ObjectError)?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ObjectError),
    }
}

/// A value with `room` levels of nesting.
#[derive(Clone, Copy)]
struct Strict {
    room: usize,
}

impl Strict {
    fn inner<E: Error>(self) -> Result<Strict, E> {
        let room = self.room.checked_sub(1).ok_or_else(|| E::custom("too deep"))?;
        Ok(Strict { room })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("no number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Where in an object a value stands: `email`, `realm_access.roles`, `roles[0]` or `roles.0`, `https://example\.com/id.x`.
/// A member whose whole name is the path as written wins over what the path leads to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath {
    text: String,
    steps: SmallVec<[Step; 2]>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// A member of an object; of a list where the name is a number.
    Name(String),
    /// `[n]`: an element of a list.
    Index(usize),
}

impl ClaimPath {
    /// Reads a path: names divided by dots, `[n]` after a name, a backslash before a dot, a bracket or a backslash that
    /// is part of a name. At most 16 steps and 512 bytes.
    pub fn parse(text: &str) -> Result<ClaimPath, String> {
        if text.is_empty() {
            return Err("a claim path is empty".to_owned());
        }
        if text.len() > MAX_PATH {
            return Err(format!("a claim path is longer than {MAX_PATH} bytes"));
        }
        let mut steps = SmallVec::new();
        let mut rest = text;
        loop {
            let (name, after) = name(rest)?;
            rest = after;
            steps.push(Step::Name(name));
            while let Some(inner) = rest.strip_prefix('[') {
                let (digits, after) = inner.split_once(']').ok_or("a bracket is not closed; write name[0]")?;
                let index = index(digits).ok_or("between brackets stands one number, as in name[0]")?;
                steps.push(Step::Index(index));
                rest = after;
            }
            if steps.len() > MAX_STEPS {
                return Err(format!("a claim path has more than {MAX_STEPS} steps"));
            }
            match rest.strip_prefix('.') {
                Some(after) => rest = after,
                None if rest.is_empty() => break,
                None => return Err("after ] follows a dot, another [ or the end".to_owned()),
            }
        }
        Ok(ClaimPath { text: text.to_owned(), steps })
    }

    /// The value, `null` being none.
    #[must_use]
    pub fn get<'v>(&self, claims: &'v Map<String, Value>) -> Option<&'v Value> {
        if let Some(value) = claims.get(&self.text) {
            return Some(value).filter(|value| !value.is_null());
        }
        let (first, rest) = self.steps.split_first()?;
        let Step::Name(first) = first else { return None };
        let mut value = claims.get(first)?;
        for step in rest {
            value = match (step, value) {
                (Step::Name(name), Value::Object(object)) => object.get(name)?,
                (Step::Name(name), Value::Array(list)) => list.get(index(name)?)?,
                (Step::Index(index), Value::Array(list)) => list.get(*index)?,
                _ => return None,
            };
        }
        Some(value).filter(|value| !value.is_null())
    }
}

/// The name at the beginning, its escapes resolved, and what follows it.
fn name(text: &str) -> Result<(String, &str), String> {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '.' | '[' => {
                end = at;
                break;
            }
            '\\' => match characters.next() {
                Some((_, escaped @ ('.' | '[' | ']' | '\\'))) => name.push(escaped),
                _ => return Err("a backslash stands before a dot, a bracket or a backslash only".to_owned()),
            },
            _ => name.push(character),
        }
    }
    if name.is_empty() {
        return Err("a claim path has an empty name".to_owned());
    }
    Ok((name, text.get(end..).unwrap_or_default()))
}

/// A number as JSON writes it: digits without leading zeros.
fn index(digits: &str) -> Option<usize> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    digits.parse().ok().filter(|_| plain)
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClaimPath({:?})", self.text)
    }
}

/// One value as text: a string, a number, or the first element of a list that is one. Empty strings, booleans and
/// objects are none.
#[must_use]
pub fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Array(list) => list.first().and_then(plain),
        value => plain(value),
    }
}

/// All values as text: what of a list can be text, or the one value.
#[must_use]
pub fn list(value: &Value) -> Vec<Cow<'_, str>> {
    match value {
        Value::Array(list) => list.iter().filter_map(plain).collect(),
        value => plain(value).into_iter().collect(),
    }
}

/// Whether the provider says that it did not verify the address (`email_verified`, OpenID Connect Core 1.0, section 5.1):
/// somebody else's address proves nothing.
#[must_use]
pub fn is_email_unverified(claims: &Map<String, Value>) -> bool {
    match claims.get("email_verified") {
        Some(Value::Bool(verified)) => !verified,
        Some(Value::String(verified)) => verified.eq_ignore_ascii_case("false"),
        _ => false,
    }
}

fn plain(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// The scopes of a token, each once, in the order they stand: `scope` (RFC 8693, section 4.2) and then `scp`, each a
/// text with spaces between or a list.
#[must_use]
pub fn scopes(claims: &Map<String, Value>) -> Vec<&str> {
    let mut scopes = Vec::new();
    for value in ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)) {
        let texts = match value {
            Value::Array(list) => list.as_slice(),
            value => std::slice::from_ref(value),
        };
        scopes.extend(texts.iter().filter_map(Value::as_str).flat_map(str::split_ascii_whitespace));
    }
    let mut seen = ahash::AHashSet::with_capacity(scopes.len());
    scopes.retain(|scope| seen.insert(*scope));
    scopes
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn an_object_is_read_as_it_stands() {
        let text = br#" {"a": [1, -2, 0.5, true, null, "\u00e9"], "b": {"a": {}}} "#;
        let read = read_object(text).unwrap();
        assert_eq!(Value::Object(read), json!({"a": [1, -2, 0.5, true, null, "é"], "b": {"a": {}}}));
    }

    #[test]
    fn names_that_stand_twice_are_refused_at_every_depth() {
        let cases = [
            r#"{"alg": "none", "alg": "RS256"}"#,
            r#"{"a": 1, "a": 1}"#,
            r#"{"a": 1, "\u0061": 2}"#,
            r#"{"x": {"a": 1, "a": 2}}"#,
            r#"{"x": [[{"a": 1, "b": 2, "a": 3}]]}"#,
        ];
        for case in cases {
            assert_eq!(read_object(case.as_bytes()), Err(ObjectError), "{case}");
        }
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        let cases: [&[u8]; 12] = [
            b"",
            b"null",
            b"[]",
            b"\"text\"",
            b"{}{}",
            b"{} x",
            b"{\"a\":1,}",
            b"{\"a\"}",
            b"{'a':1}",
            b"{\"a\":\"\xff\"}",
            b"{\"a\":\"\\ud800\"}",
            b"{\"a\":1e999}",
        ];
        for case in cases {
            assert_eq!(read_object(case), Err(ObjectError), "{case:?}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |levels: usize| format!(r#"{{"a":{}1{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(read_object(nested(MAX_NESTING).as_bytes()).is_ok());
        assert_eq!(read_object(nested(MAX_NESTING + 1).as_bytes()), Err(ObjectError));
        assert_eq!(read_object(nested(100_000).as_bytes()), Err(ObjectError));
    }

    #[test]
    fn paths_lead_through_objects_and_lists_and_a_literal_name_wins() {
        let claims = object(json!({
            "email": "a@b.c",
            "realm": {"roles": ["admin", "user"], "deep": [[{"id": 7}]], "0": "zero"},
            "roles": ["first", "second"],
            "https://example.com/roles": ["x"],
            "a.b": "literal",
            "a": {"b": "nested", "c.d": "dotted", "c": {"d": "two steps"}, "[x]": "bracket", "\\": "slash"},
            "roles[1]": "literal too",
            "nothing": null,
        }));
        let cases = [
            ("email", Some(json!("a@b.c"))),
            ("realm.roles", Some(json!(["admin", "user"]))),
            ("realm.roles[1]", Some(json!("user"))),
            ("realm.roles.0", Some(json!("admin"))),
            ("realm.deep[0][0].id", Some(json!(7))),
            ("realm.deep.0.0.id", Some(json!(7))),
            ("realm.0", Some(json!("zero"))),
            ("realm[0]", None),
            ("roles[0]", Some(json!("first"))),
            ("roles[1]", Some(json!("literal too"))),
            ("roles.1", Some(json!("second"))),
            ("roles.01", None),
            ("roles.-1", None),
            ("roles.2", None),
            ("roles.18446744073709551616", None),
            ("https://example.com/roles", Some(json!(["x"]))),
            (r"https://example\.com/roles", Some(json!(["x"]))),
            (r"https://example\.com/roles[0]", Some(json!("x"))),
            ("a.b", Some(json!("literal"))),
            ("a.c.d", Some(json!("two steps"))),
            (r"a.c\.d", Some(json!("dotted"))),
            (r"a.\[x\]", Some(json!("bracket"))),
            (r"a.\\", Some(json!("slash"))),
            ("email.x", None),
            ("email[0]", None),
            ("nothing", None),
            ("nothing.x", None),
            ("absent", None),
        ];
        for (path, expected) in cases {
            let path = ClaimPath::parse(path).unwrap();
            assert_eq!(path.get(&claims), expected.as_ref(), "{path}");
        }
    }

    #[test]
    fn a_path_that_leads_nowhere_by_its_form_is_refused() {
        let long = "a".repeat(MAX_PATH + 1);
        let deep = ["a"; MAX_STEPS + 1].join(".");
        let indexed = format!("a{}", "[0]".repeat(MAX_STEPS));
        let cases = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "[0]",
            "a[",
            "a[]",
            "a[x]",
            "a[-1]",
            "a[01]",
            "a[0]b",
            "a[0]]",
            r"a\",
            r"a\b",
            "a.[0]",
            "a[99999999999999999999]",
            &long,
            &deep,
            &indexed,
        ];
        for case in cases {
            assert!(ClaimPath::parse(case).is_err(), "{case}");
        }
        assert!(ClaimPath::parse(&"a".repeat(MAX_PATH)).is_ok());
        assert!(ClaimPath::parse(&["a"; MAX_STEPS].join(".")).is_ok());
    }

    #[test]
    fn a_path_shows_as_it_was_written() {
        assert_eq!(ClaimPath::parse(r"a\.b.c[0]").unwrap().to_string(), r"a\.b.c[0]");
    }

    #[test]
    fn one_value_is_text_or_the_first_of_a_list() {
        let cases = [
            (json!("a"), Some("a")),
            (json!(7), Some("7")),
            (json!(["a", "b"]), Some("a")),
            (json!([7]), Some("7")),
            (json!(""), None),
            (json!([""]), None),
            (json!([]), None),
            (json!([["a"]]), None),
            (json!(true), None),
            (json!({"a": 1}), None),
            (json!([{"a": 1}, "b"]), None),
            (json!(null), None),
        ];
        for (value, expected) in cases {
            assert_eq!(scalar(&value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_list_is_what_of_it_is_text_and_one_text_is_a_list_of_one() {
        let cases = [
            (json!("a b"), vec!["a b"]),
            (json!(["a", 1, "", null, {"x": 1}, "b"]), vec!["a", "1", "b"]),
            (json!(3), vec!["3"]),
            (json!(""), vec![]),
            (json!({}), vec![]),
        ];
        for (value, expected) in cases {
            assert_eq!(list(&value), expected, "{value}");
        }
    }

    #[test]
    fn scopes_are_those_of_scope_and_scp_each_once() {
        let cases = [
            (json!({"scope": "read  write read"}), vec!["read", "write"]),
            (json!({"scope": ["read", "write more"]}), vec!["read", "write", "more"]),
            (json!({"scp": ["a", "b"], "scope": "b c"}), vec!["b", "c", "a"]),
            (json!({"scp": "a b"}), vec!["a", "b"]),
            (json!({"scope": 7, "scp": null}), vec![]),
            (json!({}), vec![]),
        ];
        for (claims, expected) in cases {
            assert_eq!(scopes(&object(claims.clone())), expected, "{claims}");
        }
    }
}
