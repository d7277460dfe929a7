//! Reads the record socket in batches and formats lines, without the interpreter lock.
//!
//! One record is one datagram: a netlink header of 16 bytes, then the text. The header's length
//! counts only the text (kauditd's unicast), so the length that `recvmmsg` gives is used.

use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::format_line;
use crate::sys::{self, BATCH, Receiver};

const HEADER: usize = 16;
/// Types are numbers below this (linux/audit.h ends at 2999).
const TYPES: usize = 4096;
const NO_FD: RawFd = -1;
/// Number of records that should arrive during a pause. Their buffers (about 2.3 kB each) are still
/// in the processor's cache when they are read; with thousands, each is fetched from memory.
const GATHER: u32 = 128;
/// The shortest pause: with shorter ones there would be a wake-up for every few records.
const SHORTEST: Duration = Duration::from_micros(200);
/// Type of the kernel's records about changed rules or settings (AUDIT_CONFIG_CHANGE).
const CONFIG_CHANGE: u16 = 1305;

/// The result of one `collect`.
#[pyclass(frozen, get_all, module = "auditsvc._native")]
pub struct Drained {
    /// Spool lines, each with its newline.
    lines: Py<PyBytes>,
    /// Records in `lines`.
    count: usize,
    /// (type, payload) of messages whose type has no prefix: replies, AUDIT_REPLACE.
    others: Vec<(u16, Py<PyBytes>)>,
    /// How often the socket reported dropped messages (ENOBUFS), or a message was truncated.
    overflows: usize,
    /// Messages discarded because another process sent them, not the kernel.
    forged: usize,
    /// Records in `lines` about changed rules or settings (CONFIG_CHANGE).
    config_changes: usize,
}

#[derive(Default)]
struct Gathered {
    lines: Vec<u8>,
    count: usize,
    others: Vec<(u16, Vec<u8>)>,
    overflows: usize,
    forged: usize,
    config_changes: usize,
}

/// Reads a record socket. `prefixes` gives the beginning of the lines of each record type
/// (`type=SYSCALL msg=`).
#[pyclass(module = "auditsvc._native")]
pub struct Drain {
    fd: RawFd,
    prefixes: Vec<Option<Box<[u8]>>>,
    receiver: Receiver,
    /// The last pause, from which the next one is calculated.
    pause: Duration,
}

#[pymethods]
impl Drain {
    #[new]
    fn new(fd: RawFd, prefixes: HashMap<usize, Vec<u8>>) -> PyResult<Self> {
        let mut table = vec![None; TYPES];
        for (kind, prefix) in prefixes {
            let slot = table.get_mut(kind).ok_or_else(|| {
                PyValueError::new_err(format!("record type {kind}: at most {}", TYPES - 1))
            })?;
            *slot = Some(prefix.into_boxed_slice());
        }
        Ok(Drain { fd, prefixes: table, receiver: Receiver::new(), pause: Duration::MAX })
    }

    /// Waits up to `timeout` seconds for a record. Then repeats, for `hold` seconds or until there
    /// are `max_bytes` of lines: pause for at most `pace` seconds (less at a high input rate), and
    /// read all records that have arrived. Returns at once, with the records so far, when
    /// `wake_fd` can be read.
    #[pyo3(signature = (*, max_bytes, pace, hold, timeout, wake_fd = NO_FD))]
    fn collect(
        &mut self,
        py: Python<'_>,
        max_bytes: usize,
        pace: f64,
        hold: f64,
        timeout: f64,
        wake_fd: RawFd,
    ) -> PyResult<Drained> {
        let (pace, hold, timeout) = (seconds(pace)?, seconds(hold)?, seconds(timeout)?);
        let got = py.detach(|| self.gather(max_bytes, pace, hold, timeout, wake_fd))?;
        Ok(Drained {
            lines: PyBytes::new(py, &got.lines).unbind(),
            count: got.count,
            others: got
                .others
                .iter()
                .map(|(kind, data)| (*kind, PyBytes::new(py, data).unbind()))
                .collect(),
            overflows: got.overflows,
            forged: got.forged,
            config_changes: got.config_changes,
        })
    }
}

impl Drain {
    fn gather(
        &mut self,
        max_bytes: usize,
        pace: Duration,
        hold: Duration,
        timeout: Duration,
        wake_fd: RawFd,
    ) -> io::Result<Gathered> {
        let mut got = Gathered::default();
        let mut ready = sys::wait(self.fd, wake_fd, timeout)?;
        let until = Instant::now() + hold;
        while ready.first || ready.second {
            self.pause = self.pause.clamp(SHORTEST.min(pace), pace);
            let woken = ready.second || sys::wait(NO_FD, wake_fd, self.pause)?.second;
            let before = got.count;
            while got.lines.len() < max_bytes && self.take_batch(&mut got)? {}
            let gathered = u32::try_from(got.count - before).unwrap_or(u32::MAX).max(1);
            // At most half or twice as long, so that a single measurement has little effect.
            let next = self.pause.saturating_mul(GATHER) / gathered;
            self.pause = next.clamp(self.pause / 2, self.pause.saturating_mul(2));
            let left = until.saturating_duration_since(Instant::now());
            if woken || left.is_zero() || got.lines.len() >= max_bytes {
                break;
            }
            ready = sys::wait(self.fd, wake_fd, left)?;
        }
        Ok(got)
    }

    /// Receives one batch; gives whether it was full, so that there may be more records.
    fn take_batch(&mut self, got: &mut Gathered) -> io::Result<bool> {
        let count = match self.receiver.receive(self.fd) {
            Ok(count) => count,
            Err(error) => {
                return match error.raw_os_error() {
                    Some(libc::EAGAIN) => Ok(false),
                    Some(libc::EINTR) => Ok(true),
                    Some(libc::ENOBUFS) => {
                        got.overflows += 1;
                        Ok(true)
                    }
                    _ => Err(error),
                };
            }
        };
        for datagram in self.receiver.datagrams() {
            if datagram.port != 0 {
                got.forged += 1;
                continue;
            }
            got.overflows += usize::from(datagram.cut);
            let Some((header, text)) = datagram.head.split_at_checked(HEADER) else {
                got.others.push((0, datagram.head.to_vec()));
                continue;
            };
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            match self.prefixes.get(usize::from(kind)) {
                Some(Some(prefix)) => {
                    format_line::append(&mut got.lines, prefix, text, datagram.tail);
                    got.count += 1;
                    got.config_changes += usize::from(kind == CONFIG_CHANGE);
                }
                _ => got.others.push((kind, [text, datagram.tail].concat())),
            }
        }
        Ok(count == BATCH)
    }
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
