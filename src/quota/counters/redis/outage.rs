//! Whether Redis answers.

use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a shard answers. Told by every call, asked before the next.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
}

impl Health {
    /// Whether it answered until now.
    pub(super) fn failed(&self) -> bool {
        !self.down.swap(true, Ordering::AcqRel)
    }

    /// Whether it did not answer until now.
    pub(super) fn answered(&self) -> bool {
        self.down.load(Ordering::Relaxed) && self.down.swap(false, Ordering::AcqRel)
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }
}
