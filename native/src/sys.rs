//! System calls: `poll`, `recvmmsg` and `mmap`, the only unsafe code of the crate.
//!
//! The buffers are owned here, and the kernel uses them only during one call, so no
//! pointer is used after its call.
//!
//! All buffers of a receiver are in one mapping. If that is a shared file, they outlive this
//! process: whoever maps the file next finds what was received and not yet used.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Most datagrams that one call receives.
pub const BATCH: usize = 512;

/// The first bytes of all datagrams are close together, so that a batch of ordinary records stays
/// in the processor's cache; longer datagrams continue in `tails`, which is rarely used.
const HEAD: usize = 512;
/// The kernel's longest message has 8970 bytes (MAX_AUDIT_MESSAGE_LENGTH).
const TAIL: usize = 16 * 1024;

/// The parts of a receiver's mapping: words, struct mmsghdr and struct sockaddr_nl of each slot,
/// heads, tails, and what the caller keeps there.
const WORDS: usize = 4096;
const HEADER_SIZE: usize = size_of::<libc::mmsghdr>();
const HEADERS: usize = WORDS;
const NAMES: usize = HEADERS + BATCH * HEADER_SIZE;
const NAME_SIZE: usize = size_of::<libc::sockaddr_nl>();
const HEADS: usize = NAMES + BATCH * 16;
const TAILS: usize = HEADS + BATCH * HEAD;
const REST: usize = TAILS + BATCH * TAIL;

/// The result of waiting: which descriptors can be read.
#[derive(Clone, Copy, Default)]
pub struct Ready {
    pub first: bool,
    pub second: bool,
}

/// Waits until a descriptor can be read (a negative one is never ready) or until the timeout.
pub fn wait(first: RawFd, second: RawFd, timeout: Duration) -> io::Result<Ready> {
    let mut polled =
        [first, second].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let time = libc::timespec {
        tv_sec: timeout.as_secs().min(1 << 31) as libc::time_t,
        tv_nsec: timeout.subsec_nanos().into(),
    };
    // SAFETY: `polled` and `time` live until the call returns, and the length is that of `polled`.
    let count = unsafe { libc::ppoll(polled.as_mut_ptr(), 2, &time, ptr::null()) };
    if count < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(Ready::default())
        } else {
            Err(error)
        };
    }
    Ok(Ready { first: polled[0].revents != 0, second: polled[1].revents != 0 })
}

/// A received datagram.
pub struct Datagram<'a> {
    pub head: &'a [u8],
    /// Empty unless the datagram is longer than the head.
    pub tail: &'a [u8],
    /// The sender's port, of a netlink socket: 0 is the kernel.
    pub port: u32,
    /// It was longer than both parts together.
    pub cut: bool,
}

#[derive(Clone, Copy)]
struct Slot {
    length: usize,
    port: u32,
    cut: bool,
}

/// Memory that is mapped: of this process alone, or a file that others may map too.
struct Mapping {
    start: *mut u8,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone; it is used through `&self` and `&mut self`.
unsafe impl Send for Mapping {}
// SAFETY: through `&self` it is only read, and words are atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(length: usize, flags: libc::c_int, fd: RawFd) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { start: start.cast(), length })
    }

    /// Has the first bytes in memory, so that the kernel can write there when memory is short and
    /// when this process is being killed: it drops a datagram that it cannot write. Before Linux
    /// 5.14 it does nothing.
    fn populate(&self, length: usize) {
        assert!(length <= self.length);
        // SAFETY: within the mapping; its content stays as it is.
        unsafe { libc::madvise(self.start.cast(), length, libc::MADV_POPULATE_WRITE) };
    }

    fn bytes(&self, at: usize, length: usize) -> &[u8] {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: within the mapping, which lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start.add(at), length) }
    }

    fn bytes_mut(&mut self, at: usize, length: usize) -> &mut [u8] {
        assert!(at.checked_add(length).is_some_and(|end| end <= self.length));
        // SAFETY: within the mapping, which lives as long as `self`, borrowed for writing.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), length) }
    }

    fn word(&self, index: usize) -> &AtomicU64 {
        assert!((index + 1) * 8 <= WORDS);
        // SAFETY: within the first page and aligned; atomic, so that it is never half written.
        unsafe { AtomicU64::from_ptr(self.start.add(index * 8).cast()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole mapping; nothing borrows it any more.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

/// Buffers for one batch, and room behind them.
pub struct Receiver {
    memory: Mapping,
    slots: Vec<Slot>,
}

impl Receiver {
    /// Buffers of this process alone, without room behind them.
    pub fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        Ok(Self::over(Mapping::new(REST, flags, -1)?))
    }

    /// Buffers in a file, which must have `length` bytes and must not shrink.
    pub fn shared(fd: RawFd, length: usize) -> io::Result<Self> {
        if length <= REST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(Self::over(Mapping::new(length, libc::MAP_SHARED, fd)?))
    }

    fn over(memory: Mapping) -> Self {
        memory.populate(TAILS); // without tails, which are rarely used and have 8 MiB
        Receiver { memory, slots: Vec::new() }
    }

    /// The value of a word; all are 0 in a new file.
    pub fn word(&self, index: usize) -> u64 {
        self.memory.word(index).load(Ordering::Acquire)
    }

    /// Sets a word, after all that was written before.
    pub fn set_word(&self, index: usize, value: u64) {
        self.memory.word(index).store(value, Ordering::Release);
    }

    /// Bytes behind the buffers.
    pub fn room(&self) -> usize {
        self.memory.length - REST
    }

    /// Some of those bytes.
    pub fn kept(&self, from: usize, to: usize) -> &[u8] {
        self.memory.bytes(REST + from, to - from)
    }

    /// Writes there.
    pub fn keep(&mut self, at: usize, bytes: &[u8]) {
        self.memory.bytes_mut(REST + at, bytes.len()).copy_from_slice(bytes);
    }

    /// Gives the memory of those bytes back, from a position on; they are 0 afterwards.
    pub fn give_back(&mut self, from: usize) {
        let at = (REST + from).next_multiple_of(4096);
        if at < self.memory.length {
            // SAFETY: within the mapping; the content may be lost.
            unsafe {
                let start = self.memory.start.add(at).cast();
                libc::madvise(start, self.memory.length - at, libc::MADV_REMOVE);
            }
        }
    }

    /// Receives the datagrams that have arrived, without waiting; gives their number.
    pub fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        self.slots.clear();
        self.memory.bytes_mut(HEADERS, BATCH * HEADER_SIZE).fill(0);
        // SAFETY: all zeros is a valid value of these plain C structures.
        let mut parts: [[libc::iovec; 2]; BATCH] = unsafe { std::mem::zeroed() };
        let start = self.memory.start;
        for (slot, part) in parts.iter_mut().enumerate() {
            // SAFETY: by the layout above, all within the mapping; its length was checked.
            unsafe {
                part[0] =
                    libc::iovec { iov_base: start.add(HEADS + slot * HEAD).cast(), iov_len: HEAD };
                part[1] =
                    libc::iovec { iov_base: start.add(TAILS + slot * TAIL).cast(), iov_len: TAIL };
                let header = start.add(HEADERS).cast::<libc::mmsghdr>().add(slot);
                (*header).msg_hdr.msg_name = start.add(NAMES + slot * 16).cast();
                (*header).msg_hdr.msg_namelen = NAME_SIZE as libc::socklen_t;
                (*header).msg_hdr.msg_iov = part.as_mut_ptr();
                (*header).msg_hdr.msg_iovlen = 2;
            }
        }
        // SAFETY: every pointer in the headers points into `parts` or into the mapping, with the
        // given lengths; all of them live until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                start.add(HEADERS).cast(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        self.read_slots(count as usize);
        Ok(self.slots.len())
    }

    /// Finds the datagrams of a batch that another process received and did not use.
    pub fn find(&mut self) {
        self.read_slots(BATCH);
        let count = self.slots.iter().position(|slot| slot.length == 0);
        self.slots.truncate(count.unwrap_or(BATCH));
    }

    fn read_slots(&mut self, count: usize) {
        self.slots.clear();
        for slot in 0..count {
            // SAFETY: plain C structures within the mapping; any bytes are valid values of the
            // members that are read.
            let (header, name) = unsafe {
                let headers = self.memory.start.add(HEADERS).cast::<libc::mmsghdr>();
                let name = self.memory.start.add(NAMES + slot * 16);
                (headers.add(slot).read(), name.cast::<libc::sockaddr_nl>().read())
            };
            let netlink = libc::c_int::from(name.nl_family) == libc::AF_NETLINK;
            self.slots.push(Slot {
                length: (header.msg_len as usize).min(HEAD + TAIL),
                port: if netlink { name.nl_pid } else { 0 },
                cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
    }

    /// The number of datagrams of the last `receive` or `find`.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// One of them.
    pub fn datagram(&self, index: usize) -> Datagram<'_> {
        let slot = &self.slots[index];
        Datagram {
            head: self.memory.bytes(HEADS + index * HEAD, slot.length.min(HEAD)),
            tail: self.memory.bytes(TAILS + index * TAIL, slot.length.saturating_sub(HEAD)),
            port: slot.port,
            cut: slot.cut,
        }
    }
}
