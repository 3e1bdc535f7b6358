//! What authenticators learnt and a reload of the configuration must not make them forget. It is kept by what it was
//! learnt under: whoever is configured anew begins anew.

use std::sync::Arc;

use parking_lot::Mutex;

use super::custom::Consultant;

/// See the module. One for each gate.
#[derive(Default)]
pub struct Kept {
    pub(super) consultant: Mutex<Option<Arc<Consultant>>>,
}
