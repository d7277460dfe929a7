//! The chain over the lines of a segment, as `auditsvc.evidence.chain.ReferenceChain` makes it.

use memchr::memchr;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use sha2::{Digest, Sha256};

/// Bytes of a line's digest that are its tag.
const TAG: usize = 4;

/// SHA-256 over the SHA-256 of each line; the interpreter lock is released while it hashes.
#[pyclass(module = "auditsvc._native")]
pub struct LineChain {
    state: Sha256,
    lines: u64,
    tags: Vec<u8>,
}

#[pymethods]
impl LineChain {
    #[new]
    fn new(start: &[u8]) -> Self {
        LineChain { state: Sha256::new_with_prefix(start), lines: 0, tags: Vec::new() }
    }

    /// The number of lines.
    #[getter]
    fn lines(&self) -> u64 {
        self.lines
    }

    /// Adds complete lines, each with its newline.
    fn update(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        if data.last().is_some_and(|&last| last != b'\n') {
            return Err(PyValueError::new_err("lines end with a newline"));
        }
        py.detach(|| self.add(data));
        Ok(())
    }

    /// The digest of all lines so far; more may follow.
    fn value<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.state.clone().finalize())
    }

    /// The tags of the lines since the last call.
    fn take_tags<'py>(&mut self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let tags = PyBytes::new(py, &self.tags);
        self.tags.clear();
        tags
    }
}

impl LineChain {
    fn add(&mut self, mut data: &[u8]) {
        while let Some(end) = memchr(b'\n', data) {
            let (line, rest) = data.split_at(end + 1);
            let digest = Sha256::digest(line);
            self.state.update(digest);
            self.tags.extend_from_slice(&digest[..TAG]);
            self.lines += 1;
            data = rest;
        }
    }
}
