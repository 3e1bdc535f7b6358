//! From what the author wrote to what is evaluated: fields of records become names of their own, patterns are compiled,
//! and each turn of a macro is counted.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue, SourceInfo, operators};

use super::CompileError;
use super::check::fault_at;
use super::pattern::Pattern;
use super::run::{PATTERN, TURN};
use super::types::{Shape, Variable};

/// Rewrites a checked expression; the patterns are those it names by number.
pub fn lower(root: &mut IdedExpr, source: &SourceInfo, variables: &[Variable]) -> Result<Vec<Pattern>, CompileError> {
    let mut lower = Lower { source, variables, patterns: Vec::new() };
    lower.rewrite(root)?;
    Ok(lower.patterns)
}

struct Lower<'a> {
    source: &'a SourceInfo,
    variables: &'a [Variable],
    patterns: Vec<Pattern>,
}

impl Lower<'_> {
    fn rewrite(&mut self, part: &mut IdedExpr) -> Result<(), CompileError> {
        let pattern = self.pattern(part)?;
        match &mut part.expr {
            Expr::Select(select) => {
                if let Some(name) = self.field(&select.operand, &select.field) {
                    part.expr = Expr::Ident(name);
                    return Ok(());
                }
                self.rewrite(&mut select.operand)
            }
            Expr::Call(call) => {
                if let Some(pattern) = pattern {
                    become_search(call, pattern);
                }
                for part in call.target.iter_mut().map(Box::as_mut).chain(&mut call.args) {
                    self.rewrite(part)?;
                }
                Ok(())
            }
            Expr::List(list) => list.elements.iter_mut().try_for_each(|element| self.rewrite(element)),
            Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => self.rewrite(&mut entry.value),
                EntryExpr::StructField(_) => Ok(()),
            }),
            Expr::Comprehension(made) => {
                self.rewrite(&mut made.iter_range)?;
                self.rewrite(&mut made.loop_step)?;
                count_turns(made);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `request.method`, where the first is a record.
    fn field(&self, operand: &IdedExpr, field: &str) -> Option<String> {
        let Expr::Ident(name) = &operand.expr else { return None };
        let variable = self.variables.iter().find(|variable| variable.name == name)?;
        matches!(variable.shape, Shape::Record(_)).then(|| format!("{name}.{field}"))
    }

    /// The name of the pattern of a `matches`.
    fn pattern(&mut self, part: &IdedExpr) -> Result<Option<String>, CompileError> {
        let Expr::Call(CallExpr { func_name, target: Some(_), args }) = &part.expr else { return Ok(None) };
        let [argument] = args.as_slice() else { return Ok(None) };
        let Expr::Literal(LiteralValue::String(text)) = &argument.expr else { return Ok(None) };
        if func_name != "matches" {
            return Ok(None);
        }
        let pattern = Pattern::new(text.inner())
            .map_err(|error| fault_at(self.source, argument, format!("the pattern cannot be used: {error}")))?;
        self.patterns.push(pattern);
        Ok(Some(format!("{PATTERN}{}", self.patterns.len() - 1)))
    }
}

/// `text.matches('…')` becomes `text in pattern`.
fn become_search(call: &mut CallExpr, pattern: String) {
    call.func_name = operators::IN.to_owned();
    call.args = call.target.take().map(|target| *target).into_iter().chain([made(Expr::Ident(pattern))]).collect();
}

/// Puts the count of turns before each turn, where it cannot be passed over, in the form that the interpreter's own
/// short cuts know.
fn count_turns(made_by_parser: &mut ComprehensionExpr) {
    let Expr::Call(step) = &mut made_by_parser.loop_step.expr else { return };
    let test = match step.func_name.as_str() {
        operators::LOGICAL_AND | operators::LOGICAL_OR => step.args.get_mut(1),
        operators::CONDITIONAL => step.args.first_mut(),
        _ => None,
    };
    let turn = made(Expr::Ident(TURN.to_owned()));
    if let Some(test) = test {
        let stop = made(Expr::Literal(LiteralValue::Boolean(false.into())));
        *test = conditional(turn, std::mem::take(test), stop);
    } else {
        let collected = made(Expr::Ident(made_by_parser.accu_var.clone()));
        made_by_parser.loop_step = conditional(turn, std::mem::take(&mut made_by_parser.loop_step), collected);
    }
}

fn conditional(condition: IdedExpr, then: IdedExpr, otherwise: IdedExpr) -> IdedExpr {
    let func_name = operators::CONDITIONAL.to_owned();
    made(Expr::Call(CallExpr { func_name, target: None, args: vec![condition, then, otherwise] }))
}

fn made(expr: Expr) -> IdedExpr {
    IdedExpr { id: 0, expr }
}
