//! A line -> its parts. See auditsvc/record/line.py.

use std::ops::Range;

use crate::collect::format_line::ESCAPED;

/// Begins a field of lines that do not speak for this host; see auditsvc/record/line.py.
pub const FOREIGN: &[u8] = b"\x1dFOREIGN=";

const MAX_SERIAL: u64 = (1 << 32) - 1;
const MAX_SECOND: u64 = 1 << 33;
const MAX_NODE: usize = 255;
const MAX_TYPE: usize = 64;
const MAX_PREFIX: usize = 256;

/// The parts of a record's line.
pub struct Line<'a> {
    pub node: Option<&'a [u8]>,
    pub type_name: &'a [u8],
    pub stamp: Stamp,
    pub second: i64,
    pub ms: u16,
    pub serial: u32,
    /// The range of the body in the line ...
    pub body: Range<usize>,
    /// ... or, if it was escaped, the unescaped body.
    pub unescaped: Option<Vec<u8>>,
    /// As the kernel prints it, or whoever writes so.
    pub is_printk: bool,
}

impl<'a> Line<'a> {
    pub fn body<'s>(&'s self, text: &'s [u8]) -> &'s [u8] {
        self.unescaped.as_deref().unwrap_or(&text[self.body.clone()])
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    #[inline(always)]
    fn literal<const N: usize>(&mut self, literal: &[u8; N]) -> Option<()> {
        if self.text[self.at..].first_chunk::<N>()? != literal {
            return None;
        }
        self.at += N;
        Some(())
    }

    #[inline(always)]
    fn run(&mut self, most: usize, allowed: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        let rest = &self.text[self.at..];
        let length = rest.iter().take(most).take_while(|&&byte| allowed(byte)).count();
        self.at += length;
        (length > 0).then_some(&rest[..length])
    }

    #[inline(always)]
    fn digits(&mut self, most: usize) -> Option<u64> {
        let mut number = 0;
        let mut length = 0;
        for byte in self.text[self.at..].iter().take(most) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number * 10 + u64::from(digit);
            length += 1;
        }
        self.at += length;
        (length > 0).then_some(number)
    }

    /// `audit(SECOND.MMM:SERIAL)`, then a space, or a colon and the end or a space.
    /// `is_printed`: Android's `0.0` is accepted.
    #[inline(always)]
    fn stamp(&mut self, is_printed: bool) -> Option<Stamp> {
        self.literal(b"audit(")?;
        let start = self.at;
        let second = self.digits(10)?;
        let dot = self.at;
        self.literal(b".")?;
        let ms = self.digits(3)? as u16;
        if self.at != dot + 4 && !(is_printed && &self.text[start..self.at] == b"0.0") {
            return None;
        }
        self.literal(b":")?;
        let serial = self.digits(10)?;
        let lengths = ((dot - start) as u8, (self.at - dot) as u8);
        if self.literal(b"): ").is_none() {
            self.literal(b")")?;
            let has_colon = self.literal(b":").is_some();
            if !has_colon || self.at < self.text.len() {
                self.literal(b" ")?;
            }
        }
        Some(Stamp { second, serial, ms, lengths })
    }
}

/// `SECOND.MMM:SERIAL`: two are equal if their text is; the lengths distinguish leading zeros.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Stamp {
    second: u64,
    serial: u64,
    ms: u16,
    lengths: (u8, u8),
}

/// Parses a line (without newline); for a line that is not a record, gives the reason.
#[inline]
pub fn parse_line(line: &[u8]) -> Result<Line<'_>, &'static str> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let plain = plain(line, 0);
    let is_printk = plain.is_none();
    let (node, type_name, quoted, stamp, start) = match plain {
        Some(parts) => parts,
        None => prefixed(line).ok_or("not a record")?,
    };
    if stamp.second >= MAX_SECOND {
        return Err("time out of range");
    }
    if stamp.serial > MAX_SERIAL {
        return Err("serial out of range");
    }
    let blanks = line[start..].iter().take_while(|&&byte| byte == b' ').count();
    let start = start + blanks;
    let mut body = start..line.len();
    let mut unescaped = None;
    if line[start..].ends_with(ESCAPED) {
        let mut text = unescape(&line[start..line.len() - ESCAPED.len()]);
        if quoted && text.last() == Some(&b'\'') {
            text.pop();
        }
        unescaped = Some(text);
    } else if quoted && line[start..].last() == Some(&b'\'') {
        body.end -= 1;
    }
    Ok(Line {
        node,
        type_name,
        stamp,
        second: stamp.second as i64,
        ms: stamp.ms,
        serial: stamp.serial as u32,
        body,
        unescaped,
        is_printk,
    })
}

type Parts<'a> = (Option<&'a [u8]>, &'a [u8], bool, Stamp, usize);

// Both callers have it: the one that matters is slower where it is called.
#[inline(always)]
fn plain(line: &[u8], start: usize) -> Option<Parts<'_>> {
    let mut scan = Scan { text: line, at: start };
    let mut node = None;
    if scan.literal(b"node=").is_some() {
        let rest = &line[scan.at..];
        let most = rest.len().min(MAX_NODE + b" type=".len());
        let length = memchr::memmem::find(&rest[..most], b" type=")?;
        node = Some(&line[scan.at..scan.at + length]);
        scan.at += length + 1;
    }
    scan.literal(b"type=")?;
    let start = scan.at;
    if line.get(start)?.is_ascii_digit() {
        scan.run(10, |byte| byte.is_ascii_digit())?;
    } else {
        scan.run(1, |byte| byte.is_ascii_uppercase())?;
        let word = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        scan.run(usize::MAX, word);
        if scan.at - start > MAX_TYPE {
            return None;
        }
        if scan.literal(b"[").is_some() {
            scan.run(10, |byte| byte.is_ascii_digit())?;
            scan.literal(b"]")?;
        }
    }
    let type_name = &line[start..scan.at];
    scan.literal(b" msg=")?;
    let quoted = scan.literal(b"'").is_some();
    let stamp = scan.stamp(false)?;
    Some((node, type_name, quoted, stamp, scan.at))
}

/// A record after a prefix that another program added.
#[cold]
fn prefixed(line: &[u8]) -> Option<Parts<'_>> {
    let window = &line[..line.len().min(MAX_PREFIX + MAX_NODE + 11)];
    let kind = memchr::memmem::find(window, b"type=")?;
    let start = memchr::memmem::find(&line[..kind], b"node=")
        .filter(|&node| is_prefix(&line[..node]))
        .or_else(|| is_prefix(&line[..kind]).then_some(kind))?;
    plain(line, start).or_else(|| {
        let mut scan = Scan { text: line, at: start };
        if kernel_text(line) != start {
            return None;
        }
        scan.literal(b"type=")?;
        let type_name = scan.run(10, |byte| byte.is_ascii_digit())?;
        scan.literal(b" ")?;
        let stamp = scan.stamp(true)?;
        Some((None, type_name, false, stamp, scan.at))
    })
}

fn is_prefix(text: &[u8]) -> bool {
    let shown = text.strip_suffix(MARK).unwrap_or(text);
    let Some(last) = shown.iter().rposition(|&byte| byte != b' ' && byte != b'\t') else {
        return true;
    };
    let shown = &shown[..=last];
    text.len() <= MAX_PREFIX
        && (b":]>;|".contains(&shown[last]) || shown.ends_with(b" -") || shown.ends_with(b" F"))
}

/// The byte-order mark before the message of a line of RFC 5424.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The beginning of the kernel's own text after its prefix, which includes `audit: `.
fn kernel_text(line: &[u8]) -> usize {
    let text = &line[..line.len().min(MAX_PREFIX)];
    let mut scan = Scan { text, at: 0 };
    scan.run(usize::MAX, |byte| byte == b' ' || byte == b'\t');
    for part in [priority, host, facility, clock, audit] {
        let before = scan.at;
        if part(&mut scan).is_none() {
            scan.at = before;
        }
    }
    scan.at
}

fn digits(scan: &mut Scan<'_>, most: usize) -> Option<()> {
    scan.run(most, |byte| byte.is_ascii_digit()).map(|_| ())
}

/// `<5>`, also behind the length that RFC 6587 counts, or `5,339,5140900,-;` of /dev/kmsg.
fn priority(scan: &mut Scan<'_>) -> Option<()> {
    let start = scan.at;
    if digits(scan, 5).and_then(|()| scan.literal(b" <")).is_none() {
        scan.at = start;
    }
    if scan.at > start || scan.literal(b"<").is_some() {
        digits(scan, 3)?;
        return scan.literal(b">");
    }
    for _ in 0..3 {
        digits(scan, usize::MAX)?;
        scan.literal(b",")?;
    }
    scan.run(usize::MAX, |byte| byte != b';' && byte != b' ');
    scan.literal(b";")
}

/// `TIME HOST kernel: `, or Android's `TIME ... klogd   : `, or the header of RFC 5424.
fn host(scan: &mut Scan<'_>) -> Option<()> {
    let start = scan.at;
    named(scan).or_else(|| {
        scan.at = start;
        header(scan)
    })
}

fn named(scan: &mut Scan<'_>) -> Option<()> {
    let rest = &scan.text[scan.at..];
    if rest.starts_with(b"1 ") && rest.get(2).is_some_and(|&b| b == b'-' || b.is_ascii_digit()) {
        return None;
    }
    let end = memchr::memmem::find(rest, b": ")?;
    let name = &rest[..rest[..end].iter().rposition(|&byte| byte != b' ')? + 1];
    let name = without_pid(name);
    let before = name.strip_suffix(b"kernel").or(name.strip_suffix(b"klogd"))?;
    scan.at += end + 2;
    matches!(before.last(), None | Some(b' ')).then_some(())
}

/// Removes `[PID]` from the end.
fn without_pid(name: &[u8]) -> &[u8] {
    let pid = || -> Option<usize> {
        let inner = name.strip_suffix(b"]")?;
        let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let rest = &inner[..inner.len() - digits];
        ((1..=10).contains(&digits) && rest.last() == Some(&b'[')).then(|| rest.len() - 1)
    };
    pid().map_or(name, |length| &name[..length])
}

/// `1 TIME HOST kernel PID ID DATA `, and perhaps a byte-order mark.
fn header(scan: &mut Scan<'_>) -> Option<()> {
    let word = |scan: &mut Scan<'_>| -> Option<()> {
        scan.run(usize::MAX, |byte| byte != b' ')?;
        scan.literal(b" ")
    };
    scan.literal(b"1 ")?;
    word(scan)?;
    word(scan)?;
    scan.literal(b"kernel ")?;
    word(scan)?;
    word(scan)?;
    if scan.literal(b"-").is_none() {
        data(scan)?;
        while data(scan).is_some() {}
    }
    scan.literal(b" ")?;
    scan.literal(b"\xef\xbb\xbf");
    Some(())
}

/// `[ID NAME="VALUE"]`; it may be empty.
fn data(scan: &mut Scan<'_>) -> Option<()> {
    scan.literal(b"[")?;
    scan.run(usize::MAX, |byte| byte != b']');
    scan.literal(b"]")
}

/// `kern  :notice: ` of dmesg -x.
fn facility(scan: &mut Scan<'_>) -> Option<()> {
    scan.run(usize::MAX, |byte| byte.is_ascii_lowercase())?;
    scan.run(usize::MAX, |byte| byte == b' ');
    scan.literal(b":")?;
    scan.run(usize::MAX, |byte| byte.is_ascii_lowercase())?;
    scan.run(usize::MAX, |byte| byte == b' ');
    scan.literal(b": ")
}

fn bracket(scan: &mut Scan<'_>, most: usize) -> Option<()> {
    scan.literal(b"[")?;
    scan.run(most, |byte| byte != b']')?;
    scan.literal(b"]")
}

/// `[   11.5] `, or with the CPU or task: `[   11.5][    T1] `.
fn clock(scan: &mut Scan<'_>) -> Option<()> {
    bracket(scan, 64)?;
    if scan.text.get(scan.at) == Some(&b'[') {
        bracket(scan, 16)?;
    }
    scan.literal(b" ")
}

fn audit(scan: &mut Scan<'_>) -> Option<()> {
    scan.literal(b"audit: ")
}

/// The number of suppressed records, and of all lost ones, in the kernel's log.
#[cold]
pub fn parse_loss(line: &[u8]) -> Option<(i64, Option<i64>)> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut scan = Scan { text: line, at: kernel_text(line) };
    if scan.literal(b"kauditd_printk_skb: ").is_some() {
        let count = scan.digits(9)?;
        scan.literal(b" callbacks suppressed")?;
        return (scan.at == line.len()).then_some((count as i64, None));
    }
    scan.literal(b"audit_lost=")?;
    let lost = scan.digits(10)?;
    scan.literal(b" ")?;
    Some((0, Some(lost as i64)))
}

fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some(position) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..position]);
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'A'..=b'F' => Some(byte - b'A' + 10),
            _ => None,
        };
        let escaped = match text[position..] {
            [_, b'x', high, low, ..] => digit(high).zip(digit(low)),
            _ => None,
        };
        let length = match escaped {
            Some((high, low)) => {
                out.push(high << 4 | low);
                4
            }
            None => {
                out.push(b'\\');
                1
            }
        };
        text = &text[position + length..];
    }
    out.extend_from_slice(text);
    out
}
