//! The Python class `NativeBatch`: the rows of a batch, as tuples or in bulk formats.

use std::collections::{HashMap, HashSet};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};

use super::pg_copy::PgCopy;
use super::sqlite_image::SqliteImage;
use crate::decode::{
    Batch, DIMENSIONS, DimensionRows, DimensionTable, SERIAL_BITS, Table, Value, Visitor,
};

type Object<'py> = Bound<'py, PyAny>;

/// id, millisecond, context, number, a0, a1, success, exit
type Call = (i64, u16, i64, i32, i64, i64, Option<bool>, Option<i64>);

/// Seconds.
const DAY: i64 = 86_400;

/// Rows that are converted to Python objects only on request.
#[pyclass(module = "auditsvc._native", frozen)]
pub struct NativeBatch {
    facts: Batch,
    /// In the order of `DIMENSIONS`.
    dimensions: [DimensionRows; 5],
}

/// A failed call's result is between its negative and -1 (include/linux/err.h).
const MAX_ERRNO: i64 = 4095;

/// A row with texts of more bytes is stored by itself: in an image it would be in memory thrice.
const MOST_PACKED: usize = 1 << 20;

impl NativeBatch {
    pub fn new(facts: Batch, dimensions: [DimensionRows; 5]) -> Self {
        NativeBatch { facts, dimensions }
    }

    /// Visits the rows of every table, or of the table `only`.
    pub fn visit(&self, only: Option<&str>, visitor: &mut impl Visitor) {
        for (table, rows) in DIMENSIONS.iter().zip(self.dimensions.iter()) {
            if !rows.is_empty() && only.is_none_or(|asked| asked == table.name) {
                visitor.dimension(table, rows);
            }
        }
        self.facts.visit(only, visitor);
    }
}

#[pymethods]
impl NativeBatch {
    /// Names of the tables that have rows: of dimensions, and of facts.
    #[getter]
    fn tables(&self) -> (Vec<&'static str>, Vec<&'static str>) {
        let mut names = Names::default();
        self.visit(None, &mut names);
        (names.dimensions, names.facts)
    }

    fn rows<'py>(&self, py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyList>> {
        let mut rows = Rows(py, Vec::new());
        self.visit(Some(table), &mut rows);
        let tuples = rows.1.into_iter().collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, tuples)
    }

    /// Whether a row is too long for the bulk formats.
    #[getter]
    fn has_long(&self) -> bool {
        let size = |row: &[Value]| row.iter().map(Value::size).sum::<usize>();
        self.dimensions.iter().flat_map(DimensionRows::iter).any(|row| size(row) > MOST_PACKED)
    }

    /// The rows of a dimension table from the one numbered `start` on: at least one, and no more
    /// once they have `most` bytes. A long text is given as its bytes in UTF-8: as a text each of its
    /// letters may take four.
    fn piece<'py>(
        &self,
        py: Python<'py>,
        table: &str,
        start: usize,
        most: usize,
    ) -> PyResult<Bound<'py, PyList>> {
        let tuples = PyList::empty(py);
        let Some(place) = DIMENSIONS.iter().position(|known| known.name == table) else {
            return Ok(tuples);
        };
        let mut bytes = 0;
        for row in self.dimensions[place].iter().skip(start) {
            if bytes >= most {
                break;
            }
            bytes += row.iter().map(Value::size).sum::<usize>();
            tuples.append(dimension_row(py, row, MOST_PACKED)?)?;
        }
        Ok(tuples)
    }

    fn weights(&self, table: &str) -> Vec<usize> {
        match table {
            "syscall" => self.facts.syscalls.iter().map(|row| row.weight).collect(),
            "event" => self.facts.events.iter().map(|row| row.weight).collect(),
            _ => Vec::new(),
        }
    }

    #[getter]
    fn events(&self) -> usize {
        self.facts.syscalls.len() + self.facts.events.len()
    }

    fn ids(&self) -> Vec<i64> {
        let calls = self.facts.syscalls.iter().map(|row| row.id);
        calls.chain(self.facts.events.iter().map(|row| row.id)).collect()
    }

    fn lone_ids(&self) -> Vec<i64> {
        self.facts.events.iter().map(|row| row.id).collect()
    }

    fn claimed(&self) -> Vec<i64> {
        self.facts.claimed.clone()
    }

    fn span(&self) -> Option<(i64, i64)> {
        let ids = self.facts.syscalls.iter().map(|row| row.id);
        ids.clone().min().zip(ids.max())
    }

    fn has_call(&self, ids: HashSet<i64>) -> bool {
        self.facts.syscalls.iter().any(|row| ids.contains(&row.id))
    }

    fn numbers(&self) -> HashSet<i32> {
        self.facts.syscalls.iter().map(|row| row.nr).collect()
    }

    fn pairs(&self, numbers: HashSet<i32>) -> HashSet<(i64, i32)> {
        let asked = self.facts.syscalls.iter().filter(|row| numbers.contains(&row.nr));
        asked.map(|row| (row.context, row.nr)).collect()
    }

    /// Rows of `path` counted by (day, file), from 1970, and the least event of each.
    fn uses(&self, py: Python<'_>) -> Vec<(i64, i64, i64, i64)> {
        let uses = py.detach(|| {
            let mut uses: HashMap<(i64, i64), (i64, i64)> = HashMap::new();
            for &(event, _, _, file) in &self.facts.paths {
                let key = ((event >> SERIAL_BITS) / DAY, file);
                let (count, first) = uses.entry(key).or_insert((0, event));
                *count += 1;
                *first = event.min(*first);
            }
            uses
        });
        uses.into_iter().map(|((day, file), (count, first))| (day, file, count, first)).collect()
    }

    /// Calls counted by (hour, context, number, success or -1, errno or 0).
    fn activity(&self, py: Python<'_>) -> Vec<(i64, i64, i32, i8, i64, i64)> {
        let counts = py.detach(|| {
            let mut counts: HashMap<(i64, i64, i32, i8, i64), i64> = HashMap::new();
            for row in &self.facts.syscalls {
                let hour = (row.id >> SERIAL_BITS) / 3600;
                let success = row.success.map_or(-1, i8::from);
                let errno = match (row.success, row.exit) {
                    (Some(false), Some(exit)) if (-MAX_ERRNO..0).contains(&exit) => -exit,
                    _ => 0,
                };
                *counts.entry((hour, row.context, row.nr, success, errno)).or_default() += 1;
            }
            counts
        });
        counts.into_iter().map(|((h, c, n, s, e), count)| (h, c, n, s, e, count)).collect()
    }

    /// The first call of each context on each day (from 1970): context, day, id, millisecond.
    fn firsts(&self, py: Python<'_>) -> Vec<(i64, i64, i64, u16)> {
        let firsts = py.detach(|| {
            let mut firsts: HashMap<(i64, i64), (i64, u16, i64)> = HashMap::new();
            // Calls of one context come one after the other: most are behind the last look.
            let mut last = ((0, i64::MIN), (0, 0, 0));
            for row in &self.facts.syscalls {
                let second = row.id >> SERIAL_BITS;
                let (key, found) = ((row.context, second / DAY), (second, row.ms, row.id));
                if key == last.0 && found >= last.1 {
                    continue;
                }
                let first = firsts.entry(key).or_insert(found);
                *first = found.min(*first);
                last = (key, *first);
            }
            firsts
        });
        firsts.into_iter().map(|((c, day), (_, ms, id))| (c, day, id, ms)).collect()
    }

    /// The calls with these pairs (context, number).
    fn calls(&self, pairs: HashSet<(i64, i32)>) -> Vec<Call> {
        let numbers: HashSet<i32> = pairs.iter().map(|&(_, nr)| nr).collect();
        let asked = self
            .facts
            .syscalls
            .iter()
            .filter(|row| numbers.contains(&row.nr) && pairs.contains(&(row.context, row.nr)));
        asked
            .map(|row| {
                let [a0, a1, ..] = row.arguments;
                (row.id, row.ms, row.context, row.nr, a0, a1, row.success, row.exit)
            })
            .collect()
    }

    /// The events of a type: id, millisecond, host, pid.
    fn events_of(&self, number: i32) -> Vec<(i64, u16, i64, Option<i64>)> {
        let asked = self.facts.events.iter().filter(|row| row.number == number);
        asked.map(|row| (row.id, row.ms, row.host, row.who[0])).collect()
    }

    /// The distinct integers in one column of a dimension table.
    fn integers(&self, table: &str, column: usize) -> HashSet<i64> {
        let mut found = Integers { column, values: HashSet::new() };
        self.visit(Some(table), &mut found);
        found.values
    }

    fn image<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| {
            let mut image = SqliteImage::new();
            self.visit(None, &mut image);
            image.finish()
        });
        PyBytes::new(py, &bytes)
    }

    fn copy<'py>(&self, py: Python<'py>, table: &str) -> Bound<'py, PyBytes> {
        let bytes = py.detach(|| {
            let mut copy = PgCopy::default();
            self.visit(Some(table), &mut copy);
            copy.finish()
        });
        PyBytes::new(py, &bytes)
    }
}

#[derive(Default)]
struct Names {
    dimensions: Vec<&'static str>,
    facts: Vec<&'static str>,
}

impl Visitor for Names {
    fn dimension(&mut self, table: &'static DimensionTable, _: &DimensionRows) {
        self.dimensions.push(table.name);
    }

    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        _: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        self.facts.push(table.name);
    }
}

struct Rows<'py>(Python<'py>, Vec<PyResult<Bound<'py, PyTuple>>>);

impl Visitor for Rows<'_> {
    fn dimension(&mut self, _: &'static DimensionTable, rows: &DimensionRows) {
        self.1.extend(rows.iter().map(|row| dimension_row(self.0, row, usize::MAX)));
    }

    fn table<const N: usize>(
        &mut self,
        _: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        self.1.extend(rows.map(|row| PyTuple::new(self.0, row)));
    }
}

struct Integers {
    column: usize,
    values: HashSet<i64>,
}

impl Visitor for Integers {
    fn dimension(&mut self, _: &'static DimensionTable, rows: &DimensionRows) {
        self.values.extend(rows.iter().filter_map(|row| match row.get(self.column) {
            Some(&Value::Int(number)) => Some(number),
            _ => None,
        }));
    }

    fn table<const N: usize>(
        &mut self,
        _: &'static Table<N>,
        _: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
    }
}

/// A row as a tuple; a text of more than `longest` bytes as bytes.
fn dimension_row<'py>(
    py: Python<'py>,
    row: &[Value],
    longest: usize,
) -> PyResult<Bound<'py, PyTuple>> {
    let columns = row.iter().map(|value| match value {
        Value::Null => py.None().into_bound(py),
        Value::Int(number) => int(py, *number),
        Value::Text(text) if text.as_bytes().len() > longest => {
            PyBytes::new(py, text.as_bytes()).into_any()
        }
        Value::Text(text) => PyString::new(py, text.as_str()).into_any(),
        Value::Bytes(data) => PyBytes::new(py, data).into_any(),
    });
    PyTuple::new(py, columns.collect::<Vec<_>>())
}

fn int(py: Python<'_>, value: i64) -> Object<'_> {
    match value.into_pyobject(py) {
        Ok(number) => number.into_any(),
    }
}
