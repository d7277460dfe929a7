//! Rows of a database as columns in the form of Apache Arrow.
//!
//! Python gives the driver's rows in pages; their values go from its objects into the buffers at
//! once, so no row or value is kept as an object.

mod column;
mod rows_py;

pub use rows_py::Columns;
