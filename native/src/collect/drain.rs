//! Reads the record socket in batches and formats lines, without the interpreter lock.
//!
//! With a landing (a file in memory that outlives this process) each batch is received there, and
//! its lines are put there, so that a crash at any moment loses nothing that was received:
//!
//!     word 1  STARTED    number of the last batch that was begun
//!     word 2  FORMATTED  number of the last batch whose lines are there << 40 | bytes of lines
//!     word 3  TAKEN      bytes of lines that are in the spool
//!     word 4, 5          the place in the spool behind which lines that are not taken may be
//!
//! One store of FORMATTED makes the lines of a batch valid and the batch itself used.
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

/// The format of a landing; another version takes nothing from it.
const FORMAT: u64 = 0x31_30_44_4e_41_4c_55_41; // "AULAND01"
const MAGIC: usize = 0;
const STARTED: usize = 1;
const FORMATTED: usize = 2;
const TAKEN: usize = 3;
const PLACE: usize = 4;
const LENGTH_BITS: u32 = 40;
/// Room for the lines of one batch, if every byte is escaped.
const LARGEST_BATCH: usize = 48 << 20;
/// Memory of a landing that is kept.
const KEPT: usize = 4 << 20;

/// The result of one `collect`.
#[pyclass(frozen, get_all, module = "auditsvc._native")]
pub struct Drained {
    /// Spool lines, each with its newline.
    lines: Py<PyBytes>,
    /// Records in `lines`.
    count: usize,
    /// (type, payload) of messages whose type has no prefix: replies, AUDIT_REPLACE.
    others: Vec<(u16, Py<PyBytes>)>,
    /// How often the socket reported lost messages (ENOBUFS, EFAULT), or one was truncated.
    overflows: usize,
    /// Messages discarded because another process sent them, not the kernel.
    forged: usize,
    /// Records in `lines` about changed rules or settings (CONFIG_CHANGE).
    config_changes: usize,
}

#[derive(Default)]
struct Gathered {
    /// Lines that are not in a landing.
    lines: Vec<u8>,
    /// Bytes of lines that are.
    landed: usize,
    count: usize,
    others: Vec<(u16, Vec<u8>)>,
    overflows: usize,
    forged: usize,
    config_changes: usize,
}

impl Gathered {
    fn bytes(&self) -> usize {
        self.landed + self.lines.len()
    }
}

/// Reads a record socket. `prefixes` gives the beginning of the lines of each record type
/// (`type=SYSCALL msg=`). `landing`: a sealed file of `room` bytes; what another process left
/// there is in `pending`.
#[pyclass(module = "auditsvc._native")]
pub struct Drain {
    fd: RawFd,
    prefixes: Vec<Option<Box<[u8]>>>,
    receiver: Receiver,
    has_landing: bool,
    /// The last pause, from which the next one is calculated.
    pause: Duration,
}

#[pymethods]
impl Drain {
    #[new]
    #[pyo3(signature = (fd, prefixes, *, landing = NO_FD, room = 0))]
    fn new(
        fd: RawFd,
        prefixes: HashMap<usize, Vec<u8>>,
        landing: RawFd,
        room: usize,
    ) -> PyResult<Self> {
        let mut table = vec![None; TYPES];
        for (kind, prefix) in prefixes {
            let slot = table.get_mut(kind).ok_or_else(|| {
                PyValueError::new_err(format!("record type {kind}: at most {}", TYPES - 1))
            })?;
            *slot = Some(prefix.into_boxed_slice());
        }
        let has_landing = landing != NO_FD;
        let receiver =
            if has_landing { Receiver::shared(landing, room)? } else { Receiver::new()? };
        let mut drain = Drain { fd, prefixes: table, receiver, has_landing, pause: Duration::MAX };
        if has_landing {
            drain.recover();
        }
        Ok(drain)
    }

    /// The lines in the landing that were not `taken`.
    fn pending<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.lines_from(self.receiver.word(TAKEN) as usize))
    }

    /// The place in the spool behind which `pending` lines may be; set before they are written.
    #[getter]
    fn place(&self) -> (u64, u64) {
        (self.receiver.word(PLACE), self.receiver.word(PLACE + 1))
    }

    #[setter]
    fn set_place(&self, place: (u64, u64)) {
        self.receiver.set_word(PLACE, place.0);
        self.receiver.set_word(PLACE + 1, place.1);
    }

    /// All lines so far are in the spool.
    fn taken(&mut self) {
        if !self.has_landing {
            return;
        }
        let (batch, length) = self.formatted();
        self.receiver.set_word(TAKEN, length as u64);
        if length > KEPT {
            self.receiver.give_back(KEPT);
        }
        self.receiver.set_word(FORMATTED, batch << LENGTH_BITS);
        self.receiver.set_word(TAKEN, 0);
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
        let before = if self.has_landing { self.formatted().1 } else { 0 };
        let got = py.detach(|| self.gather(max_bytes, pace, hold, timeout, wake_fd))?;
        let lines = if self.has_landing { self.lines_from(before) } else { &got.lines };
        Ok(Drained {
            lines: PyBytes::new(py, lines).unbind(),
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
    /// The number of the last batch whose lines are in the landing, and the bytes of lines.
    fn formatted(&self) -> (u64, usize) {
        let word = self.receiver.word(FORMATTED);
        (word >> LENGTH_BITS, (word & ((1 << LENGTH_BITS) - 1)) as usize)
    }

    fn lines_from(&self, start: usize) -> &[u8] {
        let (_, length) = self.formatted();
        // While `taken` is interrupted, the length may be 0 already.
        self.receiver.kept(start.min(length), length)
    }

    /// Adds the lines of a batch that another process received and did not format.
    fn recover(&mut self) {
        if self.receiver.word(MAGIC) != FORMAT {
            for word in [STARTED, FORMATTED, TAKEN, PLACE, PLACE + 1] {
                self.receiver.set_word(word, 0);
            }
            self.receiver.set_word(MAGIC, FORMAT);
            return;
        }
        let (batch, _) = self.formatted();
        let started = self.receiver.word(STARTED);
        if started != batch {
            self.receiver.find();
            let mut got = Gathered::default();
            self.format(&mut got);
            self.land(&mut got, started);
        }
        if self.receiver.word(TAKEN) as usize >= self.formatted().1 {
            self.taken(); // it may have been interrupted
        }
    }

    /// Moves the lines of a batch into the landing.
    fn land(&mut self, got: &mut Gathered, batch: u64) {
        let (_, length) = self.formatted();
        self.receiver.keep(length, &got.lines);
        let word = batch << LENGTH_BITS | (length + got.lines.len()) as u64;
        self.receiver.set_word(FORMATTED, word);
        got.landed += got.lines.len();
        got.lines.clear();
    }

    /// Whether the landing has no room for a further batch.
    fn is_full(&self) -> bool {
        self.has_landing && self.formatted().1 + LARGEST_BATCH > self.receiver.room()
    }

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
            while got.bytes() < max_bytes && !self.is_full() && self.take_batch(&mut got)? {}
            let gathered = u32::try_from(got.count - before).unwrap_or(u32::MAX).max(1);
            // At most half or twice as long, so that a single measurement has little effect.
            let next = self.pause.saturating_mul(GATHER) / gathered;
            self.pause = next.clamp(self.pause / 2, self.pause.saturating_mul(2));
            let left = until.saturating_duration_since(Instant::now());
            if woken || left.is_zero() || got.bytes() >= max_bytes || self.is_full() {
                break;
            }
            ready = sys::wait(self.fd, wake_fd, left)?;
        }
        Ok(got)
    }

    /// Receives one batch; gives whether it was full, so that there may be more records.
    fn take_batch(&mut self, got: &mut Gathered) -> io::Result<bool> {
        let batch = self.formatted().0 + 1;
        self.receiver.set_word(STARTED, batch);
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
                    // The kernel took a datagram from the queue and had no memory to put it into.
                    // Of a batch that had begun, it is told by the next call, which may be one of
                    // the next process: the socket keeps it (do_recvmmsg, sk_err).
                    Some(libc::EFAULT) => {
                        got.overflows += 1;
                        Ok(false) // a pause: memory may come back
                    }
                    _ => Err(error),
                };
            }
        };
        self.format(got);
        if self.has_landing {
            self.land(got, batch);
        }
        Ok(count == BATCH)
    }

    /// Formats the datagrams of a batch.
    fn format(&self, got: &mut Gathered) {
        for index in 0..self.receiver.count() {
            let datagram = self.receiver.datagram(index);
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
    }
}

fn seconds(value: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| PyValueError::new_err(error.to_string()))
}
