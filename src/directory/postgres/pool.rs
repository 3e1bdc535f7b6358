//! A bounded number of connections, lent one job at a time. A connection whose job broke off is not lent again: nobody
//! knows what it is in the middle of.

use std::time::Duration;

use deadpool_postgres::{
    Connect, Manager, ManagerConfig, Object, Pool as Deadpool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, Error};

use super::super::Result;
use super::connect::{CONNECT, Target};
use super::driver::Driver;
use super::errors::{self, unavailable};
use super::session::PostgresSession;

/// How long a job waits for another to give its connection back.
const WAIT: Duration = Duration::from_secs(2);

/// See the module.
pub(super) struct Pool {
    pool: Deadpool,
    prepared: bool,
    size: usize,
}

/// Connects on the driver's thread, where the connection then stays.
struct OnDriver {
    target: Target,
    handle: Handle,
}

impl Connect for OnDriver {
    fn connect(&self, _: &Config) -> BoxFuture<'_, std::result::Result<(Client, JoinHandle<()>), Error>> {
        let target = self.target.clone();
        let connecting = self.handle.spawn(async move { timeout(CONNECT, target.connect_alone()).await });
        async move {
            match connecting.await {
                Ok(Ok(connected)) => connected,
                // Not in time: the pool's own bound, which is the same, says so.
                Ok(Err(_)) | Err(_) => std::future::pending().await,
            }
        }
        .boxed()
    }
}

impl Pool {
    pub(super) fn new(target: &Target, driver: &Driver, size: usize) -> Result<Pool> {
        let connect = OnDriver { target: target.clone(), handle: driver.handle().clone() };
        let fast = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(target.config().clone(), connect, fast);
        let pool = Deadpool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(CONNECT))
            .recycle_timeout(Some(CONNECT))
            .build()
            .map_err(unavailable)?;
        Ok(Pool { pool, prepared: target.prepared(), size })
    }

    pub(super) async fn lease(&self) -> Result<Lease> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => {
                unavailable(format!("all {} connections are in use (directory.pool_size)", self.size))
            }
            PoolError::Timeout(_) => unavailable("PostgreSQL does not take a connection in time"),
            PoolError::Backend(error) => errors::of(&error),
            error => unavailable(error),
        })?;
        Ok(Lease { object: Some(object), prepared: self.prepared })
    }
}

/// A connection while a job has it.
pub(super) struct Lease {
    /// Taken when the lease ends.
    object: Option<Object>,
    prepared: bool,
}

impl Lease {
    pub(super) fn session(&self) -> PostgresSession<'_> {
        PostgresSession { client: self.object(), prepared: self.prepared }
    }

    /// Runs statements that answer nothing.
    pub(super) async fn batch(&self, text: &str) -> Result<()> {
        self.object().batch_execute(text).await.map_err(|error| errors::of(&error))
    }

    /// Gives the connection back: nothing is under way on it.
    pub(super) fn finish(mut self) {
        drop(self.object.take());
    }

    #[expect(clippy::expect_used, reason = "only the end of the lease takes it")]
    fn object(&self) -> &Object {
        self.object.as_ref().expect("a lease has its connection until it ends")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            // Closed instead of given back.
            drop(Object::take(object));
        }
    }
}
