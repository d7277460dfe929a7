//! Rows -> the image of an SQLite database that contains them.
//!
//! SQLite opens the image as a database in memory (sqlite3_deserialize) and copies its rows in
//! one statement, so that no value passes through the interpreter or the driver. The format is
//! stable: <https://sqlite.org/fileformat2.html>; its terms are used here.

use crate::decode::{DimensionRows, DimensionTable, Table, Value, Visitor};

const PAGE: usize = 8192;
const HEADER: usize = 100;
const LEAF: u8 = 0x0d;
const LEAF_HEADER: usize = 8;
const INTERIOR: u8 = 0x05;
const INTERIOR_HEADER: usize = 12;
/// The rest of a longer record is on overflow pages; at least MIN_LOCAL bytes stay on the leaf.
const MAX_LOCAL: usize = PAGE - 35;
const MIN_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;
/// The largest size of a cell of an interior page with its pointer: page, key, pointer.
const INTERIOR_CELL: usize = 4 + 9 + 2;
const CHILDREN: usize = (PAGE - INTERIOR_HEADER) / INTERIOR_CELL;
/// The version of SQLite in the header; this one supports schema format 4.
const VERSION: u32 = 3_040_000;

/// A database image that is written table by table.
pub struct SqliteImage {
    pages: Vec<u8>,
    /// Name, columns and root page of each table.
    tables: Vec<(&'static str, &'static [&'static str], u32)>,
}

impl SqliteImage {
    pub fn new() -> Self {
        SqliteImage { pages: vec![0; PAGE], tables: Vec::new() }
    }

    /// Writes the first page, with the header and the schema; gives the image.
    pub fn finish(mut self) -> Vec<u8> {
        let mut schema = Leaf::new(0, HEADER, &mut self.pages);
        for (place, (name, columns, root)) in self.tables.iter().enumerate() {
            let create = format!("CREATE TABLE \"{name}\"({})", columns.join(","));
            let text = |text: &str| Value::Text(text.into());
            let row =
                [text("table"), text(name), text(name), Value::Int((*root).into()), text(&create)];
            let record = record(row.iter());
            let mut cell = Vec::new();
            varint(&mut cell, record.len() as u64);
            varint(&mut cell, place as u64 + 1);
            cell.extend_from_slice(&record);
            let fits = schema.push(&cell);
            assert!(fits, "eleven tables fit on a page");
        }
        schema.end(&mut self.pages);
        let pages = self.count();
        let cookie = self.cookie();
        let header = &mut self.pages[..HEADER];
        header[..16].copy_from_slice(b"SQLite format 3\0");
        header[16..18].copy_from_slice(&(PAGE as u16).to_be_bytes());
        header[18..24].copy_from_slice(&[1, 1, 0, 64, 32, 32]); // rollback journal, fixed fractions
        header[24..28].copy_from_slice(&1u32.to_be_bytes()); // change counter
        header[28..32].copy_from_slice(&pages.to_be_bytes());
        header[40..44].copy_from_slice(&cookie.to_be_bytes());
        header[44..48].copy_from_slice(&4u32.to_be_bytes()); // schema format
        header[56..60].copy_from_slice(&1u32.to_be_bytes()); // UTF-8
        header[92..96].copy_from_slice(&1u32.to_be_bytes()); // the change counter again
        header[96..100].copy_from_slice(&VERSION.to_be_bytes());
        self.pages
    }

    /// The schema cookie: different for different tables or roots. SQLite uses it to decide
    /// whether its cached schema is valid when one image replaces another.
    fn cookie(&self) -> u32 {
        let words = self
            .tables
            .iter()
            .flat_map(|(name, _, root)| name.bytes().map(u32::from).chain(std::iter::once(*root)));
        // FNV-1a.
        words.fold(0x811c_9dc5, |hash, word| (hash ^ word).wrapping_mul(0x0100_0193))
    }

    fn count(&self) -> u32 {
        (self.pages.len() / PAGE) as u32
    }

    /// Makes the interior pages above the leaves (page number, last rowid); gives the root.
    fn root(&mut self, mut level: Vec<(u32, u64)>) -> u32 {
        while level.len() > 1 {
            let groups = level.len().div_ceil(CHILDREN);
            // Of equal size, so that no page has only one child.
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

impl Visitor for SqliteImage {
    fn dimension(&mut self, table: &'static DimensionTable, rows: &DimensionRows) {
        let mut tree = Tree::new(&mut self.pages);
        for row in rows.ordered() {
            let record = record(row.iter());
            tree.spilling(&mut self.pages, &record);
        }
        let leaves = tree.end(&mut self.pages);
        let root = self.root(leaves);
        self.tables.push((table.name, table.columns, root));
    }

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        const { assert!(N <= 16, "the types of a row's columns take one byte each") };
        let mut tree = Tree::new(&mut self.pages);
        for row in rows {
            let mut cell = Cell::new(tree.rows + 1, N);
            for value in row {
                cell.put(value);
            }
            tree.push(&mut self.pages, cell.end());
        }
        let leaves = tree.end(&mut self.pages);
        let root = self.root(leaves);
        self.tables.push((table.name, &table.columns, root));
    }
}

/// The leaves of a table that is being written: all full except the last.
struct Tree {
    leaf: Leaf,
    /// Page number and last rowid of the full leaves.
    full: Vec<(u32, u64)>,
    rows: u64,
}

impl Tree {
    fn new(pages: &mut Vec<u8>) -> Self {
        Tree { leaf: Leaf::new(pages.len(), 0, pages), full: Vec::new(), rows: 0 }
    }

    #[inline]
    fn push(&mut self, pages: &mut Vec<u8>, cell: &[u8]) {
        if !self.leaf.push(cell) {
            self.next(pages);
            let fits = self.leaf.push(cell);
            assert!(fits, "a cell fits on a page");
        }
        self.rows += 1;
    }

    fn next(&mut self, pages: &mut Vec<u8>) {
        self.leaf.end(pages);
        self.full.push((self.leaf.number(), self.rows));
        self.leaf = Leaf::new(pages.len(), 0, pages);
    }

    /// Adds a record of any length.
    fn spilling(&mut self, pages: &mut Vec<u8>, record: &[u8]) {
        let mut cell = Vec::new();
        varint(&mut cell, record.len() as u64);
        varint(&mut cell, self.rows + 1);
        let mut local = record.len();
        if local > MAX_LOCAL {
            local = MIN_LOCAL + (record.len() - MIN_LOCAL) % (PAGE - 4);
            if local > MAX_LOCAL {
                local = MIN_LOCAL;
            }
        }
        cell.extend_from_slice(&record[..local]);
        if local < record.len() {
            cell.extend_from_slice(&spill(pages, &record[local..]).to_be_bytes());
        }
        self.push(pages, &cell);
    }

    fn end(mut self, pages: &mut [u8]) -> Vec<(u32, u64)> {
        self.leaf.end(pages);
        self.full.push((self.leaf.number(), self.rows));
        self.full
    }
}

/// Writes the rest of a record to consecutive overflow pages; gives the number of the first.
fn spill(pages: &mut Vec<u8>, rest: &[u8]) -> u32 {
    let first = pages.len() / PAGE + 1;
    let parts = rest.chunks(PAGE - 4);
    let last = parts.len() - 1;
    for (place, part) in parts.enumerate() {
        let next = if place == last { 0 } else { first + place + 1 };
        let start = pages.len();
        pages.extend_from_slice(&(next as u32).to_be_bytes());
        pages.extend_from_slice(part);
        pages.resize(start + PAGE, 0);
    }
    first as u32
}

/// A leaf page that is being written: cells from its end, pointers to them from its start.
struct Leaf {
    page: [u8; PAGE],
    start: usize,
    /// Where the page's own header begins: on the first page it follows the file's header.
    header: usize,
    cells: usize,
    top: usize,
}

impl Leaf {
    /// Makes a page at `start` of `pages`, which is extended.
    fn new(start: usize, header: usize, pages: &mut Vec<u8>) -> Self {
        pages.resize(pages.len().max(start + PAGE), 0);
        Leaf { page: [0; PAGE], start, header, cells: 0, top: PAGE }
    }

    /// Adds a cell if there is room for it; gives whether there was.
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

    fn number(&self) -> u32 {
        (self.start / PAGE) as u32 + 1
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
    /// Positions of the next type and the next value.
    types: usize,
    values: usize,
}

impl Cell {
    /// Room for the two varints before the record.
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
        let (kind, size) = value.map_or((0, 0), kind_of);
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

/// The type of an integer in a record, and its size in bytes there.
#[inline]
fn kind_of(number: i64) -> (u8, usize) {
    match 64 - (number ^ number >> 63).leading_zeros() {
        0 if number == 0 => (8, 0),
        1 if number == 1 => (9, 0),
        0..=7 => (1, 1),
        8..=15 => (2, 2),
        16..=23 => (3, 3),
        24..=31 => (4, 4),
        32..=47 => (5, 6),
        _ => (6, 8),
    }
}

/// A record of any values: the length of its head, the type of each value, the values.
fn record<'a>(values: impl Iterator<Item = &'a Value>) -> Vec<u8> {
    let (mut types, mut body) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::Null => types.push(0),
            Value::Int(number) => {
                let (kind, size) = kind_of(*number);
                types.push(kind);
                body.extend_from_slice(&number.to_be_bytes()[8 - size..]);
            }
            Value::Text(text) => {
                varint(&mut types, 13 + 2 * text.as_bytes().len() as u64);
                body.extend_from_slice(text.as_bytes());
            }
            Value::Bytes(data) => {
                varint(&mut types, 12 + 2 * data.len() as u64);
                body.extend_from_slice(data);
            }
        }
    }
    // The length includes itself; with 23 columns of any size it is below 128 * 128.
    let length = types.len() + if types.len() < 127 { 1 } else { 2 };
    let mut record = Vec::with_capacity(length + body.len());
    varint(&mut record, length as u64);
    record.extend_from_slice(&types);
    record.extend_from_slice(&body);
    record
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
