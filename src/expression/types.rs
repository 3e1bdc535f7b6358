//! The types of expressions, as far as they are known at load, and the variables that are declared with them.

use std::fmt;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Known only at run time: a value of JSON.
    Any,
    Bool,
    Int,
    Double,
    Text,
    Time,
    Duration,
    Null,
}

/// One value, or a collection of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    One(Kind),
    List(Kind),
    /// By text.
    Map(Kind),
}

/// A variable that expressions may name.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub shape: Shape,
}

/// What stands behind a variable's name.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Fields that are always there; the variable itself is no value.
    Record(&'static [(&'static str, Type)]),
    Value(Type),
}

pub const ANY: Type = Type::One(Kind::Any);
pub const BOOL: Type = Type::One(Kind::Bool);
pub const INT: Type = Type::One(Kind::Int);
pub const TEXT: Type = Type::One(Kind::Text);
pub const TIME: Type = Type::One(Kind::Time);

impl Kind {
    /// Whether values of both kinds can be equal or ordered; what is known only at run time is not refused.
    #[must_use]
    pub fn meets(self, other: Kind) -> bool {
        let number = |kind| matches!(kind, Kind::Int | Kind::Double);
        self == other || self == Kind::Any || other == Kind::Any || (number(self) && number(other))
    }

    /// Whether a value of this kind can stand where the other is asked for.
    #[must_use]
    pub fn fits(self, wanted: Kind) -> bool {
        self == wanted || self == Kind::Any || wanted == Kind::Any
    }
}

impl Type {
    /// Whether it can stand where one value of this kind is asked for.
    #[must_use]
    pub fn fits(self, wanted: Kind) -> bool {
        matches!(self, Type::One(kind) if kind.fits(wanted))
    }

    /// What a value of one type or the other is.
    #[must_use]
    pub fn or(self, other: Type) -> Type {
        if self == other { self } else { ANY }
    }

    /// What it is as an element of a list.
    #[must_use]
    pub fn as_element(self) -> Kind {
        match self {
            Type::One(kind) => kind,
            Type::List(_) | Type::Map(_) => Kind::Any,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Any => "any value",
            Kind::Bool => "true or false",
            Kind::Int => "a whole number",
            Kind::Double => "a number with decimals",
            Kind::Text => "a text",
            Kind::Time => "a timestamp",
            Kind::Duration => "a duration",
            Kind::Null => "null",
        })
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::One(kind) => kind.fmt(f),
            Type::List(_) => f.write_str("a list"),
            Type::Map(_) => f.write_str("a map"),
        }
    }
}
