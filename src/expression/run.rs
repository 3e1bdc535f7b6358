//! One evaluation: where the interpreter asks for variables, and where turns of macros are counted.

use std::sync::atomic::{AtomicU32, Ordering};

use cel::ExecutionError;
use cel::common::types::CelBool;
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use super::EvaluationError;
use super::limits::MAX_TURNS;
use super::pattern::Pattern;
use super::value::Found;

/// True while turns are left; asked for by each turn of a macro. No author can write this name.
pub const TURN: &str = "@turn";
/// Names a pattern by its number.
pub const PATTERN: &str = "@pattern.";

static TRUE: CelBool = CelBool::TRUE;

/// What the variables of an expression hold. Those nobody asks for are never made.
pub trait Variables: Send + Sync {
    /// The value of a variable (`now`) or of a record's field (`request.method`).
    fn get(&self, name: &str) -> Option<Found<'_>>;
}

pub struct Run<'a> {
    variables: &'a dyn Variables,
    patterns: &'a [Pattern],
    turns: AtomicU32,
}

impl<'a> Run<'a> {
    pub fn new(variables: &'a dyn Variables, patterns: &'a [Pattern]) -> Self {
        Run { variables, patterns, turns: AtomicU32::new(0) }
    }

    /// The result, where there is one that is true or false.
    pub fn finish(&self, result: Result<CowVal<'_, '_>, ExecutionError>) -> Result<bool, EvaluationError> {
        let value = self.value(result)?;
        value.downcast_ref::<CelBool>().map(|value| *value.inner()).ok_or(EvaluationError::NotBoolean)
    }

    /// The result, where there is one.
    pub fn value<'b, 'v>(
        &self,
        result: Result<CowVal<'b, 'v>, ExecutionError>,
    ) -> Result<CowVal<'b, 'v>, EvaluationError> {
        if self.turns.load(Ordering::Relaxed) > MAX_TURNS {
            // Whatever came of the turns that were taken.
            return Err(EvaluationError::TooCostly);
        }
        result.map_err(|error| plain(&error))
    }
}

impl VariableResolver for Run<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if name == TURN {
            let taken = self.turns.fetch_add(1, Ordering::Relaxed);
            return (taken < MAX_TURNS).then_some(CowVal::Borrowed(&TRUE));
        }
        if let Some(number) = name.strip_prefix(PATTERN) {
            let pattern = self.patterns.get(number.parse::<usize>().ok()?)?;
            return Some(CowVal::Borrowed(pattern as &(dyn Val + 'b)));
        }
        self.variables.get(name)
    }
}

/// The interpreter's errors quote values; these do not.
fn plain(error: &ExecutionError) -> EvaluationError {
    match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => EvaluationError::Missing,
        // Every name was checked at load: only a variable that could not be made is not there.
        ExecutionError::UndeclaredReference(_) => EvaluationError::TooLarge,
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) | ExecutionError::Overflow(..) => {
            EvaluationError::Range
        }
        ExecutionError::FunctionError { .. } => EvaluationError::Conversion,
        _ => EvaluationError::Type,
    }
}
