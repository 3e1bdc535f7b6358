//! Answers of one connection, worked out together. Nearly every decision is made without waiting, so a request needs no
//! task of its own: those that came with one turn of the connection are answered one after another, while the code they
//! share is in the core's cache. One that has to wait goes on as a task.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};

use hyper::rt::Executor;
use parking_lot::Mutex;

/// Requests answered together. More of them would push each other's bytes out of the core's cache.
const TOGETHER: usize = 16;

type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answers that are due. Cheap to clone.
#[derive(Clone, Default)]
pub struct Answers(Arc<Mutex<Vec<Answer>>>);

impl Answers {
    /// Works out what is due. Whether anything was.
    pub fn run(&self) -> bool {
        let mut due = std::mem::take(&mut *self.0.lock());
        let any = !due.is_empty();
        for mut answer in due.drain(..) {
            // A task polls what it is given at once, and then with a waker of its own.
            if answer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                tokio::spawn(answer);
            }
        }
        let mut next = self.0.lock();
        if next.is_empty() {
            *next = due;
        }
        any
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Answers {
    fn execute(&self, answer: F) {
        let waiting = {
            let mut due = self.0.lock();
            due.push(Box::pin(answer));
            due.len()
        };
        if waiting >= TOGETHER {
            self.run();
        }
    }
}
