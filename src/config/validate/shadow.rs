//! Limits in shadow mode: names that some limit has. One that is misspelt would stay in force unseen.

use super::Check;
use crate::config::Config;
use crate::domain::{Kind, ScopeKind, glob};

/// There are fewer names of limits.
const MAX_PATTERNS: usize = 128;

pub fn shadow(config: &Config, check: &mut Check<'_>) {
    let limits = &config.shadow.limits;
    let fits = limits.len() <= MAX_PATTERNS;
    check.require(fits, "shadow.limits", &format!("must be at most {MAX_PATTERNS} names"));
    for (index, pattern) in limits.iter().take(MAX_PATTERNS).enumerate() {
        let mut names = ScopeKind::ALL.iter().flat_map(|scope| Kind::ALL.map(|kind| kind.reason(*scope)));
        check.require(
            names.any(|name| glob::matches(pattern, &name)),
            &format!("shadow.limits[{index}]"),
            "is the name of no limit: write the reason of its refusals, as rate_limit.team.tokens, \
             rate_limit.key.max_parallel_requests, budget.user or rate_limit.*",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, pages};

    const PAGE: &str = include_str!("../../../docs/shadow-mode.md");

    fn parse(text: &str) -> Result<Config, String> {
        let env = |name: &str| (name == "TOLLWARD_MASTER_KEY").then(|| "sk-an-example-key".to_owned());
        Config::parse(text, "t.yaml", &env).map(|(config, _)| config).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_that_does_not_exist_is_told_with_its_place() {
        for good in ["rate_limit.team.tokens", "budget.user", "rate_limit.*", "*", "budget.model_per_*"] {
            parse(&format!("shadow: {{limits: ['{good}']}}")).expect(good);
        }
        for bad in ["", "budget.planet", "budget.user.spend", "rate_limit.team", "rate-limit.*", "Budget.*"] {
            let error = parse(&format!("shadow:\n  limits: [budget.key, '{bad}']\n")).expect_err(bad);
            assert!(error.contains("t.yaml:2:24: shadow.limits[1]: is the name of no limit"), "{bad}: {error}");
        }
        let error = parse("shadow: {limit: []}").expect_err("no such key");
        assert!(error.contains("did you mean limits?"), "{error}");
    }

    #[test]
    fn every_configuration_on_the_page_loads() {
        let configs = pages::load(PAGE);
        assert_eq!(configs.len(), 2);
        assert!(configs[0].shadow.enabled && configs[0].shadow.limits.is_empty());
        assert!(!configs[1].shadow.enabled && configs[1].shadow.limits.len() == 2);
    }
}
