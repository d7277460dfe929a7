//! The record socket -> lines of the spool.

mod drain;
pub mod format_line;

pub use drain::{Drain, Drained};
