"""Keeps the record socket open while no service runs, so that the kernel goes on queuing into it.

process   the holder: a process of its own, which keeps descriptors and does nothing else
keeper    what the service uses: systemd's store of descriptors, or a holder
systemd   that store (FDSTORE=1 of sd_notify(3))
client    a holder, from the service's side
"""
