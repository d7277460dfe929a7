//! The fast path of auditsvc, as the Python module `auditsvc._native`.
//!
//! `Drain` reads the record socket and formats spool lines, `Decoder` turns lines into rows, and
//! `NativeBatch` gives the rows in bulk formats of the databases; `LineChain` hashes lines, and
//! `RowSums` rows. The Python package is the specification: the results are those of
//! `auditsvc.record.line`, `auditsvc.decode`, `auditsvc.evidence.chain` and
//! `auditsvc.evidence.row_digest`, and one test suite tests both.
//!
//! `Columns` gives rows of a database in the form of Arrow (`auditsvc.arrow.sqlite_rows`).
//!
//! `unsafe` is used only in `sys`, for system calls.

mod collect;
mod columns;
mod decode;
mod decoder_py;
mod evidence;
mod output;
mod sys;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::collect::{Drain, Drained};
    #[pymodule_export]
    use crate::columns::Columns;
    #[pymodule_export]
    use crate::decoder_py::Decoder;
    #[pymodule_export]
    use crate::evidence::{LineChain, RowSums};
    #[pymodule_export]
    use crate::output::NativeBatch;
}
