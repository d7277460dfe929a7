//! System calls: `poll` and `recvmmsg`, the only unsafe code of the crate.
//!
//! The buffers are owned here, and the kernel uses them only during one call, so no
//! pointer is used after its call.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

/// Most datagrams that one call receives.
pub const BATCH: usize = 512;

/// The first bytes of all datagrams are close together, so that a batch of ordinary records stays
/// in the processor's cache; longer datagrams continue in `tails`, which is rarely used.
const HEAD: usize = 512;
/// The kernel's longest message has 8970 bytes (MAX_AUDIT_MESSAGE_LENGTH).
const TAIL: usize = 16 * 1024;

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

/// Buffers for one batch.
pub struct Receiver {
    heads: Vec<u8>,
    tails: Vec<u8>,
    slots: Vec<Slot>,
}

impl Receiver {
    pub fn new() -> Self {
        Receiver { heads: vec![0; BATCH * HEAD], tails: vec![0; BATCH * TAIL], slots: Vec::new() }
    }

    /// Receives the datagrams that have arrived, without waiting; gives their number.
    pub fn receive(&mut self, fd: RawFd) -> io::Result<usize> {
        self.slots.clear();
        // SAFETY: all zeros is a valid value of these plain C structures.
        let mut names: [libc::sockaddr_nl; BATCH] = unsafe { std::mem::zeroed() };
        let mut parts: [[libc::iovec; 2]; BATCH] = unsafe { std::mem::zeroed() };
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { std::mem::zeroed() };
        let heads = self.heads.chunks_exact_mut(HEAD);
        let tails = self.tails.chunks_exact_mut(TAIL);
        for ((((header, name), part), head), tail) in
            headers.iter_mut().zip(&mut names).zip(&mut parts).zip(heads).zip(tails)
        {
            part[0] = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: HEAD };
            part[1] = libc::iovec { iov_base: tail.as_mut_ptr().cast(), iov_len: TAIL };
            header.msg_hdr.msg_name = ptr::from_mut(name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part.as_mut_ptr();
            header.msg_hdr.msg_iovlen = 2;
        }
        // SAFETY: every pointer in `headers` points into a local array or into buffers that `self`
        // owns, with the given lengths; all of them live until the call returns.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        for (header, name) in headers.iter().zip(&names).take(count as usize) {
            let netlink = libc::c_int::from(name.nl_family) == libc::AF_NETLINK;
            self.slots.push(Slot {
                length: (header.msg_len as usize).min(HEAD + TAIL),
                port: if netlink { name.nl_pid } else { 0 },
                cut: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            });
        }
        Ok(self.slots.len())
    }

    /// The datagrams of the last `receive`.
    pub fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        let buffers = self.heads.chunks_exact(HEAD).zip(self.tails.chunks_exact(TAIL));
        self.slots.iter().zip(buffers).map(|(slot, (head, tail))| Datagram {
            head: &head[..slot.length.min(HEAD)],
            tail: &tail[..slot.length.saturating_sub(HEAD)],
            port: slot.port,
            cut: slot.cut,
        })
    }
}
