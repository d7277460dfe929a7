"""Opens trusted files, and refuses files whose content another user can change.

These conditions are checked on the open descriptor before any byte is read or written:

* It is a regular file, not a symbolic link, and has one name (link count 1).
* Its owner is root, the user of this process or that of the service
  (`auditsvc.host.service_user`), and nobody else may write it.
* Nobody else may replace it: the same holds for every folder above it, and for every
  symbolic link in the path. In a sticky folder (/tmp) everybody may make files, but only
  their owners may replace them.

Only these can change any of this, so it still holds after the check.
`UnsafeError` is an OSError: its `strerror` says what is wrong and how to fix it. Missing
folders are made with access for their owner only, whatever the umask is. What root makes in a
folder of the service's user belongs to that user.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from auditsvc.host.service_user import give_to_owner_of, is_trusted

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINKS: Final = 40  # path_resolution(7)
_DESCRIPTOR: Final = re.compile(r"/dev/stdin|/(dev|proc/self)/fd/[0-9]+")


class UnsafeError(OSError):
    """Another user may change or replace the file."""


def open_file(path: Path, flags: int = os.O_RDONLY) -> int:
    """Open a file and give its descriptor; with O_CREAT a missing file is made, mode 0600.

    UnsafeError, or another OSError.
    """
    real = folder_of(path) / path.name
    # O_NONBLOCK: opening a pipe instead of a file must not block.
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = _open_or_make(real, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _unsafe(path, "is a symbolic link: give the path that it points to") from error
        raise
    try:
        _check_file(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _open_or_make(real: Path, flags: int) -> int:
    if not flags & os.O_CREAT:
        return os.open(real, flags)
    try:
        descriptor = os.open(real, flags | os.O_EXCL, 0o600)
    except FileExistsError:
        if flags & os.O_EXCL:
            raise
        return os.open(real, flags, 0o600)
    return _given(descriptor, real.parent)


def _given(descriptor: int, folder: Path) -> int:
    try:
        give_to_owner_of(os.lstat(folder), descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_file(path: Path, most: int | None = None) -> bytes:
    """Read a file, at most `most` bytes."""
    with os.fdopen(open_file(path), "rb") as stream:
        return stream.read() if most is None else stream.read(most)


def read_named(path: Path, most: int) -> bytes:
    """Read a path that the user named, as `read_file` does; it may be a pipe or a descriptor.

    /dev/stdin and /dev/fd/N are not checked: the caller of this program opened them.
    """
    if _DESCRIPTOR.fullmatch(str(path)):
        with path.open("rb") as stream:
            return stream.read(most)
    real = folder_of(path) / path.name
    info = os.lstat(real)
    if not stat.S_ISFIFO(info.st_mode):
        return read_file(path, most)
    _check_owner(info, path)
    with real.open("rb") as stream:
        return stream.read(most)


def check_exists(path: Path, *, links: bool = False) -> bool:
    """Check a file that another program will open by name; False if it does not exist.

    With `links` it may have several names (hard links).
    """
    try:
        real = folder_of(path) / path.name
        # O_PATH needs no read permission, and opens a symbolic link itself.
        descriptor = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        _check_file(os.fstat(descriptor), path, links=links)
    finally:
        os.close(descriptor)
    return True


def make_folder(path: Path) -> Path:
    """Make a folder and the missing folders above it, mode 0700; gives its real path."""
    if not path.is_dir():
        make_folder(path.parent)
        with suppress(FileExistsError):
            path.mkdir(0o700)
            path.chmod(0o700)  # the umask may have cleared the owner's bits
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(_given(os.open(path, flags), path.parent))
    return _walk(path)


def folder_of(path: Path) -> Path:
    """Check the folders above a path; gives the real path of its parent folder."""
    return _walk(path.parent)


def replace_file(path: Path, text: str, *, sync: bool = False) -> None:
    """Replace a file, mode 0600: it holds the old text or the new one; OSError if that fails.

    A missing folder is made. For one process at a time. With `sync` this holds after a
    power failure too.
    """
    folder = make_folder(path.parent)
    with suppress(FileNotFoundError):
        _check_file(os.lstat(folder / path.name), path)
    temporary = folder / f".{path.name}.new"
    temporary.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    with errors_of(path), os.fdopen(descriptor, "w") as stream:
        os.fchmod(descriptor, 0o600)
        give_to_owner_of(os.lstat(folder), descriptor)
        stream.write(text)
        if sync:
            stream.flush()
            os.fdatasync(descriptor)
    temporary.replace(folder / path.name)


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Have an OSError of what is done with a descriptor (a full disk) name its file, too."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def _walk(path: Path) -> Path:
    """Resolve the path of a folder as path_resolution(7) does, and check each step."""
    steps = [*reversed(PurePath(os.getcwd(), path).parts[1:])]  # noqa: PTH109 - for PurePath
    at, links = Path("/"), 0
    _check_folder(os.lstat(at), at)
    while steps:
        name = steps.pop()
        if name == "..":
            at = at.parent
            continue
        entry = at / name
        info = os.lstat(entry)
        if stat.S_ISLNK(info.st_mode):
            _check_owner(info, entry)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = PurePath(os.readlink(entry))  # noqa: PTH115 - for PurePath
            at = Path("/") if target.is_absolute() else at
            steps += reversed(target.parts[target.is_absolute() :])
            continue
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(entry))
        _check_folder(info, entry)
        at = entry
    return at


def _check_folder(info: os.stat_result, path: Path) -> None:
    _check_owner(info, path, f"in the folder {path}")
    if _others_write(info) and not info.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(info.st_mode)
        raise _unsafe(
            path, f"others may replace files in {path} (mode {mode:04o}): chmod go-w {path}"
        )


def _check_file(info: os.stat_result, path: Path, *, links: bool = False) -> None:
    if stat.S_ISLNK(info.st_mode):
        raise _unsafe(path, "is a symbolic link: give the path that it points to")
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(info.st_mode):
        raise _unsafe(path, "is not a regular file: remove it")
    _check_owner(info, path)
    if _others_write(info):
        mode = stat.S_IMODE(info.st_mode)
        raise _unsafe(path, f"others may write it (mode {mode:04o}): chmod go-w {path}")
    if info.st_nlink > 1 and not links:
        raise _unsafe(path, f"has {info.st_nlink} names (hard links): replace it with a copy")


def _check_owner(info: os.stat_result, path: Path, where: str = "") -> None:
    if is_trusted(info.st_uid) or (where and _is_unmapped(info.st_uid)):
        return
    raise _unsafe(
        path, f"uid {info.st_uid} may change what is {where or 'in it'}: chown root {path}"
    )


def _others_write(info: os.stat_result) -> bool:
    """Whether users other than the owner may write; a user's own group does not count."""
    if info.st_mode & stat.S_IWOTH:
        return True
    own = os.geteuid() != 0 and info.st_gid == os.getegid()
    return bool(info.st_mode & stat.S_IWGRP) and not own


def _is_unmapped(uid: int) -> bool:
    """Whether a uid is not mapped: in a user namespace the host's root has no uid."""
    if Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]:
        return False
    return uid == int(Path("/proc/sys/kernel/overflowuid").read_text())


def _unsafe(path: Path, what: str) -> UnsafeError:
    return UnsafeError(errno.EPERM, what, str(path))
