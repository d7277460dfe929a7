//! Bytes as text, and texts as JSON.

use std::borrow::Cow;
use std::fmt::Write;

/// Gives bytes as text, with \xHH for NUL and bytes that are not UTF-8; and whether it is exact.
pub fn to_text(data: &[u8]) -> (Cow<'_, str>, bool) {
    if let Ok(text) = std::str::from_utf8(data) {
        if memchr::memchr(0, data).is_none() {
            return (Cow::Borrowed(text), true);
        }
    }
    let mut shown = String::with_capacity(data.len() + 16);
    for chunk in data.utf8_chunks() {
        for (position, part) in chunk.valid().split('\0').enumerate() {
            if position > 0 {
                shown.push_str("\\x00");
            }
            shown.push_str(part);
        }
        for byte in chunk.invalid() {
            write!(shown, "\\x{byte:02X}").expect("a string takes everything");
        }
    }
    (Cow::Owned(shown), false)
}

/// Gives bytes as text that is no longer than they are; and whether it is exact. Each byte that is
/// no text, and each control byte without a short form in JSON, is a `?`.
pub fn to_short_text(data: &[u8]) -> (Cow<'_, str>, bool) {
    let is_long = |byte: u8| matches!(byte, 0..=0x07 | 0x0b | 0x0e..=0x1f);
    if let Ok(text) = std::str::from_utf8(data) {
        if !data.iter().copied().any(is_long) {
            return (Cow::Borrowed(text), true);
        }
    }
    let mut shown = String::with_capacity(data.len());
    for chunk in data.utf8_chunks() {
        let is_long = |letter: char| u8::try_from(letter).is_ok_and(is_long);
        shown.extend(chunk.valid().chars().map(|it| if is_long(it) { '?' } else { it }));
        shown.extend(chunk.invalid().iter().map(|_| '?'));
    }
    (Cow::Owned(shown), false)
}

/// Appends a JSON string, as Python's json.dumps(ensure_ascii=False) writes it.
pub fn push_json(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (position, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..position]);
        out.push_str(escape);
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}").expect("a string takes everything");
        }
        plain = position + 1;
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Writes a JSON list of texts without spaces.
pub fn json_list<'a>(texts: impl Iterator<Item = Cow<'a, str>>) -> String {
    let mut out = String::from("[");
    for (position, text) in texts.enumerate() {
        if position > 0 {
            out.push(',');
        }
        push_json(&mut out, &text);
    }
    out.push(']');
    out
}
