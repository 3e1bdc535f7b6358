//! Operators: what they take, and what they give.

use cel::IdedExpr;
use cel::common::ast::operators as op;

use super::{Check, Checked};
use crate::expression::types::Kind::{self, Any, Bool, Double, Duration, Int, Text, Time};
use crate::expression::types::{ANY, BOOL, Type};

/// As they are written, for messages.
const WRITTEN: [(&str, &str); 17] = [
    (op::LOGICAL_AND, "&&"),
    (op::LOGICAL_OR, "||"),
    (op::LOGICAL_NOT, "!"),
    (op::CONDITIONAL, "?:"),
    (op::EQUALS, "=="),
    (op::NOT_EQUALS, "!="),
    (op::LESS, "<"),
    (op::LESS_EQUALS, "<="),
    (op::GREATER, ">"),
    (op::GREATER_EQUALS, ">="),
    (op::ADD, "+"),
    (op::SUBSTRACT, "-"),
    (op::MULTIPLY, "*"),
    (op::DIVIDE, "/"),
    (op::MODULO, "%"),
    (op::NEGATE, "-"),
    (op::IN, "in"),
];

/// How an operator is written; `None` where the name is no operator's.
pub fn written(name: &str) -> Option<&'static str> {
    if name == op::INDEX {
        return Some("[]");
    }
    WRITTEN.iter().find(|(known, _)| *known == name).map(|(_, written)| *written)
}

impl<'a> Check<'a> {
    /// `name` is an operator's, and `args` what stands around it.
    pub fn operator(&mut self, part: &'a IdedExpr, name: &str, args: &'a [IdedExpr], depth: usize) -> Checked {
        let found: Vec<Type> = args.iter().map(|arg| self.infer(arg, depth + 1)).collect::<Result<_, _>>()?;
        let result = match (name, found.as_slice()) {
            (op::LOGICAL_AND | op::LOGICAL_OR | op::LOGICAL_NOT, found) => {
                found.iter().all(|found| found.fits(Bool)).then_some(BOOL)
            }
            (op::CONDITIONAL, [condition, then, otherwise]) => condition.fits(Bool).then(|| then.or(*otherwise)),
            (op::EQUALS | op::NOT_EQUALS, [a, b]) => return self.equality(part, *a, *b),
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [Type::One(a), Type::One(b)]) => {
                (a.meets(*b) && *a != Kind::Null && *b != Kind::Null).then_some(BOOL)
            }
            (op::ADD, [a, b]) => return self.addition(part, *a, *b),
            (op::SUBSTRACT, [Type::One(a), Type::One(b)]) => subtraction(*a, *b),
            (op::MULTIPLY | op::DIVIDE | op::MODULO, [Type::One(a), Type::One(b)]) => {
                arithmetic(*a, *b).filter(|found| name != op::MODULO || found.fits(Int))
            }
            (op::NEGATE, [Type::One(kind @ (Int | Double | Any))]) => Some(Type::One(*kind)),
            (op::IN, [a, b]) => return self.membership(part, *a, *b),
            (op::INDEX, [Type::Map(kind), key]) => key.fits(Text).then_some(Type::One(*kind)),
            (op::INDEX, [Type::List(kind), index]) => index.fits(Int).then_some(Type::One(*kind)),
            (op::INDEX, [Type::One(Any), key]) => (key.fits(Text) || key.fits(Int)).then_some(ANY),
            _ => None,
        };
        result.ok_or_else(|| {
            let found: Vec<String> = found.iter().map(Type::to_string).collect();
            let written = written(name).unwrap_or(name);
            self.fault(part, format!("{written} does not take {}", found.join(" and ")))
        })
    }

    fn equality(&self, part: &IdedExpr, a: Type, b: Type) -> Checked {
        match (a, b) {
            (Type::One(a), Type::One(b)) if a.meets(b) => Ok(BOOL),
            (Type::One(_), Type::One(_)) => Err(self.fault(part, format!("{a} is never equal to {b}"))),
            _ => Err(self.fault(part, "lists and maps are not compared as a whole; use in, all, exists or size")),
        }
    }

    fn membership(&self, part: &IdedExpr, item: Type, collection: Type) -> Checked {
        match collection {
            Type::List(kind) if matches!(item, Type::One(item) if item.meets(kind)) => Ok(BOOL),
            Type::Map(_) if item.fits(Text) => Ok(BOOL),
            ANY if matches!(item, Type::One(_)) => Ok(BOOL),
            Type::List(kind) => Err(self.fault(part, format!("{item} is never in a list of {kind}"))),
            Type::Map(_) => Err(self.fault(part, format!("the keys of a map are texts, not {item}"))),
            Type::One(Text) => Err(self.fault(part, "in asks lists and maps; ask a text with contains")),
            Type::One(_) => Err(self.fault(part, format!("in asks lists and maps, not {collection}"))),
        }
    }

    fn addition(&self, part: &IdedExpr, a: Type, b: Type) -> Checked {
        let numbers = match (a, b) {
            (Type::One(a), Type::One(b)) => arithmetic(a, b).or(match (a, b) {
                (Time, Duration) | (Duration, Time) => Some(Type::One(Time)),
                (Duration, Duration) => Some(Type::One(Duration)),
                _ => None,
            }),
            _ => None,
        };
        match numbers {
            Some(found) if found != ANY => return Ok(found),
            _ if self.is_in_macro() => {
                let message = "within a macro + adds numbers and times only; write int(…) where it is not known";
                return Err(self.fault(part, message));
            }
            Some(found) => return Ok(found),
            None => {}
        }
        match (a, b) {
            (Type::One(Text), Type::One(Text)) => Ok(Type::One(Text)),
            (Type::List(a), Type::List(b)) => Ok(Type::List(if a == b { a } else { Any })),
            (ANY, _) | (_, ANY) => Ok(ANY),
            _ => Err(self.fault(part, format!("+ does not take {a} and {b}"))),
        }
    }
}

/// Of two numbers of one kind.
fn arithmetic(a: Kind, b: Kind) -> Option<Type> {
    match (a, b) {
        (Int, Int) | (Double, Double) => Some(Type::One(a)),
        (Any, Int | Double | Any) | (Int | Double, Any) => Some(ANY),
        _ => None,
    }
}

fn subtraction(a: Kind, b: Kind) -> Option<Type> {
    arithmetic(a, b).or(match (a, b) {
        (Time, Time) | (Duration, Duration) => Some(Type::One(Duration)),
        (Time, Duration) => Some(Type::One(Time)),
        (Any, Time | Duration) | (Time | Duration, Any) => Some(ANY),
        _ => None,
    })
}
