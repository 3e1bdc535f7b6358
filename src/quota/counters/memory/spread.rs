//! Collections that never stop to grow. A table or queue of a million entries that doubles moves them all while everyone
//! waits; these grow by small parts.

use std::collections::{HashMap, VecDeque};

use crate::domain::HoldId;

/// Parts of a map. Names are random, so each part holds as many entries as any other.
const PARTS: usize = 256;
/// Entries of one block of a queue.
const BLOCK: usize = 1_024;

/// A map by hold, in parts of which each grows by itself.
#[derive(Debug)]
pub(super) struct HoldMap<V> {
    parts: Box<[HashMap<HoldId, V, ahash::RandomState>]>,
    len: usize,
}

impl<V> Default for HoldMap<V> {
    fn default() -> Self {
        HoldMap { parts: (0..PARTS).map(|_| HashMap::default()).collect(), len: 0 }
    }
}

impl<V> HoldMap<V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn part(&self, id: HoldId) -> &HashMap<HoldId, V, ahash::RandomState> {
        &self.parts[usize::from(id.as_bytes()[0]) % PARTS]
    }

    fn part_mut(&mut self, id: HoldId) -> &mut HashMap<HoldId, V, ahash::RandomState> {
        &mut self.parts[usize::from(id.as_bytes()[0]) % PARTS]
    }

    pub(super) fn get(&self, id: HoldId) -> Option<&V> {
        self.part(id).get(&id)
    }

    pub(super) fn get_mut(&mut self, id: HoldId) -> Option<&mut V> {
        self.part_mut(id).get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: HoldId, value: V) -> Option<V> {
        let before = self.part_mut(id).insert(id, value);
        self.len += usize::from(before.is_none());
        before
    }

    pub(super) fn remove(&mut self, id: HoldId) -> Option<V> {
        let removed = self.part_mut(id).remove(&id);
        self.len -= usize::from(removed.is_some());
        removed
    }
}

/// A queue in blocks: what is pushed never moves.
#[derive(Debug)]
pub(super) struct Queue<T> {
    blocks: VecDeque<VecDeque<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { blocks: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn push_back(&mut self, entry: T) {
        match self.blocks.back_mut() {
            Some(block) if block.len() < BLOCK => block.push_back(entry),
            _ => {
                let mut block = VecDeque::with_capacity(BLOCK);
                block.push_back(entry);
                self.blocks.push_back(block);
            }
        }
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let entry = self.blocks.front_mut()?.pop_front();
        // The last block stays, so that a queue of a few entries asks for no memory.
        if self.blocks.len() > 1 && self.blocks.front().is_some_and(VecDeque::is_empty) {
            self.blocks.pop_front();
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_back_what_it_got_in_order_whatever_its_length() {
        let mut queue = Queue::default();
        let (mut pushed, mut popped) = (0, 0);
        for turn in 0..20 {
            for _ in 0..turn * 300 {
                queue.push_back(pushed);
                pushed += 1;
            }
            for _ in 0..turn * 290 {
                assert_eq!(queue.front().copied(), Some(popped));
                assert_eq!(queue.pop_front(), Some(popped));
                popped += 1;
            }
        }
        while let Some(entry) = queue.pop_front() {
            assert_eq!(entry, popped);
            popped += 1;
        }
        assert_eq!((popped, queue.front()), (pushed, None));
    }

    #[test]
    fn a_map_counts_what_it_holds() {
        let mut map = HoldMap::default();
        let id = |byte: u8| HoldId::new([byte; 16]);
        for byte in 0..=255 {
            assert_eq!(map.insert(id(byte), byte), None);
        }
        assert_eq!((map.len(), map.insert(id(7), 8), map.len()), (256, Some(7), 256));
        assert_eq!(map.get(id(7)), Some(&8));
        assert_eq!((map.remove(id(7)), map.len()), (Some(8), 255));
        assert_eq!((map.remove(id(7)), map.len()), (None, 255));
    }
}
