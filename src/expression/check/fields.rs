//! Expressions that make a map: which maps they may make, and what may stand in their fields.

use std::collections::HashSet;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{EntryExpr, Expr, LiteralValue, MapExpr, SourceInfo};

use super::Check;
use crate::expression::CompileError;
use crate::expression::declared::{OF_SECRETS, SECRET};
use crate::expression::types::{Kind, Type, Variable};

/// Checks a whole expression, whose result must be a map that is written in it, or nothing.
pub fn check_fields(root: &IdedExpr, source: &SourceInfo, variables: &[Variable]) -> Result<(), CompileError> {
    Check::new(source, variables).made(root, 0)
}

impl<'a> Check<'a> {
    fn made(&mut self, part: &'a IdedExpr, depth: usize) -> Result<(), CompileError> {
        match &part.expr {
            Expr::Map(map) => {
                self.count(part, depth)?;
                self.fields(map, depth)
            }
            Expr::Literal(LiteralValue::Null) => self.count(part, depth),
            Expr::Literal(LiteralValue::Boolean(value)) if !value.inner() => self.count(part, depth),
            Expr::Call(call) if call.func_name == op::CONDITIONAL => {
                self.count(part, depth)?;
                let [condition, then, otherwise] = call.args.as_slice() else {
                    return Err(self.fault(part, "this is no expression"));
                };
                let found = self.infer(condition, depth + 1)?;
                if !found.fits(Kind::Bool) {
                    return Err(self.fault(condition, format!("the condition is {found}; it must be true or false")));
                }
                self.made(then, depth + 1)?;
                self.made(otherwise, depth + 1)
            }
            _ => {
                let found = self.infer(part, depth)?;
                let message = format!("the result is {found}; it must be a map that is written here, or null");
                Err(self.fault(part, message))
            }
        }
    }

    fn fields(&mut self, map: &'a MapExpr, depth: usize) -> Result<(), CompileError> {
        let mut names = HashSet::new();
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let Expr::Literal(LiteralValue::String(name)) = &entry.key.expr else {
                return Err(self.fault(&entry.key, "the name of a field must be written as a text in quotes"));
            };
            let name = name.inner();
            if !names.insert(name) {
                return Err(self.fault(&entry.key, format!("the field {name} is there twice")));
            }
            if entry.optional {
                return Err(self.fault(&entry.key, "a field is there or not; choose between two maps"));
            }
            self.field(name, &entry.value, depth + 1)?;
        }
        Ok(())
    }

    fn field(&mut self, name: &str, value: &'a IdedExpr, depth: usize) -> Result<(), CompileError> {
        if matches!(&value.expr, Expr::List(list) if list.elements.is_empty()) {
            return self.count(value, depth);
        }
        let found = self.infer(value, depth)?;
        let is_plain = |kind| !matches!(kind, Kind::Time | Kind::Duration);
        if !matches!(found, Type::One(kind) | Type::List(kind) if is_plain(kind)) {
            return Err(self.fault(value, format!("{name} is {found}; a field is a text, a number, or a list of them")));
        }
        if name != OF_SECRETS && names_secret(value) {
            let message = format!(
                "what {name} holds is shown and logged, and {SECRET} must not be; ask about it before a ?, or write it \
                 into {OF_SECRETS}"
            );
            return Err(self.fault(value, message));
        }
        Ok(())
    }
}

/// Whether the secret is named anywhere in this part, whatever becomes of it there.
fn names_secret(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Ident(name) => name == SECRET,
        Expr::Select(select) => names_secret(&select.operand),
        Expr::Call(call) => call.target.iter().map(Box::as_ref).chain(&call.args).any(names_secret),
        Expr::List(list) => list.elements.iter().any(names_secret),
        Expr::Comprehension(made) => names_secret(&made.iter_range) || names_secret(&made.loop_step),
        _ => false,
    }
}
