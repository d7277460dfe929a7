//! A SYSCALL record -> the facts of its call, and its other fields. See
//! auditsvc/decode/reference/calls.py.

use std::borrow::Cow;

use super::fields::{Field, parse_fields, signed, to_int};
use super::types::SYSCALL;

pub struct Call<'a> {
    pub arch: u32,
    pub nr: i32,
    pub success: Option<bool>,
    pub exit: Option<i64>,
    pub arguments: [i64; 4],
    pub items: i32,
    pub rest: Rest<'a>,
}

/// The other fields of a SYSCALL: as raw text, or parsed if their order is unusual.
pub enum Rest<'a> {
    Text(Cow<'a, [u8]>),
    Fields(Vec<Field<'a>>),
}

/// Reads a SYSCALL record; None if a field that a row needs is missing.
pub fn parse_call(body: &[u8]) -> Option<Call<'_>> {
    as_printed(body).or_else(|| field_by_field(body))
}

const NO_DIGIT: u8 = 0xff;

/// Values of lower-case hex digits.
const HEX_DIGITS: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn literal<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        let (start, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        (start == text).then_some(())
    }

    #[inline(always)]
    fn hex(&mut self, most: usize) -> Option<u64> {
        let mut number = 0;
        let mut length = 0;
        for byte in self.0.iter().take(most) {
            let digit = HEX_DIGITS[usize::from(*byte)];
            if digit == NO_DIGIT {
                break;
            }
            number = number << 4 | u64::from(digit);
            length += 1;
        }
        self.0 = &self.0[length..];
        (length > 0).then_some(number)
    }

    #[inline(always)]
    fn decimal(&mut self, most: usize) -> Option<u64> {
        let mut number = 0;
        let mut length = 0;
        for byte in self.0.iter().take(most) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number * 10 + u64::from(digit);
            length += 1;
        }
        self.0 = &self.0[length..];
        (length > 0).then_some(number)
    }

    #[inline(always)]
    fn signed_decimal(&mut self, most: usize) -> Option<i64> {
        let negative = self.0.first() == Some(&b'-');
        self.0 = &self.0[usize::from(negative)..];
        let size = self.decimal(most)?;
        if negative { 0i64.checked_sub_unsigned(size) } else { i64::try_from(size).ok() }
    }
}

fn as_printed(body: &[u8]) -> Option<Call<'_>> {
    let mut at = Cursor(body);
    at.literal(b"arch=")?;
    let arch = at.hex(8)? as u32;
    at.literal(b" syscall=")?;
    let nr = i32::try_from(at.signed_decimal(10)?).ok()?;
    let mut per: &[u8] = b"";
    let before = at.0;
    if before.starts_with(b" per=") {
        at.literal(b" per=")?;
        at.hex(16)?;
        per = &before[..before.len() - at.0.len()];
    }
    let mut success = None;
    let mut exit = None;
    if at.0.starts_with(b" s") {
        at.literal(b" success=")?;
        success = Some(at.0.first() == Some(&b'y'));
        if success == Some(true) {
            at.literal(b"yes exit=")?;
        } else {
            at.literal(b"no exit=")?;
        }
        exit = Some(at.signed_decimal(19)?);
    }
    at.literal(b" a0=")?;
    let a0 = at.hex(16)? as i64;
    at.literal(b" a1=")?;
    let a1 = at.hex(16)? as i64;
    at.literal(b" a2=")?;
    let a2 = at.hex(16)? as i64;
    at.literal(b" a3=")?;
    let a3 = at.hex(16)? as i64;
    at.literal(b" items=")?;
    let items = at.decimal(9)? as i32;
    if !at.0.starts_with(b" ppid=") {
        return None;
    }
    let rest = if per.is_empty() { Cow::Borrowed(at.0) } else { Cow::Owned([per, at.0].concat()) };
    let arguments = [a0, a1, a2, a3];
    Some(Call { arch, nr, success, exit, arguments, items, rest: Rest::Text(rest) })
}

fn field_by_field(body: &[u8]) -> Option<Call<'_>> {
    const FACTS: [&[u8]; 9] =
        [b"arch", b"syscall", b"a0", b"a1", b"a2", b"a3", b"items", b"success", b"exit"];
    let mut found: [Option<Cow<'_, [u8]>>; 9] = Default::default();
    let mut rest = Vec::new();
    for field in parse_fields(SYSCALL, body) {
        match FACTS.iter().position(|name| *name == field.name) {
            Some(fact) if found[fact].is_none() && field.value.is_some() => {
                found[fact] = field.value;
            }
            _ => rest.push(field),
        }
    }
    let [arch, nr, a0, a1, a2, a3, items, success, exit] = found;
    let nr = i32::try_from(to_int(nr.as_deref())?).ok()?;
    let items = i32::try_from(to_int(items.as_deref())?).ok().filter(|items| *items >= 0)?;
    let arch = u32::try_from(hex(arch.as_deref())?).ok()?;
    let [a0, a1, a2, a3] = [a0, a1, a2, a3].map(|value| hex(value.as_deref()));
    let arguments = [a0? as i64, a1? as i64, a2? as i64, a3? as i64];
    let outcome = match success.as_deref() {
        Some(b"yes") => Some(true),
        Some(b"no") => Some(false),
        _ => None,
    };
    let result = to_int(exit.as_deref());
    if success.is_some() && outcome.is_none() {
        rest.push(Field { name: b"success", value: success });
    }
    if exit.is_some() && result.is_none() {
        rest.push(Field { name: b"exit", value: exit });
    }
    let exit = result.map(signed);
    Some(Call { arch, nr, success: outcome, exit, arguments, items, rest: Rest::Fields(rest) })
}

fn hex(value: Option<&[u8]>) -> Option<u64> {
    let mut at = Cursor(value?);
    at.hex(16).filter(|_| at.0.is_empty())
}
