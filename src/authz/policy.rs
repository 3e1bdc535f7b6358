//! The operator's own rules over a request: `deny` refuses where its condition holds, and where there is an `allow`,
//! one must hold. A condition that cannot be evaluated counts against the request. Rules in shadow mode refuse nothing;
//! what they would have refused is told to whoever asks.

mod facts;

use std::borrow::Cow;
use std::time::Instant;

pub use facts::{Facts, KnownRequest, ModelFacts, RequestFacts};

use crate::config::{Policy, PolicyEffect, PolicyMode, PolicyRule};
use crate::domain::{Denial, ErrorType};
use crate::expression::{CompileError, Expression};
use crate::telemetry::Seldom;
use facts::{Known, Of};

/// The rules of the configuration, compiled.
#[derive(Debug, Default)]
pub struct Policies {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    when: Expression,
    effect: PolicyEffect,
    mode: PolicyMode,
    message: String,
    unevaluated: Seldom,
}

/// What the rules say of one request.
#[derive(Debug, Default)]
pub struct Judgement {
    /// The request is refused.
    pub denial: Option<Denial>,
    /// What rules in shadow mode would have refused, each rule once.
    pub shadows: Vec<ShadowVerdict>,
}

/// What a rule in shadow mode would have done.
#[derive(Debug)]
pub struct ShadowVerdict {
    /// The rule's.
    pub name: String,
    pub denial: Denial,
}

impl Policies {
    /// Compiles the rules.
    ///
    /// # Errors
    /// The key of the first condition that cannot be used, and what is wrong with it.
    pub fn new(policy: &Policy) -> Result<Self, (String, String)> {
        let rules = policy.rules.iter().enumerate().map(|(index, rule)| {
            Rule::new(rule).map_err(|error| (format!("policy.rules[{index}].when"), error.to_string()))
        });
        Ok(Policies { rules: rules.collect::<Result<_, _>>()? })
    }

    /// Whether there is nothing to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Asks the rules about a request: for each model that it may use, or once where it names none. Each must pass.
    #[must_use]
    pub fn judge<'a>(&self, facts: &'a Facts<'a>, models: impl Iterator<Item = ModelFacts<'a>>) -> Judgement {
        let mut judgement = Judgement::default();
        if self.rules.is_empty() {
            return judgement;
        }
        let known = Known::new(facts);
        let mut models = models.peekable();
        if models.peek().is_none() {
            judgement.denial = self.judge_one(&Of::new(&known, ModelFacts::default()), &mut judgement.shadows);
        }
        for model in models {
            judgement.denial = self.judge_one(&Of::new(&known, model), &mut judgement.shadows);
            if judgement.denial.is_some() {
                break;
            }
        }
        judgement
    }

    fn judge_one(&self, of: &Of<'_, '_>, shadows: &mut Vec<ShadowVerdict>) -> Option<Denial> {
        let mut is_allowed = false;
        let mut would_be_allowed = false;
        let mut shadow_allow = None;
        let mut has_allow = false;
        for rule in &self.rules {
            match (rule.effect, rule.mode) {
                (PolicyEffect::Deny, PolicyMode::Enforce) if rule.holds(of) => return Some(rule.denial()),
                (PolicyEffect::Deny, PolicyMode::Shadow) if rule.holds(of) => {
                    note(shadows, rule, rule.denial());
                }
                (PolicyEffect::Deny, _) => {}
                (PolicyEffect::Allow, PolicyMode::Enforce) => {
                    has_allow = true;
                    is_allowed = is_allowed || rule.holds(of);
                }
                (PolicyEffect::Allow, PolicyMode::Shadow) => {
                    shadow_allow = shadow_allow.or(Some(rule));
                    would_be_allowed = would_be_allowed || rule.holds(of);
                }
            }
        }
        if has_allow && !is_allowed {
            return Some(no_allow());
        }
        // Beside allow rules in force another one could only let more pass.
        if let Some(rule) = shadow_allow.filter(|_| !has_allow && !would_be_allowed) {
            note(shadows, rule, no_allow());
        }
        None
    }
}

impl Rule {
    fn new(rule: &PolicyRule) -> Result<Self, CompileError> {
        Ok(Rule {
            name: rule.name.clone(),
            when: Expression::over_requests(&rule.when)?,
            effect: rule.effect,
            mode: rule.mode,
            message: rule.message.clone().unwrap_or_else(|| format!("refused by the policy {}", rule.name)),
            unevaluated: Seldom::default(),
        })
    }

    /// Whether the condition holds; where that cannot be known, what is worse for the request.
    fn holds(&self, of: &Of<'_, '_>) -> bool {
        self.when.evaluate_with(of).unwrap_or_else(|error| {
            if let Some(left_out) = self.unevaluated.due(Instant::now()) {
                let policy = self.name.as_str();
                tracing::warn!(policy, %error, left_out, "a policy cannot be evaluated; it counts against the request");
            }
            self.effect == PolicyEffect::Deny
        })
    }

    fn denial(&self) -> Denial {
        let reason = Cow::Owned(format!("policy.{}", self.name));
        Denial { reason, ..Denial::new(ErrorType::PermissionDenied, "policy", self.message.clone()) }
    }
}

fn no_allow() -> Denial {
    Denial::new(ErrorType::PermissionDenied, "policy.no_allow", "no policy allows this request")
}

fn note(shadows: &mut Vec<ShadowVerdict>, rule: &Rule, denial: Denial) {
    if !shadows.iter().any(|known| known.name == rule.name) {
        shadows.push(ShadowVerdict { name: rule.name.clone(), denial });
    }
}

#[cfg(test)]
mod tests;
