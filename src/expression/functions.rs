//! The functions that expressions may call: those whose cost is linear in what they are given.

use super::types::Kind::{self, Any, Bool, Double, Duration, Int, Text, Time};

/// A function: `name(x)`, or `x.name(argument)`.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub name: &'static str,
    /// What `x` may be.
    pub takes: &'static [Kind],
    /// Whether `x` may be a list or a map.
    pub takes_collections: bool,
    pub argument: Argument,
    pub gives: Kind,
}

/// What stands between the brackets of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Argument {
    None,
    Text,
    /// A text that stands in the expression: the pattern of `matches`.
    Pattern,
    /// A time zone that stands in the expression, or nothing.
    Zone,
}

const fn conversion(name: &'static str, takes: &'static [Kind], gives: Kind) -> Function {
    Function { name, takes, takes_collections: false, argument: Argument::None, gives }
}

const fn of_text(name: &'static str, argument: Argument, gives: Kind) -> Function {
    Function { name, takes: &[Text], takes_collections: false, argument, gives }
}

const fn of_time(name: &'static str) -> Function {
    Function { name, takes: &[Time], takes_collections: false, argument: Argument::Zone, gives: Int }
}

/// `name(x)`.
pub const GLOBAL: [Function; 7] = [
    Function { name: "size", takes: &[Text], takes_collections: true, argument: Argument::None, gives: Int },
    conversion("int", &[Int, Double, Text, Time], Int),
    conversion("double", &[Int, Double, Text], Double),
    conversion("string", &[Bool, Int, Double, Text, Time, Duration], Text),
    conversion("bool", &[Bool, Text], Bool),
    conversion("timestamp", &[Text, Int, Time], Time),
    conversion("duration", &[Text, Duration], Duration),
];

/// `x.name(argument)`.
pub const METHODS: [Function; 17] = [
    Function { name: "size", takes: &[Text], takes_collections: true, argument: Argument::None, gives: Int },
    of_text("contains", Argument::Text, Bool),
    of_text("startsWith", Argument::Text, Bool),
    of_text("endsWith", Argument::Text, Bool),
    of_text("matches", Argument::Pattern, Bool),
    of_text("lowerAscii", Argument::None, Text),
    of_text("upperAscii", Argument::None, Text),
    of_time("getFullYear"),
    of_time("getMonth"),
    of_time("getDate"),
    of_time("getDayOfMonth"),
    of_time("getDayOfWeek"),
    of_time("getDayOfYear"),
    of_time("getHours"),
    of_time("getMinutes"),
    of_time("getSeconds"),
    of_time("getMilliseconds"),
];

/// Macros: methods over the elements of a list or the keys of a map.
pub const MACROS: [&str; 5] = ["all", "exists", "exists_one", "filter", "map"];

impl Function {
    /// Whether it takes one value of this kind.
    #[must_use]
    pub fn takes(&self, kind: Kind) -> bool {
        kind == Any || self.takes.contains(&kind)
    }
}
