//! `Facts` as Python sees it: the rows of a batch, in whatever form they are asked for.

use std::collections::HashSet;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use crate::copy::Copy;
use crate::decode::{Batch, Table, Visitor};
use crate::image::Image;

/// Rows of facts that stay here until somebody asks for them one by one.
#[pyclass(module = "auditsvc._native", frozen)]
pub struct Facts(pub Batch);

#[pymethods]
impl Facts {
    /// Names of the tables that have rows.
    #[getter]
    fn tables(&self) -> Vec<&'static str> {
        let mut names = Names(Vec::new());
        self.0.visit(None, &mut names);
        names.0
    }

    fn rows<'py>(&self, py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyList>> {
        let mut rows = Rows(py, Vec::new());
        self.0.visit(Some(table), &mut rows);
        let made = rows.1.into_iter().collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, made)
    }

    fn weights(&self, table: &str) -> Vec<usize> {
        match table {
            "syscall" => self.0.syscalls.iter().map(|row| row.weight).collect(),
            "event" => self.0.events.iter().map(|row| row.weight).collect(),
            _ => Vec::new(),
        }
    }

    #[getter]
    fn count(&self) -> usize {
        self.0.syscalls.len() + self.0.events.len()
    }

    fn ids(&self) -> Vec<i64> {
        let calls = self.0.syscalls.iter().map(|row| row.id);
        calls.chain(self.0.events.iter().map(|row| row.id)).collect()
    }

    fn span(&self) -> Option<(i64, i64)> {
        let ids = self.0.syscalls.iter().map(|row| row.id);
        ids.clone().min().zip(ids.max())
    }

    fn has_call(&self, ids: HashSet<i64>) -> bool {
        self.0.syscalls.iter().any(|row| ids.contains(&row.id))
    }

    fn numbers(&self) -> HashSet<i32> {
        self.0.syscalls.iter().map(|row| row.nr).collect()
    }

    fn pairs(&self, numbers: HashSet<i32>) -> HashSet<(i64, i32)> {
        let asked = self.0.syscalls.iter().filter(|row| numbers.contains(&row.nr));
        asked.map(|row| (row.context, row.nr)).collect()
    }

    fn image<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let made = py.detach(|| {
            let mut image = Image::new();
            self.0.visit(None, &mut image);
            image.finish()
        });
        PyBytes::new(py, &made)
    }

    fn copy<'py>(&self, py: Python<'py>, table: &str) -> Bound<'py, PyBytes> {
        let made = py.detach(|| {
            let mut copy = Copy::default();
            self.0.visit(Some(table), &mut copy);
            copy.finish()
        });
        PyBytes::new(py, &made)
    }
}

struct Names(Vec<&'static str>);

impl Visitor for Names {
    fn table<const N: usize>(
        &mut self,
        table: &'static Table<N>,
        _: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        self.0.push(table.name);
    }
}

struct Rows<'py>(Python<'py>, Vec<PyResult<Bound<'py, PyTuple>>>);

impl Visitor for Rows<'_> {
    fn table<const N: usize>(
        &mut self,
        _: &'static Table<N>,
        rows: impl ExactSizeIterator<Item = [Option<i64>; N]>,
    ) {
        self.1.extend(rows.map(|row| PyTuple::new(self.0, row)));
    }
}
