//! The Python class `Decoder`, which `auditsvc.decode.native` wraps.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::decode::{self, Counts, Value};
use crate::output::NativeBatch;

/// Log lines in, rows out; the interpreter lock is released while it decodes.
#[pyclass(module = "auditsvc._native")]
pub struct Decoder(decode::Decoder);

type Object<'py> = Bound<'py, PyAny>;

#[pymethods]
impl Decoder {
    #[new]
    #[pyo3(signature = (secret, host, *, idle, max_open, record_types, trusts_kernel_log))]
    fn new(
        secret: &[u8],
        host: String,
        idle: f64,
        max_open: usize,
        record_types: Vec<(i32, String)>,
        trusts_kernel_log: bool,
    ) -> PyResult<Self> {
        if secret.len() > blake2b_simd::KEYBYTES {
            return Err(PyValueError::new_err("a secret has at most 64 bytes"));
        }
        let secret = secret.to_vec();
        let made = decode::new(secret, host, idle, max_open, record_types, trusts_kernel_log);
        Ok(Decoder(made))
    }

    #[getter]
    fn open_records(&self) -> usize {
        self.0.open_records
    }

    #[getter]
    fn held(&self) -> usize {
        self.0.held()
    }

    fn feed(&mut self, py: Python<'_>, data: &[u8], now: f64) {
        py.detach(|| self.0.feed(data, now));
    }

    fn expire(&mut self, py: Python<'_>, now: f64) {
        py.detach(|| self.0.expire(now));
    }

    fn finish(&mut self, py: Python<'_>) {
        py.detach(|| self.0.finish());
    }

    fn pending<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.pending())
    }

    fn restore(&mut self, pending: &[u8], now: f64) -> PyResult<()> {
        self.0.restore(pending, now).map_err(PyValueError::new_err)
    }

    fn pin(&mut self, table: &str, content: Vec<Object<'_>>, row_id: i64) -> PyResult<()> {
        let content = content.iter().map(value_of).collect::<PyResult<Vec<_>>>()?;
        self.0.rows.dimensions.pin(table, &content, row_id);
        self.0.types.forget();
        Ok(())
    }

    fn forget(&mut self) {
        self.0.rows.dimensions.forget();
        self.0.types.forget();
    }

    /// Gives the parts of a `Batch`: rows, unknown record types, raw lines and counts.
    fn take<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let (facts, raw, counts) = self.0.take();
        let dimensions = std::mem::take(&mut self.0.rows.dimensions.rows);
        self.0.rows.dimensions.held = 0;
        let unknown = std::mem::take(&mut self.0.types.unknown);
        let raw = PyList::new(
            py,
            raw.into_iter().map(|raw| (raw.position, PyBytes::new(py, &raw.line), raw.reason)),
        )?;
        let counts = counts_of(py, &counts)?;
        (NativeBatch::new(facts, dimensions), unknown, raw, counts).into_pyobject(py)
    }
}

fn value_of(object: &Object<'_>) -> PyResult<Value> {
    if object.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Value::from(&*text.to_string()));
    }
    if let Ok(data) = object.cast::<PyBytes>() {
        return Ok(Value::Bytes(data.as_bytes().into()));
    }
    Ok(Value::Int(object.extract()?))
}

fn counts_of<'py>(py: Python<'py>, counts: &Counts) -> PyResult<Bound<'py, PyDict>> {
    let shown = PyDict::new(py);
    shown.set_item("received", counts.received)?;
    shown.set_item("stored", counts.stored)?;
    shown.set_item("end", counts.end)?;
    shown.set_item("raw", counts.raw)?;
    shown.set_item("gap", counts.gap)?;
    shown.set_item("kernel_lost", counts.kernel_lost)?;
    shown.set_item("told_lost", counts.told_lost)?;
    shown.set_item("spool_lost", counts.spool_lost)?;
    Ok(shown)
}
