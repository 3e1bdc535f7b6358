//! The price book in force, and those before it: a request is settled with the prices it was admitted with.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::price::PriceBook;

/// Books that are kept after a newer one took over. Streams that outlive so many changes are settled with the newest.
const KEPT: usize = 16;

/// The current price book and its predecessors.
pub struct Prices {
    current: ArcSwap<PriceBook>,
    before: Mutex<VecDeque<Arc<PriceBook>>>,
}

impl Prices {
    #[must_use]
    pub fn new(book: PriceBook) -> Self {
        Prices { current: ArcSwap::from_pointee(book), before: Mutex::default() }
    }

    #[must_use]
    pub fn current(&self) -> Arc<PriceBook> {
        self.current.load_full()
    }

    /// Puts a new book in force. `false` where it says the same as the current one.
    pub fn install(&self, book: PriceBook) -> bool {
        if book.version() == self.current.load().version() {
            return false;
        }
        let old = self.current.swap(Arc::new(book));
        let mut before = self.before.lock();
        before.push_front(old);
        before.truncate(KEPT);
        true
    }

    /// The book of this version, else the current one.
    #[must_use]
    pub fn version(&self, version: &str) -> Arc<PriceBook> {
        let current = self.current.load_full();
        if **current.version() == *version {
            return current;
        }
        let before = self.before.lock();
        before.iter().find(|book| **book.version() == *version).cloned().unwrap_or(current)
    }
}
