//! Questions under way: whoever asks what is being asked already waits for the same answer. A question goes on when all
//! who wait for it have gone, so its work must end by itself.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;

type Answer<V> = Shared<BoxFuture<'static, V>>;

/// See the module.
pub struct Flights<K, V> {
    under_way: Arc<Mutex<HashMap<K, (u64, Answer<V>)>>>,
    next: AtomicU64,
}

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Flights { under_way: Arc::default(), next: AtomicU64::new(0) }
    }
}

impl<K, V> Flights<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// The answer of the work under way for `key`, else of `work`. Any runtime of the process may wait.
    pub async fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> V
    where
        F: Future<Output = V> + Send + 'static,
    {
        self.board(key, work).await
    }

    fn board<F>(&self, key: K, work: impl FnOnce() -> F) -> Answer<V>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut under_way = self.under_way.lock();
        if let Some((_, answer)) = under_way.get(&key) {
            return answer.clone();
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        // However it ends, a panic too.
        let landing = Landing { under_way: Arc::clone(&self.under_way), key: key.clone(), id };
        let work = work();
        let answer = async move {
            let answer = work.await;
            drop(landing);
            answer
        };
        let answer = answer.boxed().shared();
        under_way.insert(key, (id, answer.clone()));
        drop(under_way);
        tokio::spawn(answer.clone());
        answer
    }
}

#[cfg(test)]
impl<K, V> Flights<K, V> {
    /// How many questions are under way.
    pub fn count(&self) -> usize {
        self.under_way.lock().len()
    }
}

/// Takes a question off the list.
struct Landing<K: Eq + Hash, V> {
    under_way: Arc<Mutex<HashMap<K, (u64, Answer<V>)>>>,
    key: K,
    id: u64,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        let mut under_way = self.under_way.lock();
        let taken = if under_way.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            under_way.remove(&self.key)
        } else {
            None
        };
        drop(under_way);
        drop(taken);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn who_asks_the_same_waits_for_one_answer() {
        let (flights, asked, go) = (Flights::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let ask = |key: u32| {
            let (asked, go) = (Arc::clone(&asked), Arc::clone(&go));
            flights.join(key, move || async move {
                asked.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                key * 10
            })
        };
        let release = async {
            tokio::task::yield_now().await;
            go.notify_waiters();
        };
        let (one, two, three, ()) = tokio::join!(ask(1), ask(1), ask(2), release);
        assert_eq!((one, two, three, asked.load(Ordering::Relaxed)), (10, 10, 20, 2));
        assert_eq!(flights.count(), 0);
    }

    #[tokio::test]
    async fn an_answer_comes_though_all_who_waited_have_gone() {
        let flights = Flights::<u32, ()>::default();
        let (done, answered) = oneshot::channel();
        let (go, gone) = oneshot::channel::<()>();
        let mut waiting = Box::pin(flights.join(1, move || async move {
            let _ = gone.await;
            let _ = done.send(7);
        }));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        go.send(()).unwrap();
        assert_eq!(answered.await, Ok(7));
    }

    #[test]
    fn who_waits_on_another_runtime_gets_the_answer_though_the_first_has_ended() {
        let flights = Flights::<u32, u32>::default();
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (go, gone) = oneshot::channel::<()>();
        let first = runtime();
        first.block_on(async {
            let mut waiting = Box::pin(flights.join(1, move || async move {
                let _ = gone.await;
                7
            }));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        });
        drop(first);
        go.send(()).unwrap();
        assert_eq!(runtime().block_on(flights.join(1, || async { 0 })), 7);
        assert_eq!(flights.count(), 0);
    }
}
