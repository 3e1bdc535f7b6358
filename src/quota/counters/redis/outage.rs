//! Whether Redis answers.

use std::sync::atomic::{AtomicBool, Ordering};

/// Told by every call; asked before the next.
#[derive(Debug, Default)]
pub(super) struct Health {
    down: AtomicBool,
}

impl Health {
    pub(super) fn failed(&self) {
        self.down.store(true, Ordering::Release);
    }

    pub(super) fn answered(&self) {
        self.down.store(false, Ordering::Release);
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Acquire)
    }
}
