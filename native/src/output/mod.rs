//! The rows of a batch in the bulk formats of the databases.

mod batch_py;
mod pg_copy;
mod sqlite_image;

pub use batch_py::NativeBatch;
