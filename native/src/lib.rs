//! The fast path of auditsvc, as the Python module `auditsvc._native`.
//!
//! `Drain` empties the record socket into spool lines, `Decoder` turns lines into rows, `NativeBatch`
//! hands these over in the forms that databases take whole. The Python package is the
//! specification: whatever stands here gives what `auditsvc.record.line` and `auditsvc.decode`
//! give, and one suite of tests holds it there.
//!
//! `unsafe` stands in `sys` alone, around system calls.

mod collect;
mod decode;
mod decoder_py;
mod output;
mod sys;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::collect::{Drain, Drained};
    #[pymodule_export]
    use crate::decoder_py::Decoder;
    #[pymodule_export]
    use crate::output::NativeBatch;
}
