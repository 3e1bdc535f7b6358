//! Patterns of `matches`, compiled once. At run time a pattern is a value that contains the texts it matches, so that
//! the interpreter's own `in` asks it.

use std::any::Any;

use cel::ExecutionError;
use cel::common::traits::Container;
use cel::common::types::{CelString, Type};
use cel::common::value::{StaticVal, Val};
use regex::Regex;

use super::limits::MAX_PATTERN;

static TYPE: Type = Type::new_unspecified_type("pattern");

#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// What is wrong with the pattern.
    pub fn new(pattern: &str) -> Result<Self, String> {
        let compiled = regex::RegexBuilder::new(pattern).size_limit(MAX_PATTERN).nest_limit(32).build();
        match compiled {
            Ok(compiled) => Ok(Pattern(compiled)),
            Err(regex::Error::CompiledTooBig(_)) => Err(format!("takes more than {MAX_PATTERN} bytes")),
            // The last line tells what is wrong; those before it draw the pattern.
            Err(error) => Err(error.to_string().lines().last().unwrap_or_default().replace("error: ", "")),
        }
    }
}

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &TYPE
    }

    fn cel_type() -> &'static Type {
        &TYPE
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

impl Container for Pattern {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        match value.downcast_ref::<CelString<'_>>() {
            Some(text) => Ok(self.0.is_match(text.inner())),
            None => Err(ExecutionError::no_such_overload("matches", Vec::new())),
        }
    }
}
