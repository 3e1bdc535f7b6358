//! The check at load: every name is known, every operation gets what it takes, and nothing is larger or costlier than
//! the bound. What is known only at run time, the values of JSON, is left to the evaluation.

mod calls;
mod fields;
mod operators;

use cel::common::ast::{ComprehensionExpr, Expr, ListExpr, LiteralValue, SelectExpr, SourceInfo};
use cel::{IdedExpr, ParseErrors};

use super::CompileError;
use super::functions::MACROS;
use super::limits::{MAX_DEPTH, MAX_MACROS, MAX_NODES};
use super::macros::Macro;
use super::types::{ANY, BOOL, Kind, Shape, Type, Variable};

pub use fields::check_fields;

type Checked = Result<Type, CompileError>;

/// The parser's first complaint.
pub fn syntax(errors: &ParseErrors) -> CompileError {
    let Some(first) = errors.errors.first() else {
        return CompileError { line: 0, column: 0, message: "the expression cannot be read".to_owned() };
    };
    let position = |value: isize| usize::try_from(value).unwrap_or(0);
    CompileError { line: position(first.pos.0), column: position(first.pos.1).max(1), message: first.msg.clone() }
}

/// Checks a whole expression, whose result must be true or false.
pub fn check(root: &IdedExpr, source: &SourceInfo, variables: &[Variable]) -> Result<(), CompileError> {
    let mut check = Check::new(source, variables);
    let found = check.infer(root, 0)?;
    if found.fits(Kind::Bool) {
        return Ok(());
    }
    Err(check.fault(root, format!("the result is {found}; it must be true or false")))
}

/// The fault at a part of an expression.
pub fn fault_at(source: &SourceInfo, part: &IdedExpr, message: String) -> CompileError {
    let Some((start, _)) = source.offset_for(part.id) else { return CompileError { line: 0, column: 0, message } };
    let before = source.source.get(..start as usize).unwrap_or_default();
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    CompileError { line: before.matches('\n').count() + 1, column, message }
}

struct Check<'a> {
    source: &'a SourceInfo,
    variables: &'a [Variable],
    nodes: usize,
    /// The variables of the macros around, the outermost first.
    scopes: Vec<(&'a str, Kind)>,
}

impl<'a> Check<'a> {
    fn new(source: &'a SourceInfo, variables: &'a [Variable]) -> Self {
        Check { source, variables, nodes: 0, scopes: Vec::new() }
    }

    fn fault(&self, part: &IdedExpr, message: impl Into<String>) -> CompileError {
        fault_at(self.source, part, message.into())
    }

    fn is_in_macro(&self) -> bool {
        !self.scopes.is_empty()
    }

    fn infer(&mut self, part: &'a IdedExpr, depth: usize) -> Checked {
        self.count(part, depth)?;
        match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(name) => self.name(part, name),
            Expr::Select(select) => self.select(part, select, depth),
            Expr::Call(call) => self.call(part, call, depth),
            Expr::List(list) => self.list(part, list, depth),
            Expr::Comprehension(made) => self.repeat(part, made, depth),
            Expr::Map(_) | Expr::Struct(_) => Err(self.fault(part, "maps and messages cannot be written here")),
            Expr::Unspecified => Err(self.fault(part, "this is no expression")),
        }
    }

    /// One more part.
    fn count(&mut self, part: &IdedExpr, depth: usize) -> Result<(), CompileError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.fault(part, format!("the expression has more than {MAX_NODES} parts")));
        }
        if depth > MAX_DEPTH {
            return Err(self.fault(part, format!("the expression is more than {MAX_DEPTH} levels deep")));
        }
        Ok(())
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Checked {
        Ok(Type::One(match literal {
            LiteralValue::Boolean(_) => Kind::Bool,
            LiteralValue::Int(_) => Kind::Int,
            LiteralValue::Double(_) => Kind::Double,
            LiteralValue::String(_) => Kind::Text,
            LiteralValue::Null => Kind::Null,
            LiteralValue::Bytes(_) | LiteralValue::UInt(_) => {
                return Err(self.fault(part, "bytes (b'…') and unsigned numbers (1u) are not supported"));
            }
        }))
    }

    fn variable(&self, name: &str) -> Option<&'a Variable> {
        self.variables.iter().find(|variable| variable.name == name)
    }

    fn name(&self, part: &IdedExpr, name: &str) -> Checked {
        if let Some((_, kind)) = self.scopes.iter().find(|(known, _)| *known == name) {
            return Ok(Type::One(*kind));
        }
        match self.variable(name).map(|variable| variable.shape) {
            Some(Shape::Value(found)) => Ok(found),
            Some(Shape::Record(fields)) => {
                let names = names(fields.iter().map(|(name, _)| *name));
                Err(self.fault(part, format!("{name} is no value by itself; name one of its fields: {names}")))
            }
            None => {
                let known = names(self.variables.iter().map(|variable| variable.name));
                Err(self.fault(part, format!("there is no variable {name}; there is {known}")))
            }
        }
    }

    fn select(&mut self, part: &'a IdedExpr, select: &'a SelectExpr, depth: usize) -> Checked {
        let field = &select.field;
        if let Expr::Ident(name) = &select.operand.expr
            && let Some(Shape::Record(fields)) = self.variable(name).map(|variable| variable.shape)
        {
            let Some((_, found)) = fields.iter().find(|(known, _)| known == field) else {
                let known = names(fields.iter().map(|(name, _)| *name));
                return Err(self.fault(part, format!("{name} has no field {field}; it has {known}")));
            };
            if select.test {
                let message = format!("{name}.{field} is always there; compare it, as with '', -1 or size(…) == 0");
                return Err(self.fault(part, message));
            }
            return Ok(*found);
        }
        match self.infer(&select.operand, depth + 1)? {
            Type::Map(_) | ANY if select.test => Ok(BOOL),
            Type::Map(kind) => Ok(Type::One(kind)),
            ANY => Ok(ANY),
            found => Err(self.fault(part, format!("{found} has no fields, and {field} is asked for"))),
        }
    }

    fn list(&mut self, part: &IdedExpr, list: &'a ListExpr, depth: usize) -> Checked {
        let mut kind = None;
        for element in &list.elements {
            if self.is_in_macro() && !matches!(element.expr, Expr::Literal(_)) {
                return Err(self.fault(element, "lists that are written within a macro hold literals only"));
            }
            let Type::One(found) = self.infer(element, depth + 1)? else {
                return Err(self.fault(element, "lists that are written hold single values, not lists and maps"));
            };
            kind = match kind {
                None => Some(found),
                Some(known) if known == found => kind,
                Some(_) => Some(Kind::Any),
            };
        }
        kind.map(Type::List).ok_or_else(|| self.fault(part, "the list is empty"))
    }

    fn repeat(&mut self, part: &'a IdedExpr, made: &'a ComprehensionExpr, depth: usize) -> Checked {
        let Some(Macro { range, variable, test, item }) = Macro::read(made) else {
            return Err(self.fault(part, format!("this is none of the macros {}", MACROS.join(", "))));
        };
        if self.scopes.len() >= MAX_MACROS {
            return Err(self.fault(part, format!("macros are nested more than {MAX_MACROS} deep")));
        }
        let found = self.infer(range, depth + 1)?;
        let element = match found {
            Type::List(kind) => kind,
            Type::Map(_) => Kind::Text,
            ANY => Kind::Any,
            Type::One(_) => {
                return Err(self.fault(range, format!("{found} is no collection; macros go over lists and maps")));
            }
        };
        let is_small = matches!(found, Type::List(kind) if kind != Kind::Any) || matches!(range.expr, Expr::List(_));
        let is_bounded = is_small || self.scopes.iter().any(|(outer, _)| is_part(range, outer));
        if self.is_in_macro() && !is_bounded {
            let message = "a macro within a macro goes over a part of the outer one's element, over a list of texts or \
                           over a list that is written; use in for anything else";
            return Err(self.fault(range, message));
        }
        if self.variable(variable).is_some() || self.scopes.iter().any(|(known, _)| *known == variable) {
            return Err(self.fault(part, format!("the name {variable} is taken; use another for the element")));
        }
        self.scopes.push((variable, element));
        let collected = self.body(variable, test, item, depth + 1);
        self.scopes.pop();
        Ok(collected?.map_or(BOOL, Type::List))
    }

    /// The kind of what a macro collects, where it collects.
    fn body(
        &mut self,
        variable: &str,
        test: Option<&'a IdedExpr>,
        item: Option<&'a IdedExpr>,
        depth: usize,
    ) -> Result<Option<Kind>, CompileError> {
        if let Some(test) = test {
            let found = self.infer(test, depth)?;
            if !found.fits(Kind::Bool) {
                return Err(self.fault(test, format!("the condition is {found}; it must be true or false")));
            }
        }
        let Some(item) = item else { return Ok(None) };
        let found = self.infer(item, depth)?;
        let is_single = matches!(found, Type::One(kind) if kind != Kind::Any);
        if !is_single && !is_part(item, variable) {
            return Err(self.fault(item, "map collects single values or parts of the element"));
        }
        Ok(Some(found.as_element()))
    }
}

/// Whether this is the element itself or lies within it, so that it is not larger.
fn is_part(part: &IdedExpr, variable: &str) -> bool {
    match &part.expr {
        Expr::Ident(name) => name == variable,
        Expr::Select(select) => is_part(&select.operand, variable),
        Expr::Call(call) => {
            let is_index = call.func_name == cel::common::ast::operators::INDEX;
            is_index && call.args.first().is_some_and(|operand| is_part(operand, variable))
        }
        // What the macro collects was checked to be part of its own element.
        Expr::Comprehension(made) => is_part(&made.iter_range, variable),
        _ => false,
    }
}

fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}
