//! What proves the log and its rows, as `auditsvc.evidence` does.

mod chain;
mod row_sums;

pub use chain::LineChain;
pub use row_sums::RowSums;
