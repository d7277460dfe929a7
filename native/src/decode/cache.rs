//! A bounded cache: slices of bytes -> their decoded values.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::ids::{LONG, digest};

const MAX_ENTRIES: usize = 1 << 14;
const MAX_BYTES: usize = 1 << 23;

struct Entry<T, V> {
    hash: u64,
    tag: T,
    /// The key is the digest of a long one.
    is_digest: bool,
    key: Box<[u8]>,
    value: V,
}

/// A table that is emptied before it grows too large. A key is a tag and parts, which are joined
/// in the table: if more than one part varies in length, the tag must contain the lengths.
pub struct Cache<T, V> {
    table: HashTable<Entry<T, V>>,
    bytes: usize,
    hasher: RandomState,
}

impl<T: Copy + Eq + Hash, V: Copy> Cache<T, V> {
    pub fn new() -> Self {
        Cache { table: HashTable::new(), bytes: 0, hasher: RandomState::default() }
    }

    #[inline]
    fn hash(&self, tag: T, parts: &[&[u8]]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        tag.hash(&mut hasher);
        for part in parts {
            hasher.write(part);
        }
        hasher.finish()
    }

    #[inline]
    pub fn get(&self, tag: T, parts: &[&[u8]]) -> Option<V> {
        if is_long(parts) {
            return self.find(tag, &[&digest(parts)], true);
        }
        self.find(tag, parts, false)
    }

    fn find(&self, tag: T, parts: &[&[u8]], is_digest: bool) -> Option<V> {
        let hash = self.hash(tag, parts);
        let found = self.table.find(hash, |entry| {
            entry.hash == hash
                && entry.tag == tag
                && entry.is_digest == is_digest
                && is_joined(&entry.key, parts)
        });
        found.map(|entry| entry.value)
    }

    /// Stores a value; `size` is its size as the reference counts it, so that both empty
    /// their caches at the same position of the input.
    pub fn put(&mut self, tag: T, parts: &[&[u8]], value: V, size: usize) -> V {
        self.bytes += size;
        if self.table.len() >= MAX_ENTRIES || self.bytes > MAX_BYTES {
            self.clear();
            self.bytes = size;
        }
        if is_long(parts) {
            self.insert(tag, &[&digest(parts)], true, value);
        } else {
            self.insert(tag, parts, false, value);
        }
        value
    }

    fn insert(&mut self, tag: T, parts: &[&[u8]], is_digest: bool, value: V) {
        let hash = self.hash(tag, parts);
        let key = parts.concat().into_boxed_slice();
        self.table
            .insert_unique(hash, Entry { hash, tag, is_digest, key, value }, |entry| entry.hash);
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.bytes = 0;
    }
}

#[inline]
fn is_long(parts: &[&[u8]]) -> bool {
    parts.iter().map(|part| part.len()).sum::<usize>() > LONG
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

/// Compares slices, but never reads empty ones: their pointer may be invalid, and glibc's memcmp
/// (EVEX) then reads there with an empty mask, which takes the processor about 100 ns.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}
