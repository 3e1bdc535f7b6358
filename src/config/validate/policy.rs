//! Rules of policies: names that can stand in metrics and answers, and conditions that compile.

use std::collections::HashSet;

use super::Check;
use crate::config::{Config, PolicyEffect};
use crate::expression::Expression;

/// Characters of a name.
const MAX_NAME: usize = 64;
/// Each is asked on each request.
const MAX_RULES: usize = 256;

pub fn policy(config: &Config, check: &mut Check<'_>) {
    let rules = &config.policy.rules;
    check.require(rules.len() <= MAX_RULES, "policy.rules", &format!("must be at most {MAX_RULES} rules"));
    let mut names = HashSet::new();
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("policy.rules[{index}]");
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte);
        check.require(
            (1..=MAX_NAME).contains(&rule.name.len()) && rule.name.bytes().all(plain),
            &format!("{path}.name"),
            &format!("must be 1 to {MAX_NAME} lower-case letters, digits and any of _ . -"),
        );
        if !names.insert(&rule.name) {
            check.wrong(format!("{path}.name"), "is the name of a rule before it; give each its own");
        }
        if let Err(error) = Expression::over_requests(&rule.when) {
            check.wrong(format!("{path}.when"), error.to_string());
        }
        let is_told = rule.effect == PolicyEffect::Deny || rule.message.is_none();
        check.require(
            is_told,
            &format!("{path}.message"),
            "is told by no one: an allow rule refuses nothing by itself",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, pages};

    const PAGE: &str = include_str!("../../../docs/policies.md");

    fn parse(text: &str) -> Result<Config, String> {
        let env = |name: &str| (name == "TOLLWARD_MASTER_KEY").then(|| "sk-an-example-key".to_owned());
        Config::parse(text, "t.yaml", &env).map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_rule_that_cannot_be_used_is_told_with_its_place() {
        for (rules, expected) in [
            (
                "{name: a, effect: deny, when: \"caller.rol == 'x'\"}",
                "t.yaml:3:35: policy.rules[0].when: at 1:7 of the expression: caller has no field rol; it has method,",
            ),
            (
                "{name: Big Name, effect: deny, when: 'true'}",
                "policy.rules[0].name: must be 1 to 64 lower-case letters",
            ),
            ("{name: '', effect: deny, when: 'true'}", "policy.rules[0].name: must be 1 to 64 lower-case letters"),
            (
                "{name: a, effect: deny, when: 'true'}\n  - {name: a, effect: deny, when: 'true'}",
                "policy.rules[1].name: is the name of a rule before it",
            ),
            ("{name: a, effect: allow, when: 'true', message: m}", "policy.rules[0].message: is told by no one"),
            ("{name: a, effect: drop, when: 'true'}", "policy.rules[0].effect: one of deny, allow is expected here"),
            ("{name: a, when: 'true'}", "the key effect is missing"),
            ("{name: a, effect: deny, when: 'true', mod: shadow}", "did you mean mode?"),
        ] {
            let error = parse(&format!("policy:\n  rules:\n  - {rules}\n")).expect_err(rules);
            assert!(error.contains(expected), "{rules}: {error}");
        }
    }

    #[test]
    fn every_configuration_on_the_page_loads() {
        let configs = pages::load(PAGE);
        assert_eq!(configs.len(), 2);
        assert!(configs.iter().all(|config| config.policy.rules.len() >= 3));
    }

    #[test]
    fn the_page_names_every_variable_every_function_and_the_bound() {
        for (variable, fields) in crate::expression::request_fields() {
            for field in fields {
                let name = format!("`{variable}.{field}`");
                assert!(PAGE.contains(&name), "{name}");
            }
        }
        for function in crate::expression::function_names() {
            assert!(PAGE.contains(&format!("`{function}`")), "{function}");
        }
        use crate::expression::{MAX_DEPTH, MAX_NODES, MAX_TEXT, MAX_TURNS, MAX_VALUES};
        for bound in [
            format!("{MAX_TEXT} bytes, {MAX_NODES} parts and {MAX_DEPTH} levels; at most {} rules", super::MAX_RULES),
            format!("{MAX_TURNS} turns"),
            format!("{MAX_VALUES} values"),
        ] {
            assert!(PAGE.contains(&bound), "{bound}");
        }
    }
}
