//! Rows -> the image of an SQLite database that holds them.
//!
//! SQLite opens such bytes as a database in memory (sqlite3_deserialize) and copies its rows in
//! one statement: no value passes through the interpreter or the driver one by one. The format
//! is fixed for all time: <https://sqlite.org/fileformat2.html>, whose words are used here.

use crate::decode::{Table, Visitor};

const PAGE: usize = 8192;
const HEADER: usize = 100;
const LEAF: u8 = 0x0d;
const LEAF_HEADER: usize = 8;
const INTERIOR: u8 = 0x05;
const INTERIOR_HEADER: usize = 12;
/// The most that a cell of an interior page takes, with its pointer: page, key, pointer.
const INTERIOR_CELL: usize = 4 + 9 + 2;
const CHILDREN: usize = (PAGE - INTERIOR_HEADER) / INTERIOR_CELL;
/// One of the format's magic numbers: what wrote the file knew schema format 4.
const VERSION: u32 = 3_040_000;

/// A database that grows a table at a time.
pub struct Image {
    pages: Vec<u8>,
    /// Name, columns and root page of each table.
    tables: Vec<(&'static str, &'static [&'static str], u32)>,
}

impl Image {
    pub fn new() -> Self {
        Image { pages: vec![0; PAGE], tables: Vec::new() }
    }

    /// Ends it; the first page tells what stands in the others.
    pub fn finish(mut self) -> Vec<u8> {
        let mut schema = Leaf::new(0, HEADER, &mut self.pages);
        for (place, (name, columns, root)) in self.tables.iter().enumerate() {
            let columns = columns.join(",");
            let create = format!("CREATE TABLE \"{name}\"({columns})");
            let mut record = Vec::new();
            let mut types = Vec::new();
            for text in ["table", name, name] {
                varint(&mut types, 13 + 2 * text.len() as u64);
                record.extend_from_slice(text.as_bytes());
            }
            types.push(4); // a 32-bit integer
            record.extend_from_slice(&root.to_be_bytes());
            varint(&mut types, 13 + 2 * create.len() as u64);
            record.extend_from_slice(create.as_bytes());
            let mut payload = vec![types.len() as u8 + 1];
            payload.extend_from_slice(&types);
            payload.extend_from_slice(&record);
            let mut cell = Vec::new();
            varint(&mut cell, payload.len() as u64);
            varint(&mut cell, place as u64 + 1);
            cell.extend_from_slice(&payload);
            let fits = schema.push(&cell);
            assert!(fits, "six tables fit on a page");
        }
        schema.end(&mut self.pages);
        let pages = self.count();
        let header = &mut self.pages[..HEADER];
        header[..16].copy_from_slice(b"SQLite format 3\0");
        header[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
        header[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]); // rollback journal, fixed fractions
        header[24..28].copy_from_slice(&1u32.to_be_bytes()); // change counter
        header[28..32].copy_from_slice(&pages.to_be_bytes());
        header[40..44].copy_from_slice(&1u32.to_be_bytes()); // schema cookie
        header[44..48].copy_from_slice(&4u32.to_be_bytes()); // schema format
        header[56..60].copy_from_slice(&1u32.to_be_bytes()); // UTF-8
        header[92..96].copy_from_slice(&1u32.to_be_bytes()); // the change counter again
        header[96..100].copy_from_slice(&VERSION.to_be_bytes());
        self.pages
    }

    fn count(&self) -> u32 {
        (self.pages.len() / PAGE) as u32
    }

    /// Makes pages over the leaves, each known by its number and last rowid; gives the root.
    fn root(&mut self, mut level: Vec<(u32, u64)>) -> u32 {
        while level.len() > 1 {
            let groups = level.len().div_ceil(CHILDREN);
            // Of equal size, so that none is left with a single child.
            let size = level.len().div_ceil(groups);
            level = level.chunks(size).map(|children| self.interior(children)).collect();
        }
        level[0].0
    }

    fn interior(&mut self, children: &[(u32, u64)]) -> (u32, u64) {
        let (&(right, last), others) = children.split_last().expect("a page has children");
        let start = self.pages.len();
        self.pages.resize(start + PAGE, 0);
        let page = &mut self.pages[start..];
        let mut top = PAGE;
        let mut cell = Vec::with_capacity(INTERIOR_CELL);
        for (place, &(child, rowid)) in others.iter().enumerate() {
            cell.clear();
            cell.extend_from_slice(&child.to_be_bytes());
            varint(&mut cell, rowid);
            top -= cell.len();
            page[top..top + cell.len()].copy_from_slice(&cell);
            let pointer = INTERIOR_HEADER + 2 * place;
            page[pointer..pointer + 2].copy_from_slice(&(top as u16).to_be_bytes());
        }
        page[0] = INTERIOR;
        page[3..5].copy_from_slice(&(others.len() as u16).to_be_bytes());
        page[5..7].copy_from_slice(&(top as u16).to_be_bytes());
        page[8..12].copy_from_slice(&right.to_be_bytes());
        (self.count(), last)
    }
}

impl Visitor for Image {
    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        const { assert!(N <= 16, "the types of a row's columns take one byte each") };
        let mut leaves = Vec::new();
        let mut leaf = Leaf::new(self.pages.len(), 0, &mut self.pages);
        let mut rowid = 0;
        for row in rows {
            let mut cell = Cell::new(rowid + 1, N);
            for value in row {
                cell.put(value);
            }
            if !leaf.push(cell.end()) {
                leaf.end(&mut self.pages);
                leaves.push((self.count(), rowid));
                leaf = Leaf::new(self.pages.len(), 0, &mut self.pages);
                let fits = leaf.push(cell.end());
                assert!(fits, "a row fits on a page");
            }
            rowid += 1;
        }
        leaf.end(&mut self.pages);
        leaves.push((self.count(), rowid));
        let root = self.root(leaves);
        self.tables.push((table.name, &table.columns, root));
    }
}

/// A leaf page in the making: cells from its end, pointers to them from its start.
struct Leaf {
    page: [u8; PAGE],
    start: usize,
    /// Where the page's own header begins: behind the file's on the first page.
    header: usize,
    cells: usize,
    top: usize,
}

impl Leaf {
    /// A page that will stand at `start` of `pages`, which is made to have it.
    fn new(start: usize, header: usize, pages: &mut Vec<u8>) -> Self {
        pages.resize(pages.len().max(start + PAGE), 0);
        Leaf { page: [0; PAGE], start, header, cells: 0, top: PAGE }
    }

    /// Puts a cell, if there is room for it.
    #[inline]
    fn push(&mut self, cell: &[u8]) -> bool {
        let pointer = self.header + LEAF_HEADER + 2 * self.cells;
        let Some(top) = self.top.checked_sub(cell.len()).filter(|&top| top >= pointer + 2) else {
            return false;
        };
        self.page[top..self.top].copy_from_slice(cell);
        self.page[pointer..pointer + 2].copy_from_slice(&(top as u16).to_be_bytes());
        self.top = top;
        self.cells += 1;
        true
    }

    fn end(&mut self, pages: &mut [u8]) {
        let header = &mut self.page[self.header..];
        header[0] = LEAF;
        header[3..5].copy_from_slice(&(self.cells as u16).to_be_bytes());
        header[5..7].copy_from_slice(&(self.top as u16).to_be_bytes());
        pages[self.start..self.start + PAGE].copy_from_slice(&self.page);
    }
}

/// A row of integers: payload's length, rowid, then the record: types of its columns, values.
struct Cell {
    bytes: [u8; Cell::MOST],
    rowid: u64,
    /// Where the next type and the next value go.
    types: usize,
    values: usize,
}

impl Cell {
    /// Room for what stands before the record: two varints.
    const BEFORE: usize = 18;
    const MOST: usize = Cell::BEFORE + 1 + 16 + 16 * 8;

    #[inline]
    fn new(rowid: u64, columns: usize) -> Self {
        let mut bytes = [0; Cell::MOST];
        bytes[Cell::BEFORE] = columns as u8 + 1;
        let types = Cell::BEFORE + 1;
        Cell { bytes, rowid, types, values: types + columns }
    }

    #[inline]
    fn put(&mut self, value: Option<i64>) {
        let (kind, size) = match value {
            None => (0, 0),
            Some(0) => (8, 0),
            Some(1) => (9, 0),
            Some(number) => match 64 - (number ^ number >> 63).leading_zeros() {
                0..=7 => (1, 1),
                8..=15 => (2, 2),
                16..=23 => (3, 3),
                24..=31 => (4, 4),
                32..=47 => (5, 6),
                _ => (6, 8),
            },
        };
        self.bytes[self.types] = kind;
        self.types += 1;
        if let Some(number) = value {
            let digits = number.to_be_bytes();
            self.bytes[self.values..self.values + size].copy_from_slice(&digits[8 - size..]);
            self.values += size;
        }
    }

    #[inline]
    fn end(&mut self) -> &[u8] {
        let mut before = [0; Cell::BEFORE];
        let size = self.values - Cell::BEFORE;
        let mut length = put_varint(&mut before, size as u64);
        length += put_varint(&mut before[length..], self.rowid);
        let start = Cell::BEFORE - length;
        self.bytes[start..Cell::BEFORE].copy_from_slice(&before[..length]);
        &self.bytes[start..self.values]
    }
}

/// Writes a number below 2^56 as SQLite's varint: seven bits a byte, the highest first.
#[inline]
fn put_varint(out: &mut [u8], number: u64) -> usize {
    let length = ((64 - (number | 1).leading_zeros()) as usize).div_ceil(7);
    for (place, byte) in out[..length].iter_mut().enumerate() {
        let shift = 7 * (length - 1 - place);
        *byte = (number >> shift) as u8 & 0x7f | if shift > 0 { 0x80 } else { 0 };
    }
    length
}

fn varint(out: &mut Vec<u8>, number: u64) {
    let mut bytes = [0; 9];
    let length = put_varint(&mut bytes, number);
    out.extend_from_slice(&bytes[..length]);
}
