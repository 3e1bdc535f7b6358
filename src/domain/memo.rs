//! Memos: what one part of the house worked out about an immutable value, kept with the value, so that it is worked out
//! once however many requests share it.

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;

/// A place for one note of one type. It is no part of the value it is kept with: values are equal whatever their memos
/// hold, and a copy begins with an empty one.
#[derive(Default)]
pub struct Memo(OnceLock<Box<dyn Any + Send + Sync>>);

impl Memo {
    /// The note, worked out now if there is none. `None` where another type's note stands here: every memo has one
    /// owner.
    pub fn get_or_init<T: Any + Send + Sync>(&self, work_out: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Box::new(work_out())).downcast_ref()
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
}
