//! Traces: the steps that led to a decision, where someone asked for them.

use std::fmt::Display;

use serde::Serialize;

/// One step of a decision.
#[derive(Clone, Debug, Serialize, PartialEq, Eq)]
pub struct Step {
    /// Which check: `route`, `credential`, `authn`, `status`, `routes`, `models`, `limit` …
    pub check: &'static str,
    pub found: String,
}

/// Collects steps; costs nothing where nobody asked for them.
pub struct Trace(Option<Vec<Step>>);

impl Trace {
    #[must_use]
    pub const fn off() -> Self {
        Trace(None)
    }

    #[must_use]
    pub const fn on() -> Self {
        Trace(Some(Vec::new()))
    }

    /// Whether someone asked.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub fn step(&mut self, check: &'static str, found: impl Display) {
        if let Some(steps) = &mut self.0 {
            steps.push(Step { check, found: found.to_string() });
        }
    }

    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }
}
