//! Calls of functions. Arguments that must stand in the expression are tried at load: a pattern, a time zone, a moment.

use cel::common::ast::{CallExpr, Expr, LiteralValue};
use cel::{Context, IdedExpr};

use super::{Check, Checked, names, operators};
use crate::expression::functions::{Argument, Function, GLOBAL, MACROS, METHODS};
use crate::expression::types::{Kind, Type};
use crate::expression::{CompileError, LIBRARY};

impl<'a> Check<'a> {
    pub fn call(&mut self, part: &'a IdedExpr, call: &'a CallExpr, depth: usize) -> Checked {
        let name = call.func_name.as_str();
        match &call.target {
            None if operators::written(name).is_some() => self.operator(part, name, &call.args, depth),
            None => {
                let function = self.function(part, name, &GLOBAL)?;
                let [taken] = call.args.as_slice() else {
                    return Err(self.fault(part, format!("{name} takes one argument, not {}", call.args.len())));
                };
                self.takes(taken, function, depth)?;
                if matches!(taken.expr, Expr::Literal(_)) {
                    // Nothing else is needed to know whether it works.
                    self.try_call(part, &constant(name, None, taken))?;
                }
                Ok(Type::One(function.gives))
            }
            Some(target) => {
                let function = self.function(part, name, &METHODS)?;
                self.takes(target, function, depth)?;
                self.argument(part, function, &call.args, depth)?;
                Ok(Type::One(function.gives))
            }
        }
    }

    fn function(
        &self,
        part: &IdedExpr,
        name: &str,
        known: &'static [Function],
    ) -> Result<&'static Function, CompileError> {
        if let Some(found) = known.iter().find(|function| function.name == name) {
            return Ok(found);
        }
        let call = |function: &Function| function.name == name;
        let message = if MACROS.contains(&name) {
            format!("{name} is written list.{name}(element, …)")
        } else if GLOBAL.iter().any(call) {
            format!("{name} is written {name}(x)")
        } else if METHODS.iter().any(call) {
            format!("{name} is written x.{name}(…)")
        } else {
            let list = names(known.iter().map(|function| function.name));
            format!("there is no function {name} here; there is {list}, and the macros has, {}", MACROS.join(", "))
        };
        Err(self.fault(part, message))
    }

    fn takes(&mut self, taken: &'a IdedExpr, function: &Function, depth: usize) -> Result<(), CompileError> {
        let found = self.infer(taken, depth + 1)?;
        let fits = match found {
            Type::One(kind) => function.takes(kind),
            Type::List(_) | Type::Map(_) => function.takes_collections,
        };
        if fits {
            return Ok(());
        }
        let wanted: Vec<String> = function.takes.iter().map(Kind::to_string).collect();
        let collections = if function.takes_collections { " or a list or a map" } else { "" };
        let message = format!("{} takes {}{collections}, not {found}", function.name, wanted.join(" or "));
        Err(self.fault(taken, message))
    }

    fn argument(
        &mut self,
        part: &IdedExpr,
        function: &Function,
        args: &'a [IdedExpr],
        depth: usize,
    ) -> Result<(), CompileError> {
        let name = function.name;
        match (function.argument, args) {
            (Argument::None | Argument::Zone, []) => Ok(()),
            (Argument::Text, [argument]) => {
                let found = self.infer(argument, depth + 1)?;
                if found.fits(Kind::Text) {
                    return Ok(());
                }
                Err(self.fault(argument, format!("{name} takes a text, not {found}")))
            }
            (Argument::Pattern | Argument::Zone, [argument]) => {
                let Expr::Literal(LiteralValue::String(_)) = &argument.expr else {
                    let message = format!("the argument of {name} must be written as a text in quotes");
                    return Err(self.fault(argument, message));
                };
                self.infer(argument, depth + 1)?;
                if function.argument == Argument::Zone {
                    let any = IdedExpr { id: part.id, expr: Expr::Literal(LiteralValue::Int(0.into())) };
                    let moment = constant("timestamp", None, &any);
                    let zoned = constant(name, Some(moment), argument);
                    self.try_call(argument, &zoned)?;
                }
                Ok(())
            }
            (Argument::None, _) => Err(self.fault(part, format!("{name} takes no argument"))),
            (Argument::Zone, _) => Err(self.fault(part, format!("{name} takes at most one argument, a time zone"))),
            (Argument::Text | Argument::Pattern, _) => {
                Err(self.fault(part, format!("{name} takes one argument, not {}", args.len())))
            }
        }
    }

    /// Calls what has no variables in it.
    fn try_call(&self, part: &IdedExpr, call: &IdedExpr) -> Result<(), CompileError> {
        let context = Context::with_env(std::sync::Arc::clone(&LIBRARY));
        match cel::Value::resolve_val(call, &context) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.fault(part, error.to_string())),
        }
    }
}

fn constant(name: &str, target: Option<IdedExpr>, argument: &IdedExpr) -> IdedExpr {
    let call = CallExpr { func_name: name.to_owned(), target: target.map(Box::new), args: vec![argument.clone()] };
    IdedExpr { id: 0, expr: Expr::Call(call) }
}
