//! Rows -> PostgreSQL's binary COPY: <https://www.postgresql.org/docs/current/sql-copy.html>.

use crate::decode::{DimensionRows, DimensionTable, Table, Value, Visitor};

const START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const END: [u8; 2] = (-1i16).to_be_bytes();
const NULL: [u8; 4] = (-1i32).to_be_bytes();

/// The rows of one table; empty if it has none.
#[derive(Default)]
pub struct PgCopy(Vec<u8>);

impl PgCopy {
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

impl Visitor for PgCopy {
    fn dimension(&mut self, table: &'static DimensionTable, rows: &DimensionRows) {
        let out = &mut self.0;
        out.extend_from_slice(START);
        for row in rows.iter() {
            out.extend_from_slice(&(table.columns.len() as i16).to_be_bytes());
            for value in row {
                match value {
                    Value::Null => out.extend_from_slice(&NULL),
                    Value::Int(number) => field(out, &number.to_be_bytes()),
                    Value::Text(text) => field(out, text.as_bytes()),
                    Value::Bytes(data) => field(out, data),
                }
            }
        }
        out.extend_from_slice(&END);
    }

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        let out = &mut self.0;
        let sizes = table.widths.iter().map(|&width| if width == 0 { 8 } else { width });
        let row_size = 2 + sizes.map(|size| 4 + usize::from(size)).sum::<usize>();
        out.reserve(START.len() + rows.len() * row_size + END.len());
        out.extend_from_slice(START);
        for row in rows {
            out.extend_from_slice(&(N as i16).to_be_bytes());
            for (value, width) in row.into_iter().zip(table.widths) {
                let Some(number) = value else {
                    out.extend_from_slice(&NULL);
                    continue;
                };
                let bytes = number.to_be_bytes();
                let empty = if width == 0 {
                    number.leading_zeros() as usize / 8
                } else {
                    8 - usize::from(width)
                };
                field(out, &bytes[empty..]);
            }
        }
        out.extend_from_slice(&END);
    }
}

fn field(out: &mut Vec<u8>, data: &[u8]) {
    out.extend_from_slice(&(data.len() as i32).to_be_bytes());
    out.extend_from_slice(data);
}
