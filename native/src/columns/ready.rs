//! Columns that are made, until Python takes them.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::column::{Column, Columns};

/// Columns by number, and the number of the next ones.
static READY: LazyLock<Mutex<(HashMap<i64, Columns>, i64)>> = LazyLock::new(Mutex::default);

/// Keeps columns; gives their number.
pub fn keep(columns: Columns) -> i64 {
    let mut ready = READY.lock().unwrap_or_else(PoisonError::into_inner);
    let number = ready.1;
    ready.0.insert(number, columns);
    ready.1 += 1;
    number
}

/// NULLs, and Arrow's buffers: which values are there (None: all), then values, or ends and bytes.
type Taken<'py> = (usize, Vec<Option<Bound<'py, PyBytes>>>);

/// Takes the columns with a number: how many rows, and each column.
#[pyfunction]
pub fn take_columns(py: Python<'_>, number: i64) -> PyResult<(usize, Vec<Taken<'_>>)> {
    let found = READY.lock().unwrap_or_else(PoisonError::into_inner).0.remove(&number);
    let Some(found) = found else {
        return Err(PyKeyError::new_err("there are no such columns"));
    };
    let columns = found.columns.into_iter().map(|column| match column {
        Column::Integers { valid, values } => {
            (valid.nulls, vec![bits(py, valid.bits()), Some(integers(py, &values))])
        }
        Column::Texts { valid, ends, bytes } => {
            let ends = ends.iter().flat_map(|end| end.to_ne_bytes()).collect::<Vec<_>>();
            let texts = [PyBytes::new(py, &ends), PyBytes::new(py, &bytes)];
            (valid.nulls, [bits(py, valid.bits())].into_iter().chain(texts.map(Some)).collect())
        }
    });
    Ok((found.rows, columns.collect()))
}

fn bits<'py>(py: Python<'py>, found: Option<&[u8]>) -> Option<Bound<'py, PyBytes>> {
    found.map(|found| PyBytes::new(py, found))
}

fn integers<'py>(py: Python<'py>, values: &[i64]) -> Bound<'py, PyBytes> {
    let bytes = values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
    PyBytes::new(py, &bytes)
}
