//! Sums of the digests of rows, as `auditsvc.evidence.row_digest` makes them.

use std::collections::{BTreeMap, HashMap, HashSet};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use sha2::Sha256;
use sha3::Shake128;
use sha3::digest::{Digest, ExtendableOutput, Update, XofReader};

use crate::decode::{
    DIMENSIONS, DimensionRows, DimensionTable, FACTS, SERIAL_BITS, Table, Value, Visitor,
};
use crate::output::NativeBatch;

/// Seconds.
const DAY: i64 = 86_400;
/// 2048 bits.
const WORDS: usize = 32;
/// Dimension rows of a table whose digests are remembered, of some 60 bytes each.
const REMEMBERED: usize = 100_000;

// Indexes in `DIMENSIONS`.
const HOST: usize = 0;
const TEXT: usize = 1;
const CONTEXT: usize = 2;
const FILE: usize = 3;
const ADDRESS: usize = 4;

/// Digests of dimension rows by id; None: the store does not have the row.
type Known = [HashMap<i64, Option<[u8; 32]>, foldhash::fast::RandomState>; 5];
/// Table, day, rows, the sum of their digests (big-endian).
type Taken<'py> = Vec<(&'static str, i64, u64, Bound<'py, PyBytes>)>;

#[derive(Default)]
struct Sum {
    rows: u64,
    /// Least significant first.
    words: [u64; WORDS],
}

impl Sum {
    fn add(&mut self, digest: &[u8; WORDS * 8]) {
        self.rows += 1;
        let mut carry = false;
        for (word, bytes) in self.words.iter_mut().zip(digest.rchunks_exact(8)) {
            let more = bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
            let (sum, over) = word.overflowing_add(more);
            let (sum, again) = sum.overflowing_add(carry.into());
            (*word, carry) = (sum, over || again);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.words.iter().rev().flat_map(|word| word.to_be_bytes()).collect()
    }
}

/// Adds rows; the interpreter lock is released while it hashes.
#[pyclass(module = "auditsvc._native")]
#[derive(Default)]
pub struct RowSums {
    known: Known,
    sums: BTreeMap<(&'static str, i64), Sum>,
}

#[pymethods]
impl RowSums {
    #[new]
    fn new() -> Self {
        RowSums::default()
    }

    /// Remembers the dimension rows of a batch; gives the ids by table that must be learned first.
    fn absent(&mut self, py: Python<'_>, batch: &NativeBatch) -> Vec<(&'static str, Vec<i64>)> {
        py.detach(|| {
            let mut reading = Reading { known: &mut self.known, absent: Default::default() };
            batch.visit(None, &mut reading);
            names(reading.absent)
        })
    }

    /// The same for rows of a table.
    fn absent_rows(
        &self,
        table: &str,
        rows: Vec<Vec<Option<i64>>>,
    ) -> PyResult<Vec<(&'static str, Vec<i64>)>> {
        let (name, columns) = facts(table)?;
        let refers = references(name, columns);
        let mut absent = Default::default();
        for row in &rows {
            note_absent(&self.known, &mut absent, &refers, row);
        }
        Ok(names(absent))
    }

    /// Remembers digests of a dimension's rows; None for one that is not stored.
    fn learn(&mut self, table: &str, digests: Vec<(i64, Option<[u8; 32]>)>) -> PyResult<()> {
        let place = DIMENSIONS.iter().position(|known| known.name == table);
        let place = place.ok_or_else(|| PyValueError::new_err(format!("no table {table}")))?;
        self.known[place].extend(digests);
        Ok(())
    }

    /// Adds the facts of a batch, but for those of some events.
    fn add(&mut self, py: Python<'_>, batch: &NativeBatch, without: HashSet<i64>) {
        py.detach(|| {
            let Self { known, sums } = self;
            batch.visit(None, &mut Adding { known, sums, without, text: Vec::new() });
            self.forget();
        });
    }

    /// Adds rows of a table.
    fn add_rows(
        &mut self,
        py: Python<'_>,
        table: &str,
        rows: Vec<Vec<Option<i64>>>,
    ) -> PyResult<()> {
        let (name, columns) = facts(table)?;
        if rows.iter().any(|row| row.len() != columns.len() || row[0].is_none()) {
            return Err(PyValueError::new_err(format!("rows of {name} have other columns")));
        }
        py.detach(|| {
            let refers = references(name, columns);
            let mut text = Vec::new();
            for row in &rows {
                add_row(&self.known, &mut self.sums, &mut text, name, &refers, row);
            }
            self.forget();
        });
        Ok(())
    }

    /// The sums of what was added since the last call: table, day, rows, digest (big-endian).
    fn take<'py>(&mut self, py: Python<'py>) -> Taken<'py> {
        std::mem::take(&mut self.sums)
            .into_iter()
            .map(|((table, day), sum)| (table, day, sum.rows, PyBytes::new(py, &sum.bytes())))
            .collect()
    }
}

impl RowSums {
    fn forget(&mut self) {
        for known in &mut self.known {
            if known.len() > REMEMBERED {
                known.clear();
            }
        }
    }
}

/// Learns dimension rows, and finds references to those that are not known.
struct Reading<'a> {
    known: &'a mut Known,
    absent: [HashSet<i64>; 5],
}

impl Visitor for Reading<'_> {
    fn dimension(&mut self, table: &'static DimensionTable, rows: &DimensionRows) {
        let refers = references(table.name, table.columns);
        let place = DIMENSIONS.iter().position(|known| known.name == table.name);
        let Some(place) = place else { return };
        let mut text = Vec::new();
        for row in rows.iter() {
            let Value::Int(id) = row[0] else { continue };
            let mut is_whole = true;
            for (value, refers) in row.iter().zip(&refers) {
                if let (Value::Int(id), Some(other)) = (value, *refers) {
                    if !self.known[other].contains_key(id) {
                        self.absent[other].insert(*id);
                        is_whole = false;
                    }
                }
            }
            if is_whole {
                write_content(&mut text, self.known, row, &refers);
                let digest = Sha256::digest(&text).into();
                self.known[place].insert(id, Some(digest));
            }
        }
    }

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        let refers = references(table.name, &table.columns);
        for row in rows {
            note_absent(self.known, &mut self.absent, &refers, &row);
        }
    }
}

struct Adding<'a> {
    known: &'a Known,
    sums: &'a mut BTreeMap<(&'static str, i64), Sum>,
    without: HashSet<i64>,
    text: Vec<u8>,
}

impl Visitor for Adding<'_> {
    fn dimension(&mut self, _: &'static DimensionTable, _: &DimensionRows) {}

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        let refers = references(table.name, &table.columns);
        for row in rows {
            if !row[0].is_some_and(|id| self.without.contains(&id)) {
                add_row(self.known, self.sums, &mut self.text, table.name, &refers, &row);
            }
        }
    }
}

fn add_row(
    known: &Known,
    sums: &mut BTreeMap<(&'static str, i64), Sum>,
    text: &mut Vec<u8>,
    table: &'static str,
    refers: &[Option<usize>],
    row: &[Option<i64>],
) {
    text.clear();
    let mut before = b'[';
    for (value, refers) in row.iter().zip(refers) {
        write_separator(text, &mut before);
        match (value, refers) {
            (None, _) => text.extend_from_slice(b"None"),
            (Some(value), None) => write_number(text, *value),
            (Some(value), Some(other)) => write_digest(text, known[*other].get(value)),
        }
    }
    text.push(b']');
    let mut digest = [0; WORDS * 8];
    let mut hash = Shake128::default();
    hash.update(text);
    hash.finalize_xof().read(&mut digest);
    let day = (row[0].unwrap_or_default() >> SERIAL_BITS).div_euclid(DAY);
    sums.entry((table, day)).or_default().add(&digest);
}

fn note_absent(
    known: &Known,
    absent: &mut [HashSet<i64>; 5],
    refers: &[Option<usize>],
    row: &[Option<i64>],
) {
    for (value, refers) in row.iter().zip(refers) {
        if let (Some(id), Some(other)) = (value, *refers) {
            if !known[other].contains_key(id) {
                absent[other].insert(*id);
            }
        }
    }
}

fn names(absent: [HashSet<i64>; 5]) -> Vec<(&'static str, Vec<i64>)> {
    let tables = DIMENSIONS.iter().map(|table| table.name);
    let found = tables.zip(absent).filter(|(_, ids)| !ids.is_empty());
    found.map(|(table, ids)| (table, ids.into_iter().collect())).collect()
}

fn facts(name: &str) -> PyResult<(&'static str, &'static [&'static str])> {
    let found = FACTS.into_iter().find(|(table, _)| *table == name);
    found.ok_or_else(|| PyValueError::new_err(format!("no table of facts {name}")))
}

/// The index in `DIMENSIONS` of what each column refers to.
fn references(table: &str, columns: &[&str]) -> Vec<Option<usize>> {
    let refers = |column: &&str| match (table, *column) {
        ("syscall", "context") => Some(CONTEXT),
        ("event" | "context", "host") => Some(HOST),
        ("path", "file") => Some(FILE),
        ("sockaddr", "address") => Some(ADDRESS),
        ("event" | "record", "fields") | ("exec", "argv") => Some(TEXT),
        ("context", "tty" | "comm" | "exe" | "subj" | "key" | "cwd" | "title" | "extra")
        | ("file", "name" | "obj" | "extra") => Some(TEXT),
        _ => None,
    };
    columns.iter().map(refers).collect()
}

// What follows writes values as Python's repr() does.

/// Writes the list of a dimension row's columns behind its id.
fn write_content(text: &mut Vec<u8>, known: &Known, row: &[Value], refers: &[Option<usize>]) {
    text.clear();
    let mut before = b'[';
    for (value, refers) in row.iter().zip(refers).skip(1) {
        write_separator(text, &mut before);
        match (value, refers) {
            (Value::Null, _) => text.extend_from_slice(b"None"),
            (Value::Int(id), Some(other)) => write_digest(text, known[*other].get(id)),
            (Value::Int(number), None) => write_number(text, *number),
            (Value::Text(value), _) => write_text(text, value.as_str()),
            (Value::Bytes(data), _) => write_bytes(text, data),
        }
    }
    text.push(b']');
}

fn write_separator(text: &mut Vec<u8>, before: &mut u8) {
    if *before == b'[' {
        text.push(b'[');
        *before = b',';
    } else {
        text.extend_from_slice(b", ");
    }
}

fn write_digest(text: &mut Vec<u8>, digest: Option<&Option<[u8; 32]>>) {
    match digest {
        Some(Some(digest)) => write_bytes(text, digest),
        _ => text.extend_from_slice(b"b'absent'"),
    }
}

fn write_number(text: &mut Vec<u8>, number: i64) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[start..]);
}

fn write_bytes(text: &mut Vec<u8>, data: &[u8]) {
    text.push(b'b');
    write_quoted(text, data);
}

fn write_text(text: &mut Vec<u8>, value: &str) {
    if value.is_ascii() {
        return write_quoted(text, value.as_bytes());
    }
    // Which characters are printable is in Python's tables.
    Python::attach(|py| {
        let repr = PyString::new(py, value).repr().expect("a text has a repr");
        text.extend_from_slice(repr.to_str().expect("a repr is printable").as_bytes());
    });
}

fn write_quoted(text: &mut Vec<u8>, data: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let is_single = memchr::memchr(b'\'', data).is_none() || memchr::memchr(b'"', data).is_some();
    let quote = if is_single { b'\'' } else { b'"' };
    text.push(quote);
    for &byte in data {
        match byte {
            b'\\' => text.extend_from_slice(b"\\\\"),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            _ if byte == quote => text.extend_from_slice(&[b'\\', quote]),
            0x20..=0x7e => text.push(byte),
            _ => {
                let high = HEX[usize::from(byte >> 4)];
                text.extend_from_slice(&[b'\\', b'x', high, HEX[usize::from(byte & 15)]]);
            }
        }
    }
    text.push(quote);
}
