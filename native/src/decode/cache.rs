//! Slices of bytes -> what was made of them, bounded.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

const MAX_ENTRIES: usize = 1 << 14;
const MAX_BYTES: usize = 1 << 23;

struct Entry<T, V> {
    hash: u64,
    tag: T,
    key: Box<[u8]>,
    value: V,
}

/// A table that empties itself before it holds too much. A key is a tag and parts, which stand
/// joined in the table: where more than one part varies in length, the tag must tell the lengths.
pub struct Cache<T, V> {
    table: HashTable<Entry<T, V>>,
    bytes: usize,
    hasher: RandomState,
}

impl<T: Copy + Eq + Hash, V: Copy> Cache<T, V> {
    pub fn new() -> Self {
        Cache { table: HashTable::new(), bytes: 0, hasher: RandomState::default() }
    }

    fn hash(&self, tag: T, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        tag.hash(&mut hasher);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }

    pub fn get(&self, tag: T, parts: &[&[u8]]) -> Option<V> {
        let hash = self.hash(tag, parts);
        let found = self.table.find(hash, |entry| {
            entry.hash == hash && entry.tag == tag && is_joined(&entry.key, parts)
        });
        found.map(|entry| entry.value)
    }

    /// Remembers a value; `size` is what the reference counts for it, so that both empty
    /// their caches at the same place.
    pub fn put(&mut self, tag: T, parts: &[&[u8]], value: V, size: usize) -> V {
        self.bytes += size;
        if self.table.len() >= MAX_ENTRIES || self.bytes > MAX_BYTES {
            self.clear();
            self.bytes = size;
        }
        let hash = self.hash(tag, parts);
        let entry = Entry { hash, tag, key: parts.concat().into_boxed_slice(), value };
        self.table.insert_unique(hash, entry, |entry| entry.hash);
        value
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.bytes = 0;
    }
}

fn is_joined(mut key: &[u8], parts: &[&[u8]]) -> bool {
    for part in parts {
        match key.split_at_checked(part.len()) {
            Some((start, rest)) if is_same(start, part) => key = rest,
            _ => return false,
        }
    }
    key.is_empty()
}

/// Compares without looking at empty slices: they may point nowhere, and glibc's memcmp (EVEX)
/// reads there under an empty mask, which costs the processor some 100 ns.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}
