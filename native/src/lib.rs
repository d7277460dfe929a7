//! The fast path of auditsvc, as the Python module `auditsvc._native`.
//!
//! `Drain` reads the record socket and formats spool lines, `Decoder` turns lines into rows, and
//! `NativeBatch` gives the rows in bulk formats of the databases; `LineChain` hashes lines, and
//! `RowSums` rows. The Python package is the specification: the results are those of
//! `auditsvc.record.line`, `auditsvc.decode`, `auditsvc.evidence.chain` and
//! `auditsvc.evidence.row_digest`, and one test suite tests both.
//!
//! `take_columns` gives rows of SQLite in the form of Arrow (`auditsvc.arrow.table`).
//!
//! `unsafe` is used only in `sys`, for system calls, and in `sqlite`, which SQLite calls.

mod collect;
mod columns;
mod decode;
mod decoder_py;
mod evidence;
mod output;
mod sqlite;
mod sys;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::collect::{Drain, Drained};
    #[pymodule_export]
    use crate::columns::take_columns;
    #[pymodule_export]
    use crate::decoder_py::Decoder;
    #[pymodule_export]
    use crate::evidence::{LineChain, RowSums};
    #[pymodule_export]
    use crate::output::NativeBatch;
}
