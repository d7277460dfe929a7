//! Ids of dimension rows. See auditsvc/decode/ids.py.

use std::borrow::Cow;

use blake2b_simd::Params;

pub const SERIAL_BITS: u32 = 30;
pub const SERIAL_MASK: i64 = (1 << SERIAL_BITS) - 1;
const DIMENSION_MASK: u64 = (1 << 47) - 1;

/// A value of a dimension row.
#[derive(Clone)]
pub enum Value {
    Null,
    Int(i64),
    Text(Text),
    Bytes(Box<[u8]>),
}

/// A text; a short one needs no memory of its own. (A file has four of them.)
#[derive(Clone)]
pub enum Text {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Box<str>),
}

const SHORT: usize = 14;

impl Text {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Text::Short { length, bytes } => &bytes[..usize::from(*length)],
            Text::Long(text) => text.as_bytes(),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Text::Short { .. } => std::str::from_utf8(self.as_bytes()).expect("made of a text"),
            Text::Long(text) => text,
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Text::from(Cow::Borrowed(text))
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        if text.len() > SHORT {
            return Text::Long(text.into_owned().into());
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Text::Short { length: text.len() as u8, bytes }
    }
}

impl Value {
    fn part(&self) -> Part<'_> {
        match self {
            Value::Null => Part::Null,
            Value::Int(number) => Part::Int(*number),
            Value::Text(text) => Part::Bytes(text.as_bytes()),
            Value::Bytes(data) => Part::Bytes(data),
        }
    }

    /// Bytes of a text.
    pub fn size(&self) -> usize {
        self.part().size()
    }
}

/// A value as it is written for its row's id: texts and bytes are alike.
#[derive(Clone, Copy)]
pub enum Part<'a> {
    Null,
    Int(i64),
    Bytes(&'a [u8]),
}

impl Part<'_> {
    fn size(self) -> usize {
        if let Part::Bytes(data) = self { data.len() } else { 0 }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(text: Cow<'_, str>) -> Self {
        Value::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Value::Null, Value::Int)
    }
}

/// Contents longer than this are known by a digest, so that no copy of them is kept.
pub const LONG: usize = 1 << 16;
/// Bytes of such a digest: nobody finds two contents with the same one.
pub const DIGEST: usize = 32;

/// Digests slices, each with its length.
pub fn digest(parts: &[&[u8]]) -> [u8; DIGEST] {
    let mut state = Params::new().hash_length(DIGEST).to_state();
    for part in parts {
        state.update(&part.len().to_le_bytes()).update(part);
    }
    state.finalize().as_bytes().try_into().expect("as many bytes as were asked for")
}

/// The parts of a row's values.
pub fn parts(content: &[Value]) -> impl Iterator<Item = Part<'_>> + Clone {
    content.iter().map(Value::part)
}

/// Writes what identifies a row: its table's name and its content, or their digest if they are
/// long.
pub fn write_key<'a>(
    out: &mut Vec<u8>,
    table: &str,
    content: impl Iterator<Item = Part<'a>> + Clone,
) {
    out.clear();
    if content.clone().map(Part::size).sum::<usize>() <= LONG {
        return canonical(table, content, |part| out.extend_from_slice(part));
    }
    let mut state = Params::new().hash_length(DIGEST).to_state();
    canonical(table, content, |part| {
        state.update(part);
    });
    // No canonical text begins like this, as no table has an empty name.
    out.push(b'#');
    out.extend_from_slice(state.finalize().as_bytes());
}

/// Writes a table's name and a row's content; different contents always give different bytes.
#[inline]
fn canonical<'a>(
    table: &str,
    content: impl Iterator<Item = Part<'a>>,
    mut write: impl FnMut(&[u8]),
) {
    write(table.as_bytes());
    write(b"#0;");
    for part in content {
        match part {
            Part::Null => write(b"N;"),
            Part::Int(number) => {
                write(b"I");
                write_number(&mut write, number);
                write(b";");
            }
            Part::Bytes(data) => {
                write(b"S");
                write_number(&mut write, data.len() as i64);
                write(b":");
                write(data);
                write(b";");
            }
        }
    }
}

#[inline]
fn write_number(write: &mut impl FnMut(&[u8]), number: i64) {
    if number < 0 {
        write(b"-");
    }
    let mut digits = [0; 20];
    let mut begin = digits.len();
    let mut left = number.unsigned_abs();
    while left > 0 || begin == digits.len() {
        begin -= 1;
        digits[begin] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    write(&digits[begin..]);
}

/// Id of the row with this content; `key` is what `write_key` writes for it.
pub fn dimension_id(secret: &[u8], table: &str, content: &[Value], key: &[u8]) -> i64 {
    let mut params = Params::new();
    params.hash_length(8).key(secret);
    let hash = if key.starts_with(b"#") {
        let mut state = params.to_state();
        canonical(table, parts(content), |part| {
            state.update(part);
        });
        state.finalize()
    } else {
        params.hash(key)
    };
    let bits: [u8; 8] = hash.as_bytes().try_into().expect("eight bytes");
    ((u64::from_le_bytes(bits) & DIMENSION_MASK) as i64).max(1)
}
