//! A change is computed from rows as they were read, and written only while they are still the same. One that another
//! was faster than is computed anew from what is there now, checks included: neither is lost, and nobody hears of it.

use super::Result;

/// How often a change is computed before whoever asked for it is told that others are always faster.
const ATTEMPTS: usize = 8;

pub(super) async fn on_fresh_rows<T, F: Future<Output = Result<T>>>(change: impl Fn() -> F) -> Result<T> {
    for _ in 1..ATTEMPTS {
        match change().await {
            Err(error) if error.is_outrun() => {}
            done => return done,
        }
    }
    change().await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::directory::DirectoryError;
    use crate::manage::ManageError;

    #[tokio::test]
    async fn who_is_always_outrun_is_told_so() {
        let attempts = &AtomicUsize::new(0);
        let outrun = |times: usize, error: DirectoryError| {
            attempts.store(0, Ordering::Relaxed);
            on_fresh_rows(move || {
                let done = attempts.fetch_add(1, Ordering::Relaxed) >= times;
                let error = ManageError::from(error.clone());
                async move { if done { Ok(()) } else { Err(error) } }
            })
        };
        let changed = || DirectoryError::Changed { what: "key", name: "k".to_owned() };
        outrun(ATTEMPTS - 1, changed()).await.unwrap();
        let error = outrun(ATTEMPTS, changed()).await.unwrap_err();
        assert_eq!((error.status, error.kind, attempts.load(Ordering::Relaxed)), (409, "changed_meanwhile", ATTEMPTS));
        outrun(1, DirectoryError::Unavailable("the disk".to_owned())).await.unwrap_err();
        assert_eq!(attempts.load(Ordering::Relaxed), 1, "what is wrong otherwise is told at once");
    }
}
