//! Events -> rows of the star schema. See auditsvc/decode/reference/rows.py.

use super::batch::{Batch, EventRow, SyscallRow};
use std::collections::HashMap;

use super::calls::{Call, parse_call};
use super::dimensions::{Dimensions, LONG_LIST, id_column};
use super::fields::{first, parse_fields, to_int};
use super::ids::{SERIAL_BITS, SERIAL_MASK};
use super::tokens::without_relayed;
use super::types;

pub const COMPLETE: u8 = 0;
pub const NO_EXIT: u8 = 1;
pub const TIMEOUT: u8 = 2;
pub const EVICTED: u8 = 3;
pub const END_OF_INPUT: u8 = 4;
pub const DISPLACED: u8 = 5;
pub const TRUNCATED: u8 = 6;
pub const ORPHAN: u8 = 7;

/// Bytes that are counted for an event, and for each of its further rows.
const EVENT_SIZE: usize = 200;
const CHILD_SIZE: usize = 100;
/// Up to so many are searched linearly; more are looked up in a map.
const FEW: usize = 16;

/// __AUDIT_ARCH_LE of linux/audit.h.
const LITTLE_ENDIAN: u32 = 0x4000_0000;

/// The values that all records of an event share.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub node: Option<&'a [u8]>,
    pub second: i64,
    pub ms: u16,
    pub serial: u32,
}

/// A record of an event: its type, and the ranges of its line and body in the event's text.
#[derive(Clone)]
pub struct Record {
    pub number: i32,
    pub line: std::ops::Range<usize>,
    pub body: std::ops::Range<usize>,
}

/// The records of an event, in order.
#[derive(Clone, Copy)]
pub struct Records<'a> {
    pub records: &'a [Record],
    pub text: &'a [u8],
}

impl<'a> Records<'a> {
    fn body(&self, position: usize) -> &'a [u8] {
        &self.text[self.records[position].body.clone()]
    }

    fn paths(&self) -> i128 {
        self.records.iter().filter(|record| record.number == types::PATH).count() as i128
    }
}

pub struct Rows {
    pub dimensions: Dimensions,
    pub batch: Batch,
    /// Indexes of the records of one event that are not part of its main row.
    further: Vec<usize>,
    /// Whether its EXECVE records are long together.
    is_long_exec: bool,
    seen: Seen,
}

/// Counts the records of each type in an event.
#[derive(Default)]
struct Seen {
    first: Vec<(i32, i64)>,
    more: HashMap<i32, i64, foldhash::fast::RandomState>,
}

impl Seen {
    #[inline]
    fn clear(&mut self) {
        if self.first.is_empty() {
            return;
        }
        self.first.clear();
        if !self.more.is_empty() {
            self.more = HashMap::default();
        }
    }

    /// Counts one; gives the number before.
    #[inline(never)]
    fn count(&mut self, number: i32) -> i64 {
        let next = match self.first.iter().position(|(known, _)| *known == number) {
            Some(place) => &mut self.first[place].1,
            None if self.first.len() < FEW => {
                self.first.push((number, 1));
                return 0;
            }
            None => self.more.entry(number).or_insert(0),
        };
        *next += 1;
        *next - 1
    }
}

impl Rows {
    pub fn new(dimensions: Dimensions) -> Self {
        Rows {
            dimensions,
            batch: Batch::default(),
            further: Vec::new(),
            is_long_exec: false,
            seen: Seen::default(),
        }
    }

    /// Approximate size in bytes of the rows that were not taken yet.
    pub fn held(&self) -> usize {
        let Batch { syscalls, execs, paths, sockaddrs, events, records, .. } = &self.batch;
        let children = execs.len() + paths.len() + sockaddrs.len() + records.len();
        let events = syscalls.len() + events.len();
        events * EVENT_SIZE + children * CHILD_SIZE + self.dimensions.held
    }

    /// Makes the rows of an event; `reason` is None if it ended properly.
    #[inline]
    pub fn add(&mut self, identity: Identity<'_>, event: Records<'_>, reason: Option<u8>) {
        let main = event.records.iter().position(|record| record.number == types::SYSCALL);
        if let Some(main) = main {
            if let Some(call) = parse_call(event.body(main)) {
                return self.syscall(identity, &call, event, main, reason);
            }
        }
        self.event(identity, event, reason);
    }

    pub fn event_id(&mut self, identity: Identity<'_>) -> (i64, i64) {
        let host = self.dimensions.host(identity.node);
        let low = (i64::from(identity.serial) + host) & SERIAL_MASK;
        (host, identity.second << SERIAL_BITS | low)
    }

    #[inline]
    fn syscall(
        &mut self,
        identity: Identity<'_>,
        call: &Call<'_>,
        event: Records<'_>,
        main: usize,
        mut reason: Option<u8>,
    ) {
        if !matches!(reason, None | Some(DISPLACED)) && event.paths() >= i128::from(call.items) {
            reason = None;
        }
        let (host, id) = self.event_id(identity);
        let ended = call.success.is_some() && call.exit.is_some();
        let mut state = reason.unwrap_or(if ended { COMPLETE } else { NO_EXIT });
        let (mut cwd, mut title) = (None, None);
        self.further.clear();
        let mut is_exec = false;
        for (position, record) in event.records.iter().enumerate() {
            if position == main {
                continue;
            }
            let body = event.body(position);
            match record.number {
                types::PROCTITLE if title.is_none() && is_sole(body, b"proctitle=") => {
                    title = Some(body);
                }
                types::CWD if cwd.is_none() && is_sole(body, b"cwd=") => cwd = Some(body),
                types::EXECVE => is_exec = true,
                _ => self.further.push(position),
            }
        }
        if is_exec && !self.exec(id, event) && state <= NO_EXIT {
            state = TRUNCATED;
        }
        if !self.further.is_empty() {
            self.children(id, event, call.arch & LITTLE_ENDIAN != 0);
        }
        let context = self.dimensions.context(host, call.arch, &call.rest, cwd, title);
        self.batch.syscalls.push(SyscallRow {
            id,
            ms: identity.ms,
            serial: identity.serial,
            nr: call.nr,
            arguments: call.arguments,
            success: call.success,
            exit: call.exit,
            state,
            items: call.items,
            context,
            weight: event.records.len(),
        });
    }

    /// Makes the row of the arguments; gives whether all are present.
    fn exec(&mut self, id: i64, event: Records<'_>) -> bool {
        let is_exec = |position: &usize| event.records[*position].number == types::EXECVE;
        let positions: Vec<usize> = (0..event.records.len()).filter(is_exec).collect();
        let bodies: Vec<&[u8]> = positions.iter().map(|&position| event.body(position)).collect();
        let (argv, all_present) = self.dimensions.argv(&bodies);
        self.batch.execs.push((id, argv));
        self.is_long_exec = bodies.iter().map(|body| body.len()).sum::<usize>() > LONG_LIST;
        if !all_present {
            self.further.extend(positions);
        }
        all_present
    }

    #[cold]
    fn event(&mut self, identity: Identity<'_>, event: Records<'_>, reason: Option<u8>) {
        let (host, id) = self.event_id(identity);
        let is_call = |record: &Record| matches!(record.number, types::SYSCALL | types::URINGOP);
        let call = event.records.iter().position(is_call);
        let main = call.unwrap_or(0);
        let number = event.records[main].number;
        let body = event.body(main);
        let fields = parse_fields(number, body);
        let state = if call.is_none() {
            if is_orphan(event, reason) { ORPHAN } else { COMPLETE }
        } else {
            let items = to_int(first(&fields, b"items"));
            let has_all_paths = items.is_some_and(|items| event.paths() >= items);
            match reason {
                Some(reason) if reason == DISPLACED || !has_all_paths => reason,
                _ => {
                    let has = |name: &[u8]| fields.iter().any(|field| field.name == name);
                    if has(b"success") && has(b"exit") { COMPLETE } else { NO_EXIT }
                }
            }
        };
        let who =
            [&b"pid"[..], b"uid", b"auid", b"ses"].map(|name| id_column(first(&fields, name)));
        let fields = self.dimensions.fields(number, body);
        let weight = event.records.len();
        let Identity { ms, serial, .. } = identity;
        self.batch.events.push(EventRow {
            id,
            host,
            ms,
            serial,
            number,
            who,
            state,
            fields,
            weight,
        });
        self.is_long_exec = false;
        self.further.clear();
        self.further.extend((0..event.records.len()).filter(|&position| position != main));
        self.children(id, event, true);
    }

    /// Makes rows of `path`, `sockaddr` and `record` from the other records.
    #[inline(never)]
    fn children(&mut self, id: i64, event: Records<'_>, little: bool) {
        let (mut paths, mut addresses) = (0, 0);
        self.seen.clear();
        for &position in &self.further {
            let number = event.records[position].number;
            let body = event.body(position);
            if number == types::PATH {
                let (item, rest) = split_item(body);
                self.batch.paths.push((id, paths, item, self.dimensions.file(rest)));
                paths += 1;
                continue;
            }
            if number == types::SOCKADDR {
                if let Some((saddr, is_all)) = split_saddr(body) {
                    let address = self.dimensions.address(saddr, little);
                    self.batch.sockaddrs.push((id, addresses, address));
                    addresses += 1;
                    if is_all {
                        continue;
                    }
                }
            }
            let seq = self.seen.count(number);
            let fields = if number == types::EXECVE && self.is_long_exec {
                self.dimensions.long_arguments(body)
            } else {
                self.dimensions.fields(number, body)
            };
            self.batch.records.push((id, number, seq, fields));
        }
    }
}

fn is_sole(body: &[u8], start: &[u8]) -> bool {
    body.starts_with(start) && memchr::memchr2(b' ', 0x1d, body).is_none()
}

fn is_orphan(event: Records<'_>, reason: Option<u8>) -> bool {
    let first = event.records[0].number;
    if reason.is_none() && !types::is_user(first) && !types::is_single(first) {
        return true;
    }
    types::is_contexts(first)
        || event.records.iter().any(|record| types::is_dependent(record.number))
}

/// `item=N REST`; if the body does not begin so, all of it is the rest.
fn split_item(body: &[u8]) -> (Option<i64>, &[u8]) {
    let split = || -> Option<(i64, &[u8])> {
        let text = body.strip_prefix(b"item=")?;
        let digits = text.iter().take(9).take_while(|byte| byte.is_ascii_digit());
        let item = digits.clone().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
        let length = digits.count();
        let rest = text[length..].strip_prefix(b" ")?;
        (length > 0).then_some((item, rest))
    };
    split().map_or((None, body), |(item, rest)| (Some(item), rest))
}

/// `saddr=HEX`, perhaps with auditd's interpretation; also gives whether the body has nothing else.
fn split_saddr(body: &[u8]) -> Option<(&[u8], bool)> {
    let text = body.strip_prefix(b"saddr=")?;
    let length = memchr::memchr2(b' ', 0x1d, text).unwrap_or(text.len());
    let rest = &text[length..];
    // The hex of the address has no S.
    let glued = memchr::memchr(b'S', &text[..length]);
    if let Some(glued) = glued.filter(|&at| text[at..].starts_with(b"SADDR={")) {
        let saddr = &text[..glued];
        return Some((without_relayed(saddr), memchr::memchr(0x1d, body).is_none()));
    }
    let is_all = rest.is_empty()
        || rest
            .strip_prefix(b"\x1dSADDR=")
            .is_some_and(|enriched| memchr::memchr(0x1d, enriched).is_none());
    Some((&text[..length], is_all))
}
