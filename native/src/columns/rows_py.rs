//! The class that Python gives rows to, and takes columns from.

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString, PyTuple};

use super::column::{Column, Refused};

/// NULLs, and Arrow's buffers: which values are there (None: all), then values, or ends and bytes.
type Taken<'py> = (usize, Vec<Option<Bound<'py, PyBytes>>>);

/// Rows as columns; see `_native.pyi`.
#[pyclass]
pub struct Columns {
    kinds: String,
    rows: usize,
    columns: Vec<Column>,
}

#[pymethods]
impl Columns {
    #[new]
    fn new(kinds: String) -> PyResult<Self> {
        let columns = empty(&kinds)?;
        Ok(Columns { kinds, rows: 0, columns })
    }

    fn add(&mut self, rows: &Bound<'_, PyList>) -> PyResult<()> {
        for row in rows {
            let row = row.cast::<PyTuple>()?;
            if row.len() != self.columns.len() {
                return Err(PyValueError::new_err("there are not as many values as columns"));
            }
            for (column, value) in self.columns.iter_mut().zip(row) {
                put(column, &value)?;
            }
            self.rows += 1;
        }
        Ok(())
    }

    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<(usize, Vec<Taken<'py>>)> {
        let taken = std::mem::replace(&mut self.columns, empty(&self.kinds)?);
        let rows = std::mem::take(&mut self.rows);
        Ok((rows, taken.into_iter().map(|column| buffers(py, &column)).collect()))
    }
}

fn empty(kinds: &str) -> PyResult<Vec<Column>> {
    kinds.chars().map(Column::new).collect::<Result<_, _>>().map_err(PyValueError::new_err)
}

fn put(column: &mut Column, value: &Bound<'_, PyAny>) -> PyResult<()> {
    if value.is_none() {
        column.add_null();
        return Ok(());
    }
    let result = if let Ok(number) = value.cast::<PyInt>() {
        column.add_integer(number.extract()?)
    } else if let Ok(text) = value.cast::<PyString>() {
        column.add_text(text.to_str()?)
    } else {
        Err(Refused::Kind("a value is neither an integer nor a text"))
    };
    result.map_err(|refused| match refused {
        Refused::Kind(what) => PyValueError::new_err(what),
        Refused::NoRoom => PyOverflowError::new_err("a column has no room"),
    })
}

fn buffers<'py>(py: Python<'py>, column: &Column) -> Taken<'py> {
    match column {
        Column::Integers { valid, values } => {
            let values = values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>();
            (valid.nulls, vec![bits(py, valid.bits()), Some(PyBytes::new(py, &values))])
        }
        Column::Texts { valid, ends, bytes } => {
            let ends = ends.iter().flat_map(|end| end.to_ne_bytes()).collect::<Vec<_>>();
            let texts = [PyBytes::new(py, &ends), PyBytes::new(py, bytes)];
            (valid.nulls, [bits(py, valid.bits())].into_iter().chain(texts.map(Some)).collect())
        }
    }
}

fn bits<'py>(py: Python<'py>, found: Option<&[u8]>) -> Option<Bound<'py, PyBytes>> {
    found.map(|found| PyBytes::new(py, found))
}
