//! What outlives a reload of the configuration: answers of providers, as long as what they rest on is unchanged.

use super::oauth2;

/// Made once with the gate, and shown to every configuration it serves.
#[derive(Default)]
pub struct Kept {
    pub(super) oauth2: oauth2::KeptServer,
}
