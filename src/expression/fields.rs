//! Expressions whose result is a map that is written in them, or nothing. What chooses between the maps and what stands
//! in their fields is evaluated like every expression; the maps themselves are known at load.

use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, LiteralValue, operators};
use cel::{Context, IdedExpr};
use serde_json::{Map, Value as Json};

use super::pattern::Pattern;
use super::run::Run;
use super::types::Variable;
use super::value::Room;
use super::{CompileError, EvaluationError, LIBRARY, Variables, check, declared, limits, lower, parsed, with_stack};

/// A compiled expression: `condition ? {'name': value} : null`, and so on. It cannot be printed, since authors may write
/// into it what is nobody's business.
pub struct Fields {
    root: Node,
    patterns: Vec<Pattern>,
}

enum Node {
    Nothing,
    Map(Vec<(String, IdedExpr)>),
    Choice { condition: IdedExpr, then: Box<Node>, otherwise: Box<Node> },
}

impl Fields {
    /// Compiles an expression that says who calls, over `request`, `credential` and `now`.
    ///
    /// # Errors
    /// What is wrong, where, and what is allowed.
    pub fn over_credentials(text: &str) -> Result<Self, CompileError> {
        limits::check_text(text)?;
        with_stack(|| Self::read(text, &declared::CREDENTIAL))
    }

    fn read(text: &str, variables: &[Variable]) -> Result<Self, CompileError> {
        let (mut root, source) = parsed(text)?;
        check::check_fields(&root, &source, variables)?;
        let patterns = lower::lower(&mut root, &source, variables)?;
        Ok(Fields { root: Node::of(root), patterns })
    }

    /// The map over these variables; `None` is nothing.
    ///
    /// # Errors
    /// Whatever stands between the variables and a result; callers refuse then.
    pub fn evaluate_with(&self, variables: &dyn Variables) -> Result<Option<Map<String, Json>>, EvaluationError> {
        let run = Run::new(variables, &self.patterns);
        let mut context = Context::with_env(Arc::clone(&LIBRARY));
        context.set_variable_resolver(&run);
        let mut node = &self.root;
        loop {
            match node {
                Node::Nothing => return Ok(None),
                Node::Choice { condition, then, otherwise } => {
                    let holds = run.finish(cel::Value::resolve_val(condition, &context))?;
                    node = if holds { then } else { otherwise };
                }
                Node::Map(fields) => {
                    let mut room = Room::default();
                    let value = |(name, part): &(String, IdedExpr)| {
                        let value = run.value(cel::Value::resolve_val(part, &context))?;
                        Ok((name.clone(), room.json(&*value)?))
                    };
                    return fields.iter().map(value).collect::<Result<_, _>>().map(Some);
                }
            }
        }
    }
}

impl Node {
    /// Of a checked expression.
    fn of(part: IdedExpr) -> Node {
        match part.expr {
            Expr::Map(map) => Node::Map(map.entries.into_iter().filter_map(|entry| field(entry.expr)).collect()),
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
                let Ok([condition, then, otherwise]) = <[IdedExpr; 3]>::try_from(call.args) else {
                    return Node::Nothing;
                };
                Node::Choice { condition, then: Box::new(Node::of(then)), otherwise: Box::new(Node::of(otherwise)) }
            }
            _ => Node::Nothing,
        }
    }
}

fn field(entry: EntryExpr) -> Option<(String, IdedExpr)> {
    let EntryExpr::MapEntry(entry) = entry else { return None };
    let Expr::Literal(LiteralValue::String(name)) = &entry.key.expr else { return None };
    Some((name.inner().to_owned(), entry.value))
}

#[cfg(test)]
mod tests;
