//! The aggregate function `auditsvc_columns(kinds, value, ...)` of SQLite, as an extension.
//!
//! It gives the number with which Python takes the columns of the rows (`crate::columns`), or
//! NULL if there was no row. `kinds` is a text with a letter for each value, the same in each row.
//!
//! The program's own SQLite calls it, through the table of functions that it gives to whom it
//! loads (https://sqlite.org/loadext.html), so there is one SQLite in the process: a second one
//! would take the locks of the first away when it closes the file.
//!
//! What SQLite points at is used only during the call in which it was given.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::slice;
use std::sync::OnceLock;

use crate::columns::{Columns, Value, keep};

const OK: c_int = 0;
const ERROR: c_int = 1;
const INTEGER: c_int = 1;
const TEXT: c_int = 3;
const NULL: c_int = 5;
/// UTF-8, and not for views and triggers: a file may be another's work.
const FLAGS: c_int = 1 | 0x0008_0000;

type Context = *mut c_void;
type Given = *mut *mut c_void;
type Step = unsafe extern "C" fn(Context, c_int, Given);
type Final = unsafe extern "C" fn(Context);

/// The beginning of `struct sqlite3_api_routines` (sqlite3ext.h), which only grows at its end.
#[repr(C)]
struct Api {
    aggregate_context: unsafe extern "C" fn(Context, c_int) -> *mut c_void,
    _1_to_44: [usize; 44],
    create_function: unsafe extern "C" fn(
        *mut c_void,
        *const c_char,
        c_int,
        c_int,
        *mut c_void,
        Option<Step>,
        Option<Step>,
        Option<Final>,
    ) -> c_int,
    _46_to_79: [usize; 34],
    result_error: unsafe extern "C" fn(Context, *const c_char, c_int),
    _81_to_82: [usize; 2],
    result_int64: unsafe extern "C" fn(Context, i64),
    _84_to_102: [usize; 19],
    value_bytes: unsafe extern "C" fn(*mut c_void) -> c_int,
    _104_to_106: [usize; 3],
    value_int64: unsafe extern "C" fn(*mut c_void) -> i64,
    _108: usize,
    value_text: unsafe extern "C" fn(*mut c_void) -> *const u8,
    _110_to_112: [usize; 3],
    value_type: unsafe extern "C" fn(*mut c_void) -> c_int,
}

/// SQLite's own, which is there as long as the process.
static API: OnceLock<&'static Api> = OnceLock::new();

impl Api {
    /// # Safety
    /// `given` is a value that SQLite has just given, and the result is not used after that call.
    unsafe fn value<'a>(&self, given: *mut c_void) -> Value<'a> {
        // SAFETY: as said above; the text is asked for before its length, as SQLite wants it.
        unsafe {
            match (self.value_type)(given) {
                INTEGER => Value::Integer((self.value_int64)(given)),
                NULL => Value::Null,
                TEXT => {
                    let text = (self.value_text)(given);
                    let length = usize::try_from((self.value_bytes)(given)).unwrap_or(0);
                    if text.is_null() {
                        return Value::Other;
                    }
                    Value::Text(slice::from_raw_parts(text, length))
                }
                _ => Value::Other,
            }
        }
    }
}

/// SQLite calls it when it loads this library.
///
/// # Safety
/// The arguments are those of an extension's entry point.
#[unsafe(no_mangle)]
unsafe extern "C" fn sqlite3_extension_init(
    connection: *mut c_void,
    _message: *mut *mut c_char,
    table: *const Api,
) -> c_int {
    // SAFETY: SQLite gives its own table of functions.
    let api = API.get_or_init(|| unsafe { &*table });
    if !std::ptr::eq(*api, table) {
        return ERROR; // of another SQLite in this process
    }
    let (any, none) = (-1, std::ptr::null_mut());
    let name = c"auditsvc_columns".as_ptr();
    // SAFETY: the connection is SQLite's, and the functions are of the kind that it calls.
    let made = unsafe {
        (api.create_function)(connection, name, any, FLAGS, none, None, Some(step), Some(end))
    };
    if made == OK { OK } else { ERROR }
}

/// # Safety
/// The arguments are those of an aggregate function's step.
unsafe extern "C" fn step(context: Context, count: c_int, given: Given) {
    let Some(api) = API.get() else { return };
    let size = c_int::try_from(size_of::<*mut Columns>()).unwrap_or(0);
    // SAFETY: SQLite gives room for a pointer, which is null at first and ours alone; and `count`
    // values, for the time of this call.
    let result = unsafe {
        let place = (api.aggregate_context)(context, size).cast::<*mut Columns>();
        let values = slice::from_raw_parts(given, usize::try_from(count).unwrap_or(0));
        catch_unwind(AssertUnwindSafe(|| add(api, place, values)))
    };
    if let Err(message) = result.unwrap_or(Err("the columns could not be made")) {
        fail(api, context, message);
    }
}

/// # Safety
/// As for `step`.
unsafe fn add(
    api: &Api,
    place: *mut *mut Columns,
    given: &[*mut c_void],
) -> Result<(), &'static str> {
    let Some((&kinds, given)) = given.split_first() else {
        return Err("auditsvc_columns needs the kinds of columns");
    };
    // SAFETY: as for `step`; `end` gives the columns free.
    unsafe {
        if place.is_null() {
            return Err("there is no memory");
        }
        if (*place).is_null() {
            let Value::Text(kinds) = api.value(kinds) else {
                return Err("auditsvc_columns needs the kinds of columns");
            };
            *place = Box::into_raw(Box::new(Columns::new(kinds)?));
        }
        (**place).add(given.iter().map(|&each| api.value(each)))
    }
}

/// # Safety
/// The argument is that of an aggregate function's end.
unsafe extern "C" fn end(context: Context) {
    let Some(api) = API.get() else { return };
    // SAFETY: where there was a step, the pointer is that of `add` or null; it is used once.
    unsafe {
        let place = (api.aggregate_context)(context, 0).cast::<*mut Columns>();
        if !place.is_null() && !(*place).is_null() {
            let columns = Box::from_raw(*place);
            (api.result_int64)(context, keep(*columns));
        }
    }
}

fn fail(api: &Api, context: Context, message: &str) {
    let length = c_int::try_from(message.len()).unwrap_or(0);
    // SAFETY: SQLite copies the text.
    unsafe { (api.result_error)(context, message.as_ptr().cast(), length) }
}
