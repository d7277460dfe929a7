//! Rows of SQLite as columns in the form of Apache Arrow, without a Python object a row or value.
//!
//! SQLite calls an aggregate function of ours with each row (`crate::sqlite`); here its values
//! come together, and Python takes the columns when the statement is done.

mod column;
mod ready;

pub use column::{Columns, Value};
pub use ready::{keep, take_columns};
