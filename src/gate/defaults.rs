//! Limits every key has on a model that sets them (`model_info.default_api_key_rpm_limit`, `…_tpm_limit`), where the key
//! has none of its own.

use ahash::AHashMap;

use crate::config::ModelEntry;
use crate::domain::ModelBudget;

/// The defaults, by public model name. Of several entries of one name the tightest holds.
#[derive(Default)]
pub struct DefaultKeyLimits(AHashMap<String, ModelBudget>);

impl DefaultKeyLimits {
    #[must_use]
    pub fn of(models: &[ModelEntry]) -> Self {
        let mut limits: AHashMap<String, ModelBudget> = AHashMap::new();
        for entry in models {
            let info = &entry.model_info;
            if info.default_api_key_rpm_limit.is_none() && info.default_api_key_tpm_limit.is_none() {
                continue;
            }
            let known = limits.entry(entry.model_name.clone()).or_default();
            known.rpm_limit = tighter(known.rpm_limit, info.default_api_key_rpm_limit);
            known.tpm_limit = tighter(known.tpm_limit, info.default_api_key_tpm_limit);
        }
        DefaultKeyLimits(limits)
    }

    /// Those of what aliases made of a model, else of the model as it was asked for.
    #[must_use]
    pub fn get(&self, target: &str, asked: &str) -> Option<&ModelBudget> {
        self.0.get(target).or_else(|| self.0.get(asked))
    }
}

fn tighter(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}
