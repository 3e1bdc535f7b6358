//! Macros as the parser leaves them: loops. What the author wrote is read out of them again.

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr, operators};

/// What the author wrote in `range.macro(variable, test, item)`; the parser made the rest.
pub struct Macro<'a> {
    pub range: &'a IdedExpr,
    pub variable: &'a str,
    pub test: Option<&'a IdedExpr>,
    /// What `map` and `filter` collect.
    pub item: Option<&'a IdedExpr>,
}

impl<'a> Macro<'a> {
    /// `None` where a loop is none of the macros.
    pub fn read(made: &'a ComprehensionExpr) -> Option<Self> {
        let of = |test, item| Some(Macro { range: &made.iter_range, variable: &made.iter_var, test, item });
        let Expr::Call(step) = &made.loop_step.expr else { return None };
        match (step.func_name.as_str(), step.args.as_slice()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [_, test]) => of(Some(test), None),
            (operators::ADD, [_, collected]) => of(None, Some(only(collected)?)),
            (operators::CONDITIONAL, [test, then, _]) => match &then.expr {
                Expr::Call(add) => of(Some(test), add.args.get(1).and_then(only)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// The one element of a list that the parser made; `None` for the number that `exists_one` adds.
fn only(list: &IdedExpr) -> Option<&IdedExpr> {
    match &list.expr {
        Expr::List(list) => list.elements.first(),
        _ => None,
    }
}
