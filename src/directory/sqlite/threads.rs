//! Threads that own the connections: SQLite blocks, and no runtime may wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::super::Result;
use super::errors::unavailable;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// One thread for each connection, fed by one bounded queue. Dropping it ends the threads after what they are doing.
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn begin(name: &str, connections: Vec<Connection>, queue: usize) -> Result<Worker> {
        let (jobs, queue) = sync_channel(queue);
        let queue = Arc::new(Mutex::new(queue));
        let begin = |connection| {
            let queue = Arc::clone(&queue);
            let thread = std::thread::Builder::new().name(name.to_owned());
            thread.spawn(move || work(connection, &queue)).map_err(unavailable)
        };
        let threads = connections.into_iter().map(begin).collect::<Result<Vec<_>>>()?;
        Ok(Worker { jobs: Some(jobs), threads })
    }

    /// Runs `job` on one of the threads. A job whose caller has gone before it began is not run.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        bound: Duration,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            if !answer.is_closed() {
                // Nobody may be there any more; then nobody misses the answer.
                let _ = answer.send(job(connection));
            }
        });
        let jobs = self.jobs.as_ref().ok_or_else(|| unavailable("it was closed"))?;
        jobs.try_send(job).map_err(|_| unavailable("too many calls wait for it"))?;
        match tokio::time::timeout(bound, answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("its thread ended")),
            Err(_) => Err(unavailable(format!("no answer within {} seconds", bound.as_secs()))),
        }
    }
}

fn work(mut connection: Connection, queue: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: one idle thread waits for a job, the others for the lock.
        let job = queue.lock().recv();
        match job {
            Ok(job) => job(&mut connection),
            Err(_) => return,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}
