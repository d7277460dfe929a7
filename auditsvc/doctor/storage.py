"""Whether what is collected can be kept: room, modes, the store, the settings file, the decoder."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from auditsvc.doctor.finding import Finding, Level, ok
from auditsvc.errors import AuditsvcError
from auditsvc.native import is_built, native_core
from auditsvc.runtime.service_state import read_state
from auditsvc.spool.segments import strangers
from auditsvc.store.read.sql import run_query

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.config import Settings

_OTHERS_WRITE: Final = 0o022
_OTHERS_READ: Final = 0o055
_STORE_RESERVE: Final = 1 << 30


def _free(path: Path) -> int:
    """Bytes that are free where this path is or would be made."""
    for each in (path, *path.parents):
        if each.exists():
            return shutil.disk_usage(each).free
    return 0


def spool_room(settings: Settings, free: Callable[[Path], int] = _free) -> Finding:
    """The spool may grow to keep_bytes and one segment, and further while the store is away."""
    name, folder = "disk: spool", settings.spool_directory
    room = free(folder)
    needed = settings.spool.keep_bytes + settings.spool.segment_bytes
    if room >= needed:
        return ok(name, f"{_bytes(room)} free for {folder}")
    level = Level.ERROR if room < 2 * settings.spool.segment_bytes else Level.WARNING
    return Finding(
        name,
        level,
        f"{_bytes(room)} free for {folder}",
        f"the spool takes up to {_bytes(needed)}; where it cannot be written, records are counted "
        "and lost",
        "make room, or set spool.directory to another disk, or spool.keep_bytes lower",
    )


def spool_names(settings: Settings) -> Finding:
    """What lies among the segments and is none."""
    name, folder = "spool: names", settings.spool_directory
    found = strangers(folder)
    if not found:
        return ok(name, "every file that looks like a segment is one")
    return Finding(
        name,
        Level.WARNING,
        f"{len(found)} files in {folder} have a name that is no segment's, such as {found[0]!r}",
        "they are neither read nor deleted",
        "see what they are, then take them away",
    )


def store_room(settings: Settings, free: Callable[[Path], int] = _free) -> Finding:
    """Room for an SQLite store."""
    name, path = "disk: store", sqlite_file(settings.store)
    if path is None:
        return ok(name, "the store is not a file of this host")
    room = free(path)
    if room >= _STORE_RESERVE:
        return ok(name, f"{_bytes(room)} free for {path}")
    return Finding(
        name,
        Level.WARNING,
        f"{_bytes(room)} free for {path}",
        "rows take about 100 bytes an event; on a full disk they wait in the spool",
        "make room, or name another --store",
    )


def store(settings: Settings) -> Finding:
    """Whether the store answers."""
    name, path = "store", sqlite_file(settings.store)
    try:
        if path is not None and not path.exists():
            return Finding(
                name,
                Level.NOTE,
                f"there is no {path} yet",
                "nothing was collected into it",
                "auditsvc run makes it",
            )
        if path is not None and not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        with run_query(settings.store, "SELECT count(*) FROM ledger") as rows:
            list(rows)
    except AuditsvcError as error:
        return Finding(
            name,
            Level.ERROR,
            error.what,
            "rows wait in the spool until the store takes them",
            error.hint or "auditsvc migrate, or correct the setting `store`",
        )
    return ok(name, f"answers ({make_url(settings.store).render_as_string(hide_password=True)})")


def loading(settings: Settings) -> Finding:
    """Whether the running service gets its rows into the store."""
    name = "service: store"
    state = read_state(settings.runtime_directory)
    if state is None:
        return ok(name, "no service runs")
    if not state.store_trouble:
        return ok(name, f"takes rows ({state.spool_waiting} bytes of log wait)")
    return Finding(
        name,
        Level.ERROR,
        state.store_trouble,
        f"{state.spool_waiting} bytes of log wait in the spool, which keeps them until the store "
        "takes them",
        "see `service` in auditsvc status; mend the store: the service tries again by itself",
    )


def sqlite_file(url: str) -> Path | None:
    """Give the file of an SQLite URL; None for another database."""
    try:
        parts = make_url(url)
    except ArgumentError:
        return None
    if parts.get_backend_name() != "sqlite" or not parts.database:
        return None
    return Path(parts.database)


def has_password(url: str) -> bool:
    """Whether a store's URL holds a password."""
    try:
        return make_url(url).password is not None
    except ArgumentError:
        return False


def modes(settings: Settings) -> list[Finding]:
    """Who else may read or change the evidence and what the service believes."""
    paths = {
        settings.state_directory: "the evidence",
        settings.spool_directory: "the evidence",
        settings.runtime_directory: "what the service believes of the kernel",
    }
    if (file := sqlite_file(settings.store)) is not None:
        paths[file] = "the evidence"
    found, there = [], False
    for path, what in paths.items():
        try:
            info = path.stat()
        except FileNotFoundError:
            continue
        there = True
        mode = stat.S_IMODE(info.st_mode)
        if info.st_uid or mode & _OTHERS_WRITE:
            why = f"belongs to uid {info.st_uid}" if info.st_uid else f"has mode {mode:04o}"
            found.append(
                Finding(
                    "modes",
                    Level.ERROR,
                    f"{path} {why}",
                    f"others than root can change {what}",
                    f"chown root {path}; chmod go-w {path}",
                )
            )
        elif mode & _OTHERS_READ and path != settings.runtime_directory:
            found.append(
                Finding(
                    "modes",
                    Level.NOTE,
                    f"{path} has mode {mode:04o}",
                    f"others than root can read {what}, where the files in it let them",
                    f"chmod go= {path}",
                )
            )
    well = "no one but root can read or change it" if there else "nothing is collected yet"
    return found or [ok("modes", well)]


def settings_file(file: Path, secret: bool) -> Finding:
    """The settings' file; `secret`: the store's URL holds a password."""
    name = "settings file"
    try:
        info = file.stat()
    except FileNotFoundError:
        return ok(name, f"there is no {file}: the defaults hold")
    mode = stat.S_IMODE(info.st_mode)
    if info.st_uid or mode & _OTHERS_WRITE:
        return Finding(
            name,
            Level.ERROR,
            f"{file} belongs to uid {info.st_uid}, mode {mode:04o}",
            "others than root can turn the service away from its rules and its store",
            f"chown root:root {file}; chmod 600 {file}",
        )
    if secret and mode & 0o044:
        return Finding(
            name,
            Level.WARNING,
            f"{file} has mode {mode:04o} and holds the store's password",
            "others than root can read it, and with it the store",
            f"chmod 600 {file}",
        )
    return ok(name, f"{file}, mode {mode:04o}")


def decoder(settings: Settings) -> Finding:
    """Which decoder makes the rows."""
    name = "decoder"
    try:
        native = native_core(settings.decoder) is not None
    except AuditsvcError as error:
        return Finding(name, Level.ERROR, error.what, "the service does not start", error.hint)
    if native:
        return ok(name, "native")
    why = "chosen by the setting `decoder`" if is_built() else "the native core was not built"
    return Finding(
        name,
        Level.NOTE,
        f"reference ({why})",
        "it makes the same rows at about a twentieth of the speed",
        "unset `decoder`" if is_built() else "install cargo, then build the package again",
    )


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
