//! EXECVE records -> the arguments. See auditsvc/decode/reference/records.py.

use std::collections::BTreeMap;

use super::fields::{parse_fields, to_int};
use super::types::EXECVE;

/// Joins the EXECVE records of one event; and tells whether all arguments came.
pub fn join_arguments(bodies: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
    let mut pieces: BTreeMap<u32, BTreeMap<u32, Vec<u8>>> = BTreeMap::new();
    let mut lengths: BTreeMap<u32, Option<i128>> = BTreeMap::new();
    let mut argc = None;
    let mut whole = true;
    for body in bodies {
        for field in parse_fields(EXECVE, body) {
            if let Some((number, piece)) = piece(field.name) {
                let argument = pieces.entry(number).or_default();
                whole &= !argument.contains_key(&piece) && field.value.is_some();
                argument.entry(piece).or_insert_with(|| field.value.unwrap_or_default().into());
            } else if let Some(number) = length(field.name) {
                lengths.insert(number, to_int(field.value.as_deref()));
            } else if field.name == b"argc" && argc.is_none() {
                argc = to_int(field.value.as_deref());
            } else {
                whole = false;
            }
        }
    }
    let mut values = Vec::with_capacity(pieces.len());
    for (number, argument) in pieces {
        whole &= number as usize == values.len();
        let last = argument.last_key_value().map_or(0, |(&piece, _)| piece as usize);
        whole &= last == argument.len() - 1;
        let value = argument.into_values().collect::<Vec<_>>().concat();
        if let Some(length) = lengths.get(&number) {
            let size = value.len() as i128;
            whole &= *length == Some(size) || *length == Some(2 * size);
        }
        values.push(value);
    }
    let complete = argc == Some(values.len() as i128);
    (values, whole && complete)
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
