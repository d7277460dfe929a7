//! Ids of dimension rows. See auditsvc/decode/ids.py.

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
        if text.len() > SHORT {
            return Text::Long(text.into());
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Text::Short { length: text.len() as u8, bytes }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() > SHORT { Text::Long(text.into()) } else { text.as_str().into() }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.into())
    }
}

impl Value {
    /// Bytes of a text.
    pub fn size(&self) -> usize {
        match self {
            Value::Null | Value::Int(_) => 0,
            Value::Text(text) => text.as_bytes().len(),
            Value::Bytes(data) => data.len(),
        }
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

/// Begins the canonical bytes of a row: its table's name, then each value. Different rows always
/// have different bytes.
pub fn begin(out: &mut Vec<u8>, table: &str) {
    out.clear();
    out.extend_from_slice(table.as_bytes());
    out.extend_from_slice(b"#0;");
}

pub fn push_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"N;"),
        Value::Int(number) => {
            out.push(b'I');
            push_number(out, *number);
            out.push(b';');
        }
        Value::Text(text) => push_string(out, text.as_bytes()),
        Value::Bytes(data) => push_string(out, data),
    }
}

/// The value of a text or of bytes.
pub fn push_string(out: &mut Vec<u8>, data: &[u8]) {
    push_length(out, data);
    out.extend_from_slice(data);
    out.push(b';');
}

fn push_number(out: &mut Vec<u8>, number: i64) {
    if number < 0 {
        out.push(b'-');
    }
    let mut digits = [0; 20];
    let mut begin = digits.len();
    let mut left = number.unsigned_abs();
    while left > 0 || begin == digits.len() {
        begin -= 1;
        digits[begin] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    out.extend_from_slice(&digits[begin..]);
}

/// Texts longer than this are known by a digest, so that no copy of them is kept.
pub const LONG: usize = 1 << 16;

/// Digests slices, each with its length: nobody finds two lists with the same digest.
pub fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = Params::new().hash_length(32).to_state();
    for part in parts {
        state.update(&part.len().to_le_bytes()).update(part);
    }
    state.finalize().as_bytes().try_into().expect("32 bytes")
}

/// Writes into `key` what identifies a long row of the table `text`, and gives its id.
pub fn long_text(key: &mut Vec<u8>, secret: &[u8], value: &[u8], raw: Option<&[u8]>) -> i64 {
    begin(key, "text");
    push_length(key, value);
    let mut middle = vec![b';'];
    match raw {
        None => middle.push(b'N'),
        Some(raw) => push_length(&mut middle, raw),
    }
    let parts: [&[u8]; 5] = [key, value, &middle, raw.unwrap_or_default(), b";"];
    let mut state = Params::new().hash_length(8).key(secret).to_state();
    for part in parts {
        state.update(part);
    }
    let known = digest(&parts);
    // No table has an empty name, so no canonical bytes begin like this.
    key.clear();
    key.push(b'#');
    key.extend_from_slice(&known);
    id_of(state.finalize().as_bytes())
}

fn push_length(out: &mut Vec<u8>, data: &[u8]) {
    out.push(b'S');
    push_number(out, data.len() as i64);
    out.push(b':');
}

/// Id of the row with these canonical bytes.
pub fn dimension_id(secret: &[u8], canonical: &[u8]) -> i64 {
    id_of(Params::new().hash_length(8).key(secret).hash(canonical).as_bytes())
}

fn id_of(digest: &[u8]) -> i64 {
    let bits: [u8; 8] = digest.try_into().expect("eight bytes");
    ((u64::from_le_bytes(bits) & DIMENSION_MASK) as i64).max(1)
}
