//! Values for expressions, borrowed from what they stand for.

use std::collections::HashMap;
use std::sync::OnceLock;

use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString};
use cel::common::value::{CowVal, Val};
use serde_json::{Map, Value as Json};

use super::EvaluationError;
use super::limits::{MAX_JSON_DEPTH, MAX_MADE, MAX_VALUES};

/// A value that is kept for all expressions of a request.
pub type Values<'a> = Box<dyn Val + 'a>;

/// A value as it is handed to the interpreter.
pub type Found<'b> = CowVal<'b, 'b>;

pub fn text(value: &str) -> Found<'_> {
    CowVal::owned(CelString::from(value))
}

pub fn number(value: i64) -> Found<'static> {
    CowVal::owned(CelInt::from(value))
}

pub fn flag(value: bool) -> Found<'static> {
    CowVal::owned(CelBool::from(value))
}

/// The value kept here, made at its first use; `None` where it cannot be made.
pub fn kept<'b, 'a: 'b>(
    place: &'b OnceLock<Option<Values<'a>>>,
    make: impl FnOnce() -> Option<Values<'a>>,
) -> Option<Found<'b>> {
    place.get_or_init(make).as_deref().map(|value| CowVal::Borrowed(value as &'b (dyn Val + 'b)))
}

/// A list of texts.
pub fn list<'a>(items: impl Iterator<Item = &'a str>) -> Values<'a> {
    let items: Vec<Values<'a>> = items.map(|item| Box::new(CelString::from(item)) as Values<'a>).collect();
    Box::new(CelList::from(items))
}

/// A map of texts; of equal keys the first stays.
pub fn map<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Values<'a> {
    let mut all: HashMap<CelMapKey<'a>, Values<'a>> = HashMap::new();
    for (name, value) in fields {
        all.entry(CelMapKey::from(name)).or_insert_with(|| Box::new(CelString::from(value)));
    }
    Box::new(CelMap::from(all))
}

/// A moment, in whole seconds.
pub fn timestamp(seconds: i64) -> Option<Found<'static>> {
    let seconds = vec![CowVal::owned(CelInt::from(seconds))];
    super::LIBRARY.find_overload("timestamp", &seconds)?(seconds).ok()
}

/// A map of JSON; `None` where it is too deep or too large.
pub fn json_map(map: &Map<String, Json>) -> Option<Values<'_>> {
    let mut left = MAX_VALUES;
    object(map, &mut left, MAX_JSON_DEPTH)
}

fn object<'a>(map: &'a Map<String, Json>, left: &mut usize, depth: usize) -> Option<Values<'a>> {
    // Before memory is set aside for it.
    left.checked_sub(map.len())?;
    let mut all: HashMap<CelMapKey<'a>, Values<'a>> = HashMap::with_capacity(map.len());
    for (name, value) in map {
        all.insert(CelMapKey::from(name.as_str()), json(value, left, depth.checked_sub(1)?)?);
    }
    Some(Box::new(CelMap::from(all)))
}

fn json<'a>(value: &'a Json, left: &mut usize, depth: usize) -> Option<Values<'a>> {
    *left = left.checked_sub(1)?;
    Some(match value {
        Json::Null => Box::new(CelNull),
        Json::Bool(value) => Box::new(CelBool::from(*value)),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Box::new(CelInt::from(value)),
            None => Box::new(CelDouble::from(number.as_f64()?)),
        },
        Json::String(text) => Box::new(CelString::from(text.as_str())),
        Json::Array(list) => {
            left.checked_sub(list.len())?;
            let depth = depth.checked_sub(1)?;
            let items: Option<Vec<Values<'a>>> = list.iter().map(|item| json(item, left, depth)).collect();
            Box::new(CelList::from(items?))
        }
        Json::Object(map) => return object(map, left, depth),
    })
}

/// What is left for the JSON that an expression makes.
pub struct Room {
    values: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Room { values: MAX_VALUES, bytes: MAX_MADE }
    }
}

impl Room {
    /// A value as JSON: a single one, or a list of those.
    pub fn json(&mut self, value: &dyn Val) -> Result<Json, EvaluationError> {
        match value.downcast_ref::<CelList>() {
            Some(list) => {
                list.inner().iter().map(|item| self.single(&**item)).collect::<Result<_, _>>().map(Json::Array)
            }
            None => self.single(value),
        }
    }

    fn single(&mut self, value: &dyn Val) -> Result<Json, EvaluationError> {
        self.values = self.values.checked_sub(1).ok_or(EvaluationError::TooLarge)?;
        if let Some(text) = value.downcast_ref::<CelString>() {
            self.bytes = self.bytes.checked_sub(text.inner().len()).ok_or(EvaluationError::TooLarge)?;
            return Ok(Json::from(text.inner()));
        }
        if let Some(number) = value.downcast_ref::<CelDouble>() {
            let number = serde_json::Number::from_f64(*number.inner()).ok_or(EvaluationError::Range)?;
            return Ok(Json::Number(number));
        }
        let of_int = value.downcast_ref::<CelInt>().map(|number| Json::from(*number.inner()));
        let of_bool = || value.downcast_ref::<CelBool>().map(|value| Json::from(*value.inner()));
        let of_null = || value.downcast_ref::<CelNull>().map(|_| Json::Null);
        of_int.or_else(of_bool).or_else(of_null).ok_or(EvaluationError::Type)
    }
}
