//! Writing a batch so that a record the directory refuses for what it holds keeps no other from being written.

use crate::directory::{DirectoryError, Store};
use crate::domain::Record;

/// What became of a record: whether it was new, or why it was refused.
pub(super) type Outcome = Result<bool, String>;

/// Writes records; answers the outcome of each, in their order. A batch that is refused is halved until what is refused
/// stands alone.
pub(super) async fn write(store: &dyn Store, records: &[Record]) -> Result<Vec<Outcome>, DirectoryError> {
    let mut outcomes = Vec::with_capacity(records.len());
    let mut parts = vec![records];
    while let Some(part) = parts.pop() {
        match (store.write_records(part).await, part) {
            (Ok(new), _) => outcomes.extend(new.into_iter().map(Ok)),
            (Err(DirectoryError::Refused(why)), [record]) => {
                tracing::error!(
                    hold = %record.id, sequence = record.sequence, cost = record.cost.as_nanos(), %why,
                    "the directory refuses a record for what it holds; it is kept in the spool's refused.log, counted \
                     as pending, and tried again at the next start"
                );
                outcomes.push(Err(why));
            }
            (Err(DirectoryError::Refused(_)), [_, ..]) => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
            (Err(error), _) => return Err(error),
        }
    }
    Ok(outcomes)
}
