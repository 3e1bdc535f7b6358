//! Expressions in the Common Expression Language that operators write into the configuration: over the claims of a token
//! (`custom_validate`), and over requests (`policy`, `custom_auth_settings`). An expression is read, typed and bounded when
//! the configuration is loaded; evaluating it cannot panic, takes bounded time, and yields true, false or an error, or a
//! map in place of the first two (see [`Fields`]).
//!
//! # The bound
//!
//! The text has at most [`MAX_TEXT`] bytes, [`MAX_NODES`] parts and [`MAX_DEPTH`] levels. Macros (`all`, `exists` …) nest
//! at most [`MAX_MACROS`] deep, the inner one over a part of the outer one's element, so that no data is walked twice.
//! Inside them nothing can be joined or collected but parts of the element, so that no value outgrows what it was made
//! of. Patterns are literals, compiled at load, and match in time linear in the text. At run time one evaluation takes
//! at most [`MAX_TURNS`] turns of macros, over JSON of at most [`MAX_VALUES`] values.

mod check;
mod declared;
mod fields;
mod functions;
mod limits;
mod lower;
mod macros;
mod pattern;
mod run;
mod types;
mod value;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::ast::SourceInfo;
use cel::{Context, Env, IdedExpr};
use serde_json::{Map, Value as Json};

pub use fields::Fields;
pub use limits::{MAX_DEPTH, MAX_MACROS, MAX_NODES, MAX_TEXT, MAX_TURNS, MAX_VALUES};
pub use run::Variables;
pub use value::Found;
pub(crate) use value::{Values, flag, json_map, kept, list, map, number, text, timestamp};

use pattern::Pattern;
use types::Variable;

/// The library of functions, of which expressions may call those that [`functions`] lists.
static LIBRARY: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib().with_optional_support(false);
    // Only names that are taken make this fail, and then calls of its functions do, at load.
    let _ = env.add_extension(cel::extensions::strings);
    Arc::new(env)
});

/// Bytes of stack for the parser: several times what the largest text within the bound takes.
const PARSER_STACK: usize = 32 * 1024 * 1024;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    root: IdedExpr,
    patterns: Vec<Pattern>,
}

/// Why a text is no expression that can be used, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct CompileError {
    /// From 1; 0 where the text as a whole is at fault.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.message),
            line => write!(f, "at {line}:{} of the expression: {}", self.column, self.message),
        }
    }
}

/// Why an evaluation has no result. Says nothing of what the values were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    #[error("a key or an index is not there; ask for it with has() or in first")]
    Missing,
    #[error("a value is of a type that this operation does not take")]
    Type,
    #[error("a number is out of bounds")]
    Range,
    #[error("a value cannot be converted")]
    Conversion,
    #[error("the result is not true or false")]
    NotBoolean,
    #[error("the data is deeper or has more values than expressions may look at")]
    TooLarge,
    #[error("it takes more turns than an expression may")]
    TooCostly,
}

impl Expression {
    /// Compiles an expression over one variable, `claims`: the claims of a token, whose names and types are unknown.
    ///
    /// # Errors
    /// What is wrong, where, and what is allowed.
    pub fn over_claims(text: &str) -> Result<Self, CompileError> {
        Self::compile(text, &declared::CLAIMS)
    }

    /// Compiles an expression over the variables of policies: `request`, `caller`, `model`, `now`.
    ///
    /// # Errors
    /// What is wrong, where, and what is allowed.
    pub fn over_requests(text: &str) -> Result<Self, CompileError> {
        Self::compile(text, &declared::REQUEST)
    }

    fn compile(text: &str, variables: &[Variable]) -> Result<Self, CompileError> {
        limits::check_text(text)?;
        with_stack(|| Self::read(text, variables))
    }

    fn read(text: &str, variables: &[Variable]) -> Result<Self, CompileError> {
        let (mut root, source) = parsed(text)?;
        check::check(&root, &source, variables)?;
        let patterns = lower::lower(&mut root, &source, variables)?;
        Ok(Expression { root, patterns })
    }

    /// The result over these claims.
    ///
    /// # Errors
    /// Whatever stands between the claims and a result; callers refuse then.
    pub fn evaluate(&self, claims: &Map<String, Json>) -> Result<bool, EvaluationError> {
        self.evaluate_with(&declared::Claims::new(claims))
    }

    /// The result over these variables.
    ///
    /// # Errors
    /// As [`Expression::evaluate`].
    pub fn evaluate_with(&self, variables: &dyn Variables) -> Result<bool, EvaluationError> {
        let run = run::Run::new(variables, &self.patterns);
        let mut context = Context::with_env(Arc::clone(&LIBRARY));
        context.set_variable_resolver(&run);
        run.finish(cel::Value::resolve_val(&self.root, &context))
    }
}

/// The parser takes much of the stack for each level; whoever loads a configuration may have little left.
fn with_stack<T: Send>(read: impl FnOnce() -> Result<T, CompileError> + Send) -> Result<T, CompileError> {
    let unavailable = || CompileError { line: 0, column: 0, message: "no thread can be started".to_owned() };
    std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().name("expression".to_owned()).stack_size(PARSER_STACK);
        let compiled = parser.spawn_scoped(scope, read).map_err(|_| unavailable())?;
        compiled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn parsed(text: &str) -> Result<(IdedExpr, SourceInfo), CompileError> {
    LIBRARY.parser().parse_with_source_info(text).map_err(|errors| check::syntax(&errors))
}

/// The records of [`Expression::over_requests`] and their fields, for tests that every one of them is there.
#[cfg(test)]
pub(crate) fn request_fields() -> Vec<(&'static str, Vec<&'static str>)> {
    let fields = |variable: &Variable| match variable.shape {
        types::Shape::Record(fields) => Some((variable.name, fields.iter().map(|(name, _)| *name).collect())),
        types::Shape::Value(_) => None,
    };
    declared::REQUEST.iter().filter_map(fields).collect()
}

/// The functions and macros that expressions may call, for tests that the documents name them.
#[cfg(test)]
pub(crate) fn function_names() -> impl Iterator<Item = &'static str> {
    functions::GLOBAL.iter().chain(&functions::METHODS).map(|function| function.name).chain(functions::MACROS)
}

#[cfg(test)]
mod tests;
