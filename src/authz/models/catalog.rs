//! What the configuration says of models: their providers, the access groups they belong to, and other names for them.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::config::{Config, ModelEntry};
use crate::domain::glob;

/// Finds the provider of a model name that `model_list` does not have, as the price table knows it: empty where it has the
/// model and names no provider, `None` where it does not have the model.
pub type ProviderOf = Arc<dyn Fn(&str) -> Option<Arc<str>> + Send + Sync>;

/// The models of the configuration, ready to be asked. Built once for each configuration; nothing in it changes.
#[derive(Clone)]
pub struct Catalog {
    exact: HashMap<String, Facts, ahash::RandomState>,
    /// Entries whose name holds `*`, in the order of the file.
    patterns: Vec<(String, Facts)>,
    aliases: BTreeMap<String, String>,
    provider_of: ProviderOf,
}

#[derive(Clone, Debug, Default)]
struct Facts {
    /// `None` also where several entries of one name disagree: then none is assumed.
    provider: Option<Arc<str>>,
    groups: Vec<String>,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("exact", &self.exact)
            .field("patterns", &self.patterns)
            .field("aliases", &self.aliases)
            .finish_non_exhaustive()
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog::new(&Config::default(), Arc::new(|_| None))
    }
}

impl Catalog {
    #[must_use]
    pub fn new(config: &Config, provider_of: ProviderOf) -> Self {
        let mut facts: Vec<(&str, Facts)> = Vec::new();
        for entry in &config.model_list {
            let provider = provider_of_entry(entry);
            let groups = &entry.model_info.access_groups;
            match facts.iter_mut().find(|(name, _)| *name == entry.model_name) {
                None => {
                    facts.push((&entry.model_name, Facts { provider, groups: groups.clone() }));
                }
                Some((_, known)) => {
                    if known.provider != provider {
                        known.provider = None;
                    }
                    let new: Vec<String> =
                        groups.iter().filter(|group| !known.groups.contains(group)).cloned().collect();
                    known.groups.extend(new);
                }
            }
        }
        let (patterns, exact): (Vec<_>, Vec<_>) = facts
            .into_iter()
            .map(|(name, facts)| (name.to_owned(), facts))
            .partition(|(name, _)| glob::is_pattern(name));
        Catalog {
            exact: exact.into_iter().collect(),
            patterns,
            aliases: config.litellm_settings.model_alias_map.clone(),
            provider_of,
        }
    }

    /// The name everyone's alias map gives a model.
    #[must_use]
    pub fn alias(&self, model: &str) -> Option<&str> {
        self.aliases.get(model).map(String::as_str)
    }

    /// Whether a name means a model already: `model_list`, the alias map or the price table has it.
    pub fn is_known(&self, model: &str) -> bool {
        self.aliases.contains_key(model) || self.facts(model).next().is_some() || (self.provider_of)(model).is_some()
    }

    /// Access groups of a model: those of its entry, or of every pattern that matches where it has none of its own.
    pub fn groups(&self, model: &str) -> impl Iterator<Item = &str> {
        self.facts(model).flat_map(|facts| facts.groups.iter().map(String::as_str))
    }

    /// Calls `test` with the provider of a model, where one is known; `false` where none is.
    pub fn provider_is(&self, model: &str, test: impl Fn(&str) -> bool) -> bool {
        match self.facts(model).next() {
            Some(facts) => facts.provider.as_deref().is_some_and(test),
            None => (self.provider_of)(model).as_deref().is_some_and(test),
        }
    }

    fn facts(&self, model: &str) -> impl Iterator<Item = &Facts> {
        let exact = self.exact.get(model);
        let patterns = if exact.is_some() { &[][..] } else { &self.patterns };
        exact
            .into_iter()
            .chain(patterns.iter().filter(move |(name, _)| glob::matches(name, model)).map(|(_, facts)| facts))
    }
}

/// `custom_llm_provider`, else what stands before the slash of the provider's name of the model.
fn provider_of_entry(entry: &ModelEntry) -> Option<Arc<str>> {
    let params = &entry.litellm_params;
    if let Some(provider) = params.other.get("custom_llm_provider").and_then(serde_json::Value::as_str) {
        return Some(provider.into());
    }
    let (provider, _) = params.model.as_deref()?.split_once('/')?;
    Some(provider.into())
}
