//! Log lines in, rows out. See auditsvc/decode/reference/decoder.py and events.py. The reference's
//! shortcut for complete events is not needed here: reading line by line is fast enough.

use super::batch::Batch;
use super::cache::is_same;
use super::dimensions::{Dimensions, ROW_SIZE};
use super::events::{Event, Events, RECORD_SIZE};
use super::fields::{name_end, parse_fields, to_int};
use super::line::{FOREIGN, Line, parse_line, parse_loss};
use super::rows::{DISPLACED, END_OF_INPUT, EVICTED, Identity, Record, Records, Rows, TIMEOUT};
use super::serials::Serials;
use super::types::{self, TypeTable};

const MAX_LINE: usize = 1 << 20;
const REST: &str = "rest of a line of more than 1 MiB";
const REST_MARK: &[u8] = b"#rest";
const MAX_OPEN_BYTES: usize = 1 << 21;
const MAX_ARGUMENT_BYTES: usize = 14 << 20;
const FEW_ARGUMENTS: usize = 1 << 20;
const MAX_RECORDS: usize = 4096;
const MAX_HOSTS: usize = 256;
/// Bytes that are counted for a raw line in addition to its own.
const RAW_SIZE: usize = 200;

/// The counts of `auditsvc.decode.contract.COUNTS`.
#[derive(Default)]
pub struct Counts {
    pub received: i64,
    pub stored: i64,
    pub end: i64,
    pub raw: i64,
    pub gap: i64,
    pub kernel_lost: i64,
    pub told_lost: i64,
    pub spool_lost: i64,
}

/// A line that is kept raw: its position in the input, the line, and the reason.
pub struct Raw {
    pub position: i64,
    pub line: Vec<u8>,
    pub reason: String,
}

pub struct Decoder {
    pub rows: Rows,
    pub types: TypeTable,
    pub open_records: usize,
    /// Bytes of all open events: their lines, and `RECORD_SIZE` for each line.
    open_bytes: usize,
    /// The open events with more than `FEW_ARGUMENTS`, and how much more.
    long_execs: Vec<(u32, usize)>,
    events: Events,
    serials: Vec<(Vec<u8>, Serials)>,
    counts: Counts,
    raw: Vec<Raw>,
    /// Approximate size of `raw` in bytes.
    raw_held: usize,
    /// The last count of losses in a kernel's log.
    told: i64,
    idle: f64,
    max_open: usize,
    trusts_kernel_log: bool,
    /// The incomplete line, and its position from the beginning of the input.
    rest: Vec<u8>,
    position: i64,
    /// It belongs to a line that was split.
    in_rest: bool,
}

impl Decoder {
    pub fn new(
        dimensions: Dimensions,
        types: TypeTable,
        idle: f64,
        max_open: usize,
        trusts_kernel_log: bool,
    ) -> Self {
        Decoder {
            rows: Rows::new(dimensions),
            types,
            open_records: 0,
            open_bytes: 0,
            long_execs: Vec::new(),
            events: Events::new(),
            serials: Vec::new(),
            counts: Counts::default(),
            raw: Vec::new(),
            raw_held: 0,
            told: 0,
            idle,
            max_open,
            trusts_kernel_log,
            rest: Vec::new(),
            position: 0,
            in_rest: false,
        }
    }

    pub fn feed(&mut self, mut data: &[u8], now: f64) {
        if !self.rest.is_empty() {
            data = self.finish_line(data, now);
        }
        loop {
            let (line, next, is_cut) = match memchr::memchr(b'\n', data) {
                Some(end) if end <= MAX_LINE => (&data[..end], &data[end + 1..], false),
                _ if data.len() > MAX_LINE => (&data[..MAX_LINE], &data[MAX_LINE..], true),
                _ => break,
            };
            self.piece(line, now, is_cut);
            self.position += (data.len() - next.len()) as i64;
            data = next;
        }
        self.rest.extend_from_slice(data);
    }

    /// Reads the end of the incomplete line; gives the data after it.
    fn finish_line<'d>(&mut self, mut data: &'d [u8], now: f64) -> &'d [u8] {
        let mut text = std::mem::take(&mut self.rest);
        loop {
            let room = (MAX_LINE + 1).saturating_sub(text.len()).min(data.len());
            if let Some(end) = memchr::memchr(b'\n', &data[..room]) {
                text.extend_from_slice(&data[..end]);
                self.piece(&text, now, false);
                self.position += text.len() as i64 + 1;
                return &data[end + 1..];
            }
            text.extend_from_slice(&data[..room]);
            data = &data[room..];
            if text.len() <= MAX_LINE {
                self.rest = text;
                return data;
            }
            self.piece(&text[..MAX_LINE], now, true);
            self.position += MAX_LINE as i64;
            text.drain(..MAX_LINE);
        }
    }

    /// Takes a line, its first MiB or what follows of it; `is_cut`: more follows.
    #[inline]
    fn piece(&mut self, text: &[u8], now: f64, is_cut: bool) {
        if self.in_rest {
            self.counts.received += 1;
            self.keep_raw(self.position, text, REST.to_owned());
        } else {
            self.line(text, now);
        }
        self.in_rest = is_cut;
    }

    #[inline]
    fn line(&mut self, mut text: &[u8], now: f64) {
        let mut position = self.position;
        if text.first() == Some(&0) {
            let nuls = text.iter().take_while(|&&byte| byte == 0).count();
            self.counts.received += 1;
            self.keep_raw(position, b"", format!("{nuls} NUL bytes"));
            position += nuls as i64;
            text = &text[nuls..];
        }
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c);
        if text.iter().all(is_space) {
            return;
        }
        self.counts.received += 1;
        if let Err(reason) = self.record(text, now, false) {
            self.keep_raw(position, text, reason.to_owned());
            self.count_told(text);
        }
    }

    /// Reads in a kernel's log how many records it suppressed, or lost in total.
    #[cold]
    fn count_told(&mut self, text: &[u8]) {
        let Some((mut suppressed, lost)) = parse_loss(text) else { return };
        if let Some(lost) = lost {
            suppressed += if lost >= self.told { lost - self.told } else { lost };
            self.told = lost;
        }
        self.counts.told_lost += suppressed;
    }

    #[cold]
    fn keep_raw(&mut self, position: i64, line: &[u8], reason: String) {
        self.counts.raw += 1;
        self.raw_held += line.len() + RAW_SIZE;
        self.raw.push(Raw { position, line: line.to_vec(), reason });
    }

    /// Reads the line of a record; `again`: it was read and counted before a restart.
    #[inline]
    fn record(&mut self, text: &[u8], now: f64, again: bool) -> Result<(), &'static str> {
        let line = parse_line(text)?;
        let mut number = self.types.number(line.type_name);
        if types::is_renumbered(number) {
            number = types::of_body(number, line.body(text));
        }
        if number == types::EOE {
            self.counts.end += 1;
            if let Some(slot) = self.events.find(line.node, line.stamp) {
                self.end(slot, None);
            }
            return Ok(());
        }
        let first = self.add(number, &line, text, now);
        if again {
            return Ok(());
        }
        if first && !types::is_daemon(number) {
            self.see(&line);
        } else if number == types::DAEMON_ERR && line.node.is_none() && !line.is_printk {
            let body = line.body(text);
            if memchr::memmem::find(body, FOREIGN).is_none() {
                self.count_lost(body);
            }
        }
        Ok(())
    }

    /// Adds a record that is not EOE; gives whether it is the first of an event.
    #[inline]
    fn add(&mut self, number: i32, line: &Line<'_>, text: &[u8], now: f64) -> bool {
        let mut slot = self.events.find(line.node, line.stamp);
        if number == types::SYSCALL {
            if let Some(open) = slot.filter(|&open| self.events.at(open).has_call) {
                self.end(open, Some(DISPLACED));
                slot = None;
            }
        }
        if let Some(open) = slot.filter(|&open| self.events.at(open).pid.is_some()) {
            if self.is_another_task(open, number, line.body(text)) {
                self.end(open, Some(DISPLACED));
                slot = None;
            }
        }
        if types::is_user(number) || (slot.is_none() && types::is_single(number)) {
            let body = line.body(text);
            let awaits_context = slot.is_none() && memchr::memmem::find(body, b" subj=?").is_some();
            if !awaits_context {
                let Line { node, second, ms, serial, .. } = *line;
                let records = &[Record { number, line: 0..0, body: 0..body.len() }];
                let identity = Identity { node, second, ms, serial };
                self.counts.stored += 1;
                self.rows.add(identity, Records { records, text: body }, None);
                if line.is_printk {
                    self.claim(identity);
                }
                return true;
            }
        }
        let first = slot.is_none();
        let slot = slot.unwrap_or_else(|| self.events.open(line));
        let event = self.events.at(slot);
        event.has_call |= number == types::SYSCALL;
        if first && types::is_of_task(number) {
            event.pid = pid(number, line.body(text)).map(<[u8]>::to_vec);
        }
        event.push(number, line, text);
        event.last = now;
        let records = event.records().records.len();
        if number == types::EXECVE && event.has_call {
            event.arguments += text.len() + RECORD_SIZE;
            if event.arguments > FEW_ARGUMENTS {
                let more = event.arguments - FEW_ARGUMENTS;
                self.note_long_exec(slot, more);
            }
        }
        self.open_records += 1;
        self.open_bytes += text.len() + RECORD_SIZE;
        if number == types::PROCTITLE && !first {
            self.end(slot, None);
        } else if records >= MAX_RECORDS {
            self.end(slot, Some(EVICTED));
        }
        while self.events.len() > self.max_open || self.is_too_much() {
            let Some(oldest) = self.events.oldest() else { break };
            self.end(oldest, Some(EVICTED));
        }
        first
    }

    #[cold]
    fn note_long_exec(&mut self, slot: u32, more: usize) {
        match self.long_execs.iter_mut().find(|(known, _)| *known == slot) {
            Some(known) => known.1 = more,
            None => self.long_execs.push((slot, more)),
        }
    }

    /// Whether the open events have too many bytes. Adding a line never makes it false, so that
    /// the open events of `pending()` never are too much while they are restored.
    #[inline]
    fn is_too_much(&self) -> bool {
        if self.open_bytes <= MAX_OPEN_BYTES {
            return false;
        }
        let longest = self.long_execs.iter().map(|&(_, more)| more).max().unwrap_or(0);
        let longest = longest.min(MAX_ARGUMENT_BYTES - MAX_OPEN_BYTES);
        self.open_bytes - longest > MAX_OPEN_BYTES
    }

    /// Whether a record says that it is of another task than the event's first one.
    #[cold]
    fn is_another_task(&mut self, open: u32, number: i32, body: &[u8]) -> bool {
        let event = self.events.at(open);
        !event.has_call
            && types::is_of_task(number)
            && event.pid.as_deref().zip(pid(number, body)).is_some_and(|(one, other)| one != other)
    }

    #[inline]
    fn end(&mut self, slot: u32, reason: Option<u8>) {
        let event = self.events.at(slot);
        let records = event.records();
        self.open_records -= records.records.len();
        self.open_bytes -= event.bytes();
        self.counts.stored += records.records.len() as i64;
        self.rows.add(event.identity(), records, reason);
        if event.is_printk && !self.trusts_kernel_log {
            let (_, id) = self.rows.event_id(event.identity());
            self.rows.batch.claimed.push(id);
        }
        if self.events.at(slot).arguments > FEW_ARGUMENTS {
            self.long_execs.retain(|(known, _)| *known != slot);
        }
        self.events.close(slot);
    }

    #[cold]
    fn claim(&mut self, identity: Identity<'_>) {
        if !self.trusts_kernel_log {
            let (_, id) = self.rows.event_id(identity);
            self.rows.batch.claimed.push(id);
        }
    }

    #[inline]
    fn see(&mut self, line: &Line<'_>) {
        let node = line.node.unwrap_or_default();
        let when = line.second * 1000 + i64::from(line.ms);
        match self.serials.iter_mut().find(|(name, _)| is_same(name, node)) {
            Some((_, serials)) => self.counts.gap += serials.see(line.serial, when),
            None => {
                if self.serials.len() >= MAX_HOSTS {
                    self.serials.remove(0);
                }
                self.serials.push((node.to_vec(), Serials::new(line.serial, when)));
            }
        }
    }

    /// Reads the collector's record of loss: DAEMON_ERR op=lost kernel=N spool=N.
    fn count_lost(&mut self, body: &[u8]) {
        let fields = parse_fields(types::DAEMON_ERR, body);
        let last =
            |name: &[u8]| fields.iter().rev().find(|field| field.name == name)?.value.as_deref();
        if last(b"op") == Some(b"lost") {
            // The kernel's counts, and ours, are below 2^32.
            let count = |name| {
                let number = u32::try_from(to_int(last(name))?).ok()?;
                Some(i64::from(number))
            };
            self.counts.kernel_lost += count(b"kernel").unwrap_or(0);
            self.counts.spool_lost += count(b"spool").unwrap_or(0);
        }
    }

    pub fn expire(&mut self, now: f64) {
        let limit = now - self.idle;
        let open_slots: Vec<u32> = self.events.open_slots().collect();
        for slot in open_slots {
            if self.events.at(slot).last <= limit {
                self.end(slot, Some(TIMEOUT));
            }
        }
    }

    pub fn finish(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        if !rest.is_empty() {
            self.piece(&rest, 0.0, false);
        }
        self.in_rest = false;
        self.position += rest.len() as i64;
        while let Some(slot) = self.events.oldest() {
            self.end(slot, Some(END_OF_INPUT));
        }
    }

    /// Approximate size in bytes of the rows that were not taken yet.
    pub fn held(&self) -> usize {
        self.rows.held() + self.raw_held + self.types.unknown.len() * ROW_SIZE
    }

    /// Gives the rows made since the last call, except the dimension rows.
    pub fn take(&mut self) -> (Batch, Vec<Raw>, Counts) {
        self.raw_held = 0;
        (
            std::mem::take(&mut self.rows.batch),
            std::mem::take(&mut self.raw),
            std::mem::take(&mut self.counts),
        )
    }

    pub fn pending(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (node, serials) in &self.serials {
            let Serials { highest, when, .. } = serials;
            let missing = serials.missing();
            out.extend_from_slice(format!("#gap {highest} {when}{missing}").as_bytes());
            if !node.is_empty() {
                out.push(b' ');
                out.extend_from_slice(node);
            }
            out.push(b'\n');
        }
        if self.told > 0 {
            out.extend_from_slice(format!("#lost {}\n", self.told).as_bytes());
        }
        for line in self.events.iter().flat_map(Event::lines) {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        if self.in_rest {
            out.extend_from_slice(REST_MARK);
            out.push(b'\n');
        }
        out.extend_from_slice(&self.rest);
        out
    }

    /// Restores `pending()` of an earlier decoder; an error if the text is not valid.
    pub fn restore(&mut self, pending: &[u8], now: f64) -> Result<(), String> {
        let mut lines: Vec<&[u8]> = pending.split(|&byte| byte == b'\n').collect();
        let rest = lines.pop().unwrap_or_default();
        for line in lines {
            if let Some((node, serials)) = parse_gap(line) {
                self.serials.retain(|(known, _)| *known != node);
                self.serials.push((node, serials));
            } else if let Some(told) = parse_told(line) {
                self.told = told;
            } else if line == REST_MARK {
                self.in_rest = true;
            } else if let Err(reason) = self.record(line, now, true) {
                let line = String::from_utf8_lossy(line);
                return Err(format!("pending lines are records: {reason}: {line:?}"));
            }
        }
        self.rest = rest.to_vec();
        self.position = -(rest.len() as i64);
        Ok(())
    }
}

/// Digits of a record's first ` pid=` behind a name that any user may choose.
fn pid(number: i32, body: &[u8]) -> Option<&[u8]> {
    let mut from = name_end(number, body).unwrap_or(0);
    loop {
        let at = from + memchr::memmem::find(&body[from..], b"pid=")?;
        from = at + 4;
        let rest = &body[from..];
        let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_field = at == 0 || body[at - 1] == b' ';
        let ends = matches!(rest.get(length), None | Some(b' '));
        if is_field && ends && (1..=20).contains(&length) {
            return Some(&rest[..length]);
        }
    }
}

/// `#lost COUNT`
fn parse_told(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(b"#lost ")?;
    let fits = (1..=10).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0')))
}

/// `#gap SERIAL MILLISECONDS[,SPAN[,FROM-TO]...][ NODE]`
fn parse_gap(line: &[u8]) -> Option<(Vec<u8>, Serials)> {
    let mut parts = line.strip_prefix(b"#gap ")?.splitn(3, |&byte| byte == b' ');
    let highest = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let when = std::str::from_utf8(parts.next()?).ok()?;
    let (when, missing) = when.split_once(',').unwrap_or((when, ""));
    let mut serials = Serials::new(highest, when.parse().ok()?);
    if !missing.is_empty() {
        serials.restore(missing)?;
    }
    Some((parts.next().unwrap_or_default().to_vec(), serials))
}
