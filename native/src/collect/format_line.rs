//! Formats a record as a line of the log, as `auditsvc.record.line.format_line` does.

/// Ends a line whose body is escaped.
pub const ESCAPED: &[u8] = b"\x1dESCAPED=1";

/// Whether a text has a newline or another control byte: without escaping it could forge a line.
pub fn has_control(text: &[u8]) -> bool {
    // Without branches, so that the compiler can compare many bytes at once.
    text.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == 0x7f))
}

/// Appends a record's payload, given in one or two parts, escaped if needed, and a newline.
pub fn append(lines: &mut Vec<u8>, prefix: &[u8], head: &[u8], tail: &[u8]) {
    lines.extend_from_slice(prefix);
    let start = lines.len();
    lines.extend_from_slice(head);
    lines.extend_from_slice(tail);
    let text = &lines[start..];
    // NULs and newlines at the end are the sender's terminator.
    let kept = text.iter().rposition(|byte| !matches!(byte, 0 | b'\n')).map_or(0, |last| last + 1);
    lines.truncate(start + kept);
    if has_control(&lines[start..]) {
        let text = lines.split_off(start);
        escape(lines, &text);
        lines.extend_from_slice(ESCAPED);
    }
    lines.push(b'\n');
}

fn escape(lines: &mut Vec<u8>, text: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte < 0x20 || byte == 0x7f || byte == b'\\' {
            let digits = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
            lines.extend_from_slice(&[b'\\', b'x', digits[0], digits[1]]);
        } else {
            lines.push(byte);
        }
    }
}
