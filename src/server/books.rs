//! The ledger, counted: what is booked shows in the metrics whoever books it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::directory::SharedStore;
use crate::domain::{Account, Hold, HoldId, Money, Progress, Record, RecordStatus};
use crate::quota::counters::{Books, CountersError};
use crate::spend::ledger::Ledger;
use crate::telemetry::Metrics;

/// Passes everything on to the ledger and counts records by status.
pub struct CountedBooks {
    pub ledger: Arc<Ledger>,
    pub metrics: Arc<Metrics>,
}

#[async_trait]
impl Books for CountedBooks {
    fn book(&self, record: Record) {
        let settlements = &self.metrics.settlements;
        match record.status {
            RecordStatus::Usage => settlements.usage.inc(),
            RecordStatus::Unsettled => {
                self.metrics.holds.expired.inc();
                settlements.unsettled.inc()
            }
            RecordStatus::Unmetered => {
                self.metrics.holds.expired.inc();
                settlements.unmetered.inc()
            }
            RecordStatus::Adjustment | RecordStatus::Opening => settlements.adjustment.inc(),
        };
        settlements.spent(record.cost);
        self.ledger.book(record);
    }

    fn started(&self, hold: &Arc<Hold>, progress: Progress) {
        self.ledger.started(hold, progress);
    }

    fn progressed(&self, running: &[(HoldId, Progress)]) {
        self.ledger.progressed(running);
    }

    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        self.ledger.spent(account).await
    }

    fn is_writable(&self) -> bool {
        Books::is_writable(&*self.ledger)
    }

    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError> {
        self.ledger.knows(hold).await
    }
}

/// The books as the directory has them, to be read only: nothing can be booked.
pub struct WrittenBooks(pub SharedStore);

#[async_trait]
impl Books for WrittenBooks {
    fn book(&self, _record: Record) {}

    fn started(&self, _hold: &Arc<Hold>, _progress: Progress) {}

    fn progressed(&self, _running: &[(HoldId, Progress)]) {}

    async fn spent(&self, account: &Account) -> Result<Money, CountersError> {
        self.0.spent(account).await.map_err(|error| CountersError::Unavailable(error.to_string()))
    }

    fn is_writable(&self) -> bool {
        false
    }

    async fn knows(&self, hold: HoldId) -> Result<bool, CountersError> {
        self.0.knows_record(hold).await.map_err(|error| CountersError::Unavailable(error.to_string()))
    }
}
