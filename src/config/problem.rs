//! What is wrong with a configuration, told so that it can be mended: file, line, column, key, and what to write.

use std::fmt;
use std::path::PathBuf;

use super::tree::Place;

/// The configuration cannot be used. Every problem found is told; secrets never are.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("the configuration file {} cannot be read: {reason}", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}", told(file, problems))]
    Invalid {
        /// The file, or `configuration` where there is none.
        file: String,
        problems: Problems,
    },
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Place,
    /// The key, as in `general_settings.allowed_ips[1]`.
    pub path: String,
    /// What is wrong and what to write.
    pub message: String,
}

/// All that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    pub fn extend(&mut self, more: Problems) {
        self.0.extend(more.0);
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}

/// Something to know that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub file: String,
    pub message: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.message)
    }
}

/// `tollward.yaml:12:3: quota.cap_outptu: …`, a line for each problem.
fn told(file: &str, problems: &Problems) -> String {
    let lines: Vec<String> = problems
        .iter()
        .map(|Problem { place, path, message }| {
            let place = if place.line == 0 { String::new() } else { format!(":{}:{}", place.line, place.column) };
            let path = if path.is_empty() { String::new() } else { format!("{path}: ") };
            format!("{file}{place}: {path}{message}")
        })
        .collect();
    lines.join("\n")
}
