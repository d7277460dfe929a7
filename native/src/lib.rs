//! The fast path of auditsvc, as the Python module `auditsvc._native`.
//!
//! `Drain` empties the record socket into spool lines, `Decoder` turns lines into rows, `Made`
//! hands these over in the forms that databases take whole. The Python package is the
//! specification: whatever stands here gives what `auditsvc.line` and `auditsvc.decode`
//! give, and one suite of tests holds it there.
//!
//! `unsafe` stands in `sys` alone, around system calls.

mod copy;
mod decode;
mod drain;
mod image;
mod line;
mod made;
mod python;
mod sys;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::drain::{Drain, Drained};
    #[pymodule_export]
    use crate::made::Made;
    #[pymodule_export]
    use crate::python::Decoder;
}
