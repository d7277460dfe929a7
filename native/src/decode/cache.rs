//! A bounded cache: slices of bytes -> their decoded values.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::ids::{LONG, digest};

pub const FEW_ENTRIES: usize = 1 << 14;
/// Of what a busy host has very many: files, and rows in general.
pub const MANY_ENTRIES: usize = 1 << 16;
const MAX_BYTES: usize = 1 << 23;

struct Entry<T, V> {
    hash: u64,
    tag: T,
    /// The key is the digest of a long one.
    is_digest: bool,
    /// The key's place in `keys`.
    begin: usize,
    end: usize,
    value: V,
}

/// A table that is emptied before it grows too large. A key is a tag and parts, which are joined
/// in the table: if more than one part varies in length, the tag must contain the lengths.
pub struct Cache<T, V> {
    table: HashTable<Entry<T, V>>,
    /// All keys, one behind the other.
    keys: Vec<u8>,
    bytes: usize,
    most: usize,
    hasher: RandomState,
}

impl<T: Copy + Eq + Hash, V: Copy> Cache<T, V> {
    /// Makes one that holds fewer than `most` entries.
    pub fn new(most: usize) -> Self {
        Cache {
            table: HashTable::new(),
            keys: Vec::new(),
            bytes: 0,
            most,
            hasher: RandomState::default(),
        }
    }

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
        if is_long(parts) { self.get_long(tag, parts) } else { self.find(tag, parts, false) }
    }

    #[cold]
    fn get_long(&self, tag: T, parts: &[&[u8]]) -> Option<V> {
        self.find(tag, &[&digest(parts)], true)
    }

    #[inline(always)]
    fn find(&self, tag: T, parts: &[&[u8]], is_digest: bool) -> Option<V> {
        let hash = self.hash(tag, parts);
        let found = self.table.find(hash, |entry| {
            let key = entry.begin..entry.end;
            entry.hash == hash
                && entry.tag == tag
                && entry.is_digest == is_digest
                && is_joined(&self.keys[key], parts)
        });
        found.map(|entry| entry.value)
    }

    /// Stores a value; `size` is its size as the reference counts it, so that both empty
    /// their caches at the same position of the input. Gives whether it was emptied before.
    pub fn put(&mut self, tag: T, parts: &[&[u8]], value: V, size: usize) -> bool {
        self.bytes += size;
        let is_full = self.table.len() >= self.most || self.bytes > MAX_BYTES;
        if is_full {
            self.clear();
            self.bytes = size;
        }
        if is_long(parts) {
            self.insert(tag, &[&digest(parts)], true, value);
        } else {
            self.insert(tag, parts, false, value);
        }
        is_full
    }

    fn insert(&mut self, tag: T, parts: &[&[u8]], is_digest: bool, value: V) {
        let hash = self.hash(tag, parts);
        let begin = self.keys.len();
        parts.iter().for_each(|part| self.keys.extend_from_slice(part));
        let entry = Entry { hash, tag, is_digest, begin, end: self.keys.len(), value };
        self.table.insert_unique(hash, entry, |entry| entry.hash);
    }

    pub fn clear(&mut self) {
        self.table.clear();
        self.keys.clear();
        self.keys.shrink_to(MAX_BYTES);
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
