//! EXECVE records -> the arguments. See auditsvc/decode/reference/records.py.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::fields::{parse_fields, to_int};
use super::types::EXECVE;

/// The most arguments of an execve: 6 MiB, with a pointer and a NUL for each (exec.c).
const MOST_PIECES: usize = 700_000;

/// Number of the argument, number of the piece in it, and the bytes.
type Piece<'a> = ((u32, u32), Cow<'a, [u8]>);

/// Joins the EXECVE records of one event; also gives whether all arguments are present.
pub fn join_arguments(bodies: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut lengths: BTreeMap<u32, Option<i128>> = BTreeMap::new();
    let mut argc = None;
    let mut all_present = true;
    for body in bodies {
        for field in parse_fields(EXECVE, body) {
            if let Some(index) = piece(field.name) {
                if pieces.len() < MOST_PIECES {
                    all_present &= field.value.is_some();
                    pieces.push((index, field.value.unwrap_or_default()));
                } else {
                    all_present = false;
                }
            } else if let Some(number) = length(field.name) {
                lengths.insert(number, to_int(field.value.as_deref()));
            } else if field.name == b"argc" && argc.is_none() {
                argc = to_int(field.value.as_deref());
            } else {
                all_present = false;
            }
        }
    }
    // Stable: of two pieces with the same numbers the first one counts.
    if !pieces.is_sorted_by_key(|(index, _)| *index) {
        pieces.sort_by_key(|(index, _)| *index);
    }
    let mut values = Vec::new();
    for argument in pieces.chunk_by(|one, other| one.0.0 == other.0.0) {
        let number = argument[0].0.0;
        all_present &= number as usize == values.len();
        let mut value = Vec::new();
        let mut next = 0;
        for ((_, piece), text) in argument {
            if next > 0 && *piece == next - 1 {
                all_present = false;
                continue;
            }
            all_present &= *piece == next;
            value.extend_from_slice(text);
            next = piece + 1;
        }
        if let Some(length) = lengths.get(&number) {
            let size = value.len() as i128;
            all_present &= *length == Some(size) || *length == Some(2 * size);
        }
        value.shrink_to_fit();
        values.push(value);
    }
    let complete = argc == Some(values.len() as i128);
    (values, all_present && complete)
}

fn number(digits: &[u8]) -> Option<u32> {
    let fits = !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// `aN` (piece 0) or `aN[M]`.
fn piece(name: &[u8]) -> Option<(u32, u32)> {
    let rest = name.strip_prefix(b"a")?;
    match memchr::memchr(b'[', rest) {
        None => Some((number(rest)?, 0)),
        Some(open) => Some((number(&rest[..open])?, number(rest[open + 1..].strip_suffix(b"]")?)?)),
    }
}

/// `aN_len`.
fn length(name: &[u8]) -> Option<u32> {
    number(name.strip_prefix(b"a")?.strip_suffix(b"_len")?)
}
