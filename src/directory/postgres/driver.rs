//! The thread that drives every connection to PostgreSQL: neither a worker that ends nor a long report keeps the
//! directory from answering.

use tokio::runtime::{Builder, Handle, Runtime};

use super::super::Result;
use super::errors::unavailable;

/// See the module. Its connections end with it.
pub(in super::super) struct Driver(Option<Runtime>, Handle);

impl Driver {
    pub(super) fn begin() -> Result<Driver> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("directory-postgres")
            .enable_all()
            .build()
            .map_err(unavailable)?;
        let handle = runtime.handle().clone();
        Ok(Driver(Some(runtime), handle))
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.1
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for its thread is not allowed where other tasks run.
            runtime.shutdown_background();
        }
    }
}
