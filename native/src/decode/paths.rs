//! The body of a PATH record as the kernel prints it -> the values of its columns. Any other form
//! is left to `fields`; both ways give the same row.

/// Columns of `file` that a PATH's fields have.
pub const COLUMNS: usize = 9;

/// A PATH's values in the order of `file`, as they are written, and what is behind them.
pub struct PrintedPath<'a> {
    pub values: [Option<&'a [u8]>; COLUMNS],
    pub rest: &'a [u8],
}

/// Reads the body of a PATH without its item as the kernel prints it; None for any other.
pub fn printed_path(body: &[u8]) -> Option<PrintedPath<'_>> {
    // What could make a value end elsewhere than at its quote or a space.
    if memchr::memchr2(b'\'', b'{', body).is_some() {
        return None;
    }
    let mut at = body.strip_prefix(b"name=")?;
    let end = match at.strip_prefix(b"\"") {
        Some(quoted) => memchr::memchr(b'"', quoted)? + 2,
        None => plain_value(at)?,
    };
    let name = &at[..end];
    at = &at[end..];
    let mut next = |label: &[u8]| -> Option<&[u8]> {
        let text = at.strip_prefix(label)?;
        let end = plain_value(text)?;
        at = &text[end..];
        Some(&text[..end])
    };
    let mut values = [None; COLUMNS];
    values[0] = Some(name);
    if let Some(inode) = next(b" inode=") {
        values[2] = Some(inode);
        values[3] = Some(next(b" dev=")?);
        values[4] = Some(next(b" mode=")?);
        values[5] = Some(next(b" ouid=")?);
        values[6] = Some(next(b" ogid=")?);
        values[7] = Some(next(b" rdev=")?);
    }
    values[1] = Some(next(b" nametype=")?);
    Some(PrintedPath { values, rest: at })
}

/// Length of a value that nothing quotes and that holds no `=`; None for any other.
fn plain_value(text: &[u8]) -> Option<usize> {
    let length = memchr::memchr3(b' ', 0x1d, b'=', text).unwrap_or(text.len());
    let is_plain = !matches!(text.get(length), Some(b'=')) && text.first() != Some(&b'"');
    is_plain.then_some(length)
}
