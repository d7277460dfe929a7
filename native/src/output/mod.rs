//! The rows of a batch in the forms that databases take whole.

mod batch_py;
mod pg_copy;
mod sqlite_image;

pub use batch_py::NativeBatch;
