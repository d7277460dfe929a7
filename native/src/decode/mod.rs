//! Bytes in, rows out: the same as `auditsvc/decode`, module by module, with the same result.
//!
//! The Python modules with the same names are the specification. Their documentation is not
//! repeated here; comments say what differs. No I/O, no clock, no Python objects.

mod address;
mod arguments;
mod batch;
mod cache;
mod calls;
mod decoder;
mod dimensions;
mod events;
mod fields;
mod ids;
mod line;
mod paths;
mod rows;
mod schema;
mod serials;
mod text;
mod tokens;
mod types;

pub use batch::{Batch, DimensionRows, Visitor};
pub use decoder::{Counts, Decoder};
pub use ids::{SERIAL_BITS, Value};
pub use schema::{DIMENSIONS, DimensionTable, FACTS, Table};

/// Makes a decoder; `record_types` is `auditsvc.tables.names.record_types()`.
pub fn new(
    secret: Vec<u8>,
    host: String,
    idle: f64,
    max_open: usize,
    record_types: Vec<(i32, String)>,
    trusts_kernel_log: bool,
) -> Decoder {
    let dimensions = dimensions::Dimensions::new(secret, host);
    let types = types::TypeTable::new(record_types);
    Decoder::new(dimensions, types, idle, max_open, trusts_kernel_log)
}
