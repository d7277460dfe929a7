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
    Text(Box<str>),
    Bytes(Box<[u8]>),
}

impl Value {
    /// Bytes of a text.
    pub fn size(&self) -> usize {
        match self {
            Value::Null | Value::Int(_) => 0,
            Value::Text(text) => text.len(),
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

/// What identifies a row: its table's name and its content, or their digest if they are long.
pub fn key(table: &str, content: &[Value]) -> Vec<u8> {
    let size: usize = content.iter().map(Value::size).sum();
    if size <= LONG {
        let mut out = Vec::with_capacity(64 + 12 * content.len() + size);
        canonical(table, content, |part| out.extend_from_slice(part));
        return out;
    }
    let mut state = Params::new().hash_length(DIGEST).to_state();
    canonical(table, content, |part| {
        state.update(part);
    });
    // No canonical text begins like this, as no table has an empty name.
    [b"#", state.finalize().as_bytes()].concat()
}

/// Writes a table's name and a row's content; different contents always give different bytes.
fn canonical(table: &str, content: &[Value], mut write: impl FnMut(&[u8])) {
    write(table.as_bytes());
    write(b"#0;");
    for value in content {
        match value {
            Value::Null => write(b"N"),
            Value::Int(number) => {
                write(b"I");
                write(number.to_string().as_bytes());
            }
            Value::Text(text) => write_string(&mut write, text.as_bytes()),
            Value::Bytes(data) => write_string(&mut write, data),
        }
        write(b";");
    }
}

fn write_string(write: &mut impl FnMut(&[u8]), data: &[u8]) {
    write(b"S");
    write(data.len().to_string().as_bytes());
    write(b":");
    write(data);
}

/// Id of the row with this content; `key` is what `key` gives for it.
pub fn dimension_id(secret: &[u8], table: &str, content: &[Value], key: &[u8]) -> i64 {
    let mut params = Params::new();
    params.hash_length(8).key(secret);
    let hash = if key.starts_with(b"#") {
        let mut state = params.to_state();
        canonical(table, content, |part| {
            state.update(part);
        });
        state.finalize()
    } else {
        params.hash(key)
    };
    let bits: [u8; 8] = hash.as_bytes().try_into().expect("eight bytes");
    ((u64::from_le_bytes(bits) & DIMENSION_MASK) as i64).max(1)
}
