//! Memos: what one part of the house worked out about an immutable value, kept with the value, so that it is worked out
//! once however many requests share it.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// A place for one note of one type. It is no part of the value it is kept with: values are equal whatever their memos
/// hold, and a copy begins with an empty one.
#[derive(Default)]
pub struct Memo {
    note: OnceLock<Box<dyn Any + Send + Sync>>,
    /// Whether the note was asked for by one who does without it the first time.
    asked: AtomicBool,
}

impl Memo {
    /// The note, worked out now if there is none. `None` where another type's note stands here: every memo has one
    /// owner.
    pub fn get_or_init<T: Any + Send + Sync>(&self, work_out: impl FnOnce() -> T) -> Option<&T> {
        self.note.get_or_init(|| Box::new(work_out())).downcast_ref()
    }

    /// The same from the second time on; `None` the first time, when nobody knows yet whether the value is shared. What is
    /// asked for once, and held for as long as a request runs, is not worth its memory.
    pub fn get_or_init_again<T: Any + Send + Sync>(&self, work_out: impl FnOnce() -> T) -> Option<&T> {
        if self.note.get().is_none() && !self.asked.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.get_or_init(work_out)
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Memo::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_worked_out_once_and_read_as_what_it_is() {
        let memo = Memo::default();
        assert_eq!(memo.get_or_init(|| 7_u32), Some(&7));
        assert_eq!(memo.get_or_init(|| 8_u32), Some(&7));
        assert_eq!(memo.get_or_init(|| "text"), None);
        let copy = memo.clone();
        assert_eq!(copy.get_or_init(|| "text"), Some(&"text"));
        assert_eq!(memo, copy);
    }

    #[test]
    fn what_is_asked_for_once_is_not_kept() {
        let memo = Memo::default();
        assert_eq!(memo.get_or_init_again(|| 7_u32), None);
        assert_eq!(memo.get_or_init_again(|| 8_u32), Some(&8));
        assert_eq!(memo.get_or_init_again(|| 9_u32), Some(&8));
    }
}
