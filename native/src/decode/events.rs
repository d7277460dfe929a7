//! The open events, in the order in which they were opened.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::cache::is_same;
use super::line::{Line, Stamp};
use super::rows::{Identity, Record, Records};

/// A buffer larger than this, in bytes, is not reused for the next event.
const KEPT: usize = 1 << 13;
/// Bytes that are counted for a record in addition to its line.
pub const RECORD_SIZE: usize = 200;
const NONE: u32 = u32::MAX;

/// An event that has not ended. Its key is the text of node and stamp in its lines.
#[derive(Default)]
pub struct Event {
    hash: u64,
    is_open: bool,
    has_node: bool,
    node: Vec<u8>,
    stamp: Stamp,
    second: i64,
    ms: u16,
    serial: u32,
    pub last: f64,
    pub has_call: bool,
    /// Digits of the task's pid, if its first record has one.
    pub pid: Option<Vec<u8>>,
    /// One of its lines is as the kernel prints it.
    pub is_printk: bool,
    /// Bytes of its EXECVEs that came after its SYSCALL, counted as `bytes` counts.
    pub arguments: usize,
    text: Vec<u8>,
    records: Vec<Record>,
    before: u32,
    after: u32,
}

impl Event {
    pub fn identity(&self) -> Identity<'_> {
        let Event { second, ms, serial, .. } = *self;
        Identity { node: self.node(), second, ms, serial }
    }

    fn node(&self) -> Option<&[u8]> {
        self.has_node.then_some(&self.node[..])
    }

    pub fn records(&self) -> Records<'_> {
        Records { records: &self.records, text: &self.text }
    }

    pub fn push(&mut self, number: i32, line: &Line<'_>, text: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        let end = self.text.len();
        let body: Range<usize> = match &line.unescaped {
            None => start + line.body.start..start + line.body.end,
            Some(unescaped) => {
                self.text.extend_from_slice(unescaped);
                end..self.text.len()
            }
        };
        self.is_printk |= line.is_printk;
        self.records.push(Record { number, line: start..end, body });
    }

    /// Its size in bytes, for the limit on all open events.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(|record| record.line.len() + RECORD_SIZE).sum()
    }

    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.records.iter().map(|record| &self.text[record.line.clone()])
    }

    fn is(&self, node: Option<&[u8]>, stamp: Stamp) -> bool {
        self.is_open
            && self.stamp == stamp
            && self.has_node == node.is_some()
            && is_same(&self.node, node.unwrap_or_default())
    }
}

/// Events by key; a slot is valid until `close`.
pub struct Events {
    slots: Vec<Event>,
    free: Vec<u32>,
    index: HashTable<u32>,
    hasher: RandomState,
    oldest: u32,
    newest: u32,
    /// The last used event: nearly always the next record belongs to it.
    recent: u32,
}

impl Events {
    pub fn new() -> Self {
        Events {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            oldest: NONE,
            newest: NONE,
            recent: NONE,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn at(&mut self, slot: u32) -> &mut Event {
        &mut self.slots[slot as usize]
    }

    pub fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// Slots of all events, oldest first.
    pub fn open_slots(&self) -> impl Iterator<Item = u32> {
        let next = |slot: &u32| {
            let after = self.slots[*slot as usize].after;
            (after != NONE).then_some(after)
        };
        std::iter::successors(self.oldest(), next)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.open_slots().map(|slot| &self.slots[slot as usize])
    }

    fn hash(&self, node: Option<&[u8]>, stamp: Stamp) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        stamp.hash(&mut hasher);
        if let Some(node) = node {
            hasher.write(node);
        }
        hasher.finish()
    }

    #[inline]
    pub fn find(&mut self, node: Option<&[u8]>, stamp: Stamp) -> Option<u32> {
        if let Some(event) = self.slots.get(self.recent as usize) {
            if event.is(node, stamp) {
                return Some(self.recent);
            }
        }
        if self.index.is_empty() {
            return None;
        }
        let hash = self.hash(node, stamp);
        let slots = &self.slots;
        let slot = *self.index.find(hash, |&slot| slots[slot as usize].is(node, stamp))?;
        self.recent = slot;
        Some(slot)
    }

    /// Opens the event of a line; the caller has checked that it is not open.
    #[inline]
    pub fn open(&mut self, line: &Line<'_>) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Event::default());
            (self.slots.len() - 1) as u32
        });
        let hash = self.hash(line.node, line.stamp);
        let event = &mut self.slots[slot as usize];
        event.hash = hash;
        event.is_open = true;
        event.has_node = line.node.is_some();
        event.node.clear();
        event.node.extend_from_slice(line.node.unwrap_or_default());
        event.stamp = line.stamp;
        (event.second, event.ms, event.serial) = (line.second, line.ms, line.serial);
        (event.has_call, event.is_printk) = (false, false);
        event.pid = None;
        event.arguments = 0;
        (event.before, event.after) = (self.newest, NONE);
        match self.newest {
            NONE => self.oldest = slot,
            newest => self.slots[newest as usize].after = slot,
        }
        self.newest = slot;
        self.recent = slot;
        let slots = &self.slots;
        self.index.insert_unique(hash, slot, |&slot| slots[slot as usize].hash);
        slot
    }

    /// Removes an event; its buffers are reused.
    #[inline]
    pub fn close(&mut self, slot: u32) {
        let event = &mut self.slots[slot as usize];
        event.is_open = false;
        event.records.clear();
        event.text.clear();
        let Event { hash, before, after, .. } = *event;
        if event.text.capacity() > KEPT {
            *event = Event::default();
        }
        if let Ok(entry) = self.index.find_entry(hash, |&other| other == slot) {
            entry.remove();
        }
        match before {
            NONE => self.oldest = after,
            before => self.slots[before as usize].after = after,
        }
        match after {
            NONE => self.newest = before,
            after => self.slots[after as usize].before = before,
        }
        self.free.push(slot);
    }
}
