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

/// Writes a table's name and a row's content; different contents always give different bytes.
pub fn canonical(table: &str, content: &[Value]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 12 * content.len());
    out.extend_from_slice(table.as_bytes());
    out.extend_from_slice(b"#0;");
    for value in content {
        match value {
            Value::Null => out.push(b'N'),
            Value::Int(number) => {
                out.push(b'I');
                out.extend_from_slice(number.to_string().as_bytes());
            }
            Value::Text(text) => push_string(&mut out, text.as_bytes()),
            Value::Bytes(data) => push_string(&mut out, data),
        }
        out.push(b';');
    }
    out
}

fn push_string(out: &mut Vec<u8>, data: &[u8]) {
    out.push(b'S');
    out.extend_from_slice(data.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(data);
}

/// Id of the row with these `canonical` bytes.
pub fn dimension_id(secret: &[u8], canonical: &[u8]) -> i64 {
    let digest = Params::new().hash_length(8).key(secret).hash(canonical);
    let bits: [u8; 8] = digest.as_bytes().try_into().expect("eight bytes");
    ((u64::from_le_bytes(bits) & DIMENSION_MASK) as i64).max(1)
}
