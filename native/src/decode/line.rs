//! A line -> its parts. See auditsvc/record/line.py.

use std::ops::Range;

use crate::collect::format_line::ESCAPED;

const MAX_SERIAL: u64 = (1 << 32) - 1;
const MAX_SECOND: u64 = 1 << 33;
const MAX_NODE: usize = 255;
const MAX_TYPE: usize = 64;

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

    /// `audit(SECOND.MMM:SERIAL):`, then the end or a space.
    #[inline(always)]
    fn stamp(&mut self) -> Option<Stamp> {
        self.literal(b"audit(")?;
        let start = self.at;
        let second = self.digits(10)?;
        let dot = self.at;
        self.literal(b".")?;
        let ms = self.digits(3)? as u16;
        if self.at != dot + 4 {
            return None;
        }
        self.literal(b":")?;
        let serial = self.digits(10)?;
        let lengths = ((dot - start) as u8, (self.at - dot) as u8);
        self.literal(b"):")?;
        if self.at < self.text.len() {
            self.literal(b" ")?;
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
    let (node, type_name, quoted, stamp, start) = match plain(line) {
        Some(parts) => parts,
        None => printk(line).ok_or("not a record")?,
    };
    if stamp.second >= MAX_SECOND {
        return Err("time out of range");
    }
    if stamp.serial > MAX_SERIAL {
        return Err("serial out of range");
    }
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
    })
}

type Parts<'a> = (Option<&'a [u8]>, &'a [u8], bool, Stamp, usize);

#[inline]
fn plain(line: &[u8]) -> Option<Parts<'_>> {
    let mut scan = Scan { text: line, at: 0 };
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
        scan.run(MAX_TYPE - 1, word);
        if scan.literal(b"[").is_some() {
            scan.run(10, |byte| byte.is_ascii_digit())?;
            scan.literal(b"]")?;
        }
    }
    let type_name = &line[start..scan.at];
    scan.literal(b" msg=")?;
    let quoted = scan.literal(b"'").is_some();
    let stamp = scan.stamp()?;
    Some((node, type_name, quoted, stamp, scan.at))
}

#[cold]
fn printk(line: &[u8]) -> Option<Parts<'_>> {
    let mut scan = Scan { text: line, at: 0 };
    if !line.starts_with(b"[") && !line.starts_with(b"audit:") {
        syslog_time(&mut scan)?;
        scan.literal(b" ")?;
        scan.run(usize::MAX, |byte| byte != b' ')?;
        scan.literal(b" kernel: ")?;
    }
    if scan.literal(b"[").is_some() {
        scan.run(usize::MAX, |byte| byte == b' ');
        scan.run(usize::MAX, |byte| byte.is_ascii_digit())?;
        scan.literal(b".")?;
        scan.run(usize::MAX, |byte| byte.is_ascii_digit())?;
        scan.literal(b"] ")?;
    }
    scan.literal(b"audit: type=")?;
    let type_name = scan.run(10, |byte| byte.is_ascii_digit())?;
    scan.literal(b" ")?;
    let stamp = scan.stamp()?;
    Some((None, type_name, false, stamp, scan.at))
}

/// `Mon DD hh:mm:ss` or a time in the format of ISO 8601.
fn syslog_time(scan: &mut Scan<'_>) -> Option<()> {
    if scan.text.first()?.is_ascii_digit() {
        let year = scan.run(4, |byte| byte.is_ascii_digit())?;
        scan.literal(b"-")?;
        let time = |byte: u8| byte.is_ascii_digit() || b"-T:.+Z".contains(&byte);
        return scan.run(usize::MAX, time).filter(|_| year.len() == 4).map(|_| ());
    }
    let text = scan.text.get(..15)?;
    let clock = |byte: &u8| byte.is_ascii_digit() || *byte == b':';
    let fits = text[0].is_ascii_uppercase()
        && text[1..3].iter().all(u8::is_ascii_lowercase)
        && text[3] == b' '
        && (text[4] == b' ' || text[4].is_ascii_digit())
        && text[5].is_ascii_digit()
        && text[6] == b' '
        && text[7..15].iter().all(clock);
    scan.at = 15;
    fits.then_some(())
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
