"""Whether records can be stored: disk space, modes, the store, the settings file, the decoder."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING, Final

from auditsvc.arrow import use
from auditsvc.doctor.finding import DoctorFinding, Level, ok
from auditsvc.errors import AuditsvcError, ConfigError
from auditsvc.host.files import folder_of
from auditsvc.host.processes import name_of
from auditsvc.host.service_user import is_trusted
from auditsvc.native import BUILD_HINT, is_built, native_core
from auditsvc.plural import counted
from auditsvc.runtime.service_state import read_state
from auditsvc.spool.segments import foreign_files
from auditsvc.store import sqlite
from auditsvc.store.databases import parse_url, shown_url, sqlite_file
from auditsvc.store.read.limits import Limits
from auditsvc.store.read.sql import run_query
from auditsvc.store.sqlite import SQLite

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditsvc.config import Settings
    from auditsvc.decode.batch import Row

_OTHERS_WRITE: Final = 0o022
_OTHERS_READ: Final = 0o055
_STORE_RESERVE: Final = 1 << 30
_LONG_SECONDS: Final = 300
_PATIENCE: Final = Limits(seconds=10)

# Sessions that block one of ours; every role may read these, and those of its own role.
_BLOCKING: Final = """
    SELECT DISTINCT b.pid, b.usename, b.application_name
    FROM pg_stat_activity a
    CROSS JOIN LATERAL unnest(pg_blocking_pids(a.pid)) AS blocking(pid)
    JOIN pg_stat_activity b ON b.pid = blocking.pid
    WHERE a.datname = current_database() AND a.application_name = 'auditsvc'"""
_LONG: Final = """
    SELECT pid, usename, application_name FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
        AND application_name <> 'auditsvc'
        AND xact_start < clock_timestamp() - interval '{} seconds'"""


def _free(path: Path) -> int:
    """Bytes free on the disk where this path is or would be made."""
    for each in (path, *path.parents):
        if each.exists():
            return shutil.disk_usage(each).free
    return 0


def spool_room(settings: Settings, free: Callable[[Path], int] = _free) -> DoctorFinding:
    """The spool grows to keep_bytes and one segment, and more while the store is away."""
    name, folder = "disk: spool", settings.spool_directory
    room = free(folder)
    spool = settings.spool
    needed = spool.keep_bytes + spool.segment_bytes + spool.reserve_bytes
    if room >= needed:
        return ok(name, f"{_bytes(room)} free for {folder}")
    level = Level.ERROR if room < 2 * settings.spool.segment_bytes else Level.WARNING
    return DoctorFinding(
        name,
        level,
        f"{_bytes(room)} free for {folder}",
        f"the spool takes up to {_bytes(needed)}; if it cannot be written, records are lost, "
        "and counted as lost",
        "free disk space, or set spool.directory to another disk, or lower spool.keep_bytes",
    )


def spool_names(settings: Settings) -> DoctorFinding:
    """Files among the segments that are not segments."""
    name, folder = "spool: names", settings.spool_directory
    found = foreign_files(folder)
    if not found:
        return ok(name, "every file is a segment")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"{counted(len(found), 'file')} in {folder} with a wrong name, such as {found[0]!r}",
        "they are neither read nor deleted",
        "find out what they are, then move them away",
    )


def store_room(settings: Settings, free: Callable[[Path], int] = _free) -> DoctorFinding:
    """Disk space for an SQLite store."""
    name, path = "disk: store", sqlite_file(settings.store)
    if path is None:
        return ok(name, "the store is not a file of this host")
    room = free(path)
    if room >= _STORE_RESERVE:
        return ok(name, f"{_bytes(room)} free for {path}")
    return DoctorFinding(
        name,
        Level.WARNING,
        f"{_bytes(room)} free for {path}",
        "rows take about 100 bytes per event; if the disk is full they wait in the spool",
        "free disk space, or choose another --store",
    )


def archive(settings: Settings) -> DoctorFinding:
    """Whether the archive's place can be reached and written."""
    name, to = "archive", settings.archive.to
    if to is None:
        return ok(name, "there is none")
    try:
        place = use("auditsvc.archive.place").open_place(settings.archive)
        files = len(place.sizes())
        if place.folder is not None:
            folder_of(place.folder)
            there = next(each for each in (place.folder, *place.folder.parents) if each.exists())
            if not os.access(there, os.W_OK | os.X_OK) or not there.is_dir():
                raise ConfigError(f"{there} cannot be written", "check owner, mode and mount")
    except (AuditsvcError, OSError) as error:
        what = error.what if isinstance(error, AuditsvcError) else f"{to}: {error.strerror}"
        return DoctorFinding(
            name,
            Level.ERROR,
            what,
            "days are not archived, and stay in the store",
            getattr(error, "hint", "") or "see [archive] in the settings",
        )
    return ok(name, f"{counted(files, 'file')} in {to}")


def store(settings: Settings) -> DoctorFinding:
    """Whether the store answers."""
    name, path = "store", sqlite_file(settings.store)
    try:
        if path is not None and not path.exists():
            return DoctorFinding(
                name,
                Level.NOTE,
                f"{path} does not exist yet",
                "nothing was collected yet",
                "auditsvc run creates it",
            )
        if path is not None and not os.access(path, os.R_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        with run_query(settings.store, "SELECT count(*) FROM ledger", _PATIENCE) as rows:
            list(rows)
    except AuditsvcError as error:
        return DoctorFinding(
            name,
            Level.ERROR,
            error.what,
            "rows wait in the spool until the store is available",
            error.hint or "auditsvc migrate, or correct the setting `store`",
        )
    return ok(name, f"answers ({shown_url(settings.store)})")


def loading(settings: Settings) -> DoctorFinding:
    """Whether the running service can store its rows."""
    name = "service: store"
    state = read_state(settings.runtime_directory)
    if state is None:
        return ok(name, "no service runs")
    if not state.store_trouble:
        return ok(name, f"rows are stored ({state.spool_waiting} bytes of log wait)")
    return DoctorFinding(
        name,
        Level.ERROR,
        state.store_trouble,
        f"{state.spool_waiting} bytes of log wait in the spool until they can be stored",
        "see `service` in auditsvc status; fix the store: the service then continues by itself",
    )


def flood(settings: Settings) -> DoctorFinding:
    """Whether the running service drops records because its room is short, and who floods it."""
    name = "service: spool"
    state = read_state(settings.runtime_directory)
    if state is None:
        return ok(name, "no service runs")
    if not state.spool_room and not state.dropped:
        return ok(name, "every record is written")
    who = f"; most were from {state.flood}" if state.flood else ""
    return DoctorFinding(
        name,
        Level.ERROR if state.spool_room else Level.WARNING,
        (state.spool_room or "room was short")
        + f" ({counted(state.dropped, 'record')} since the service started{who})",
        "the ledger counts them as spool_lost; logins, execs, configuration changes and the "
        "records of other users are still written",
        "free disk space, fix the store if rows wait, and see what that user does: "
        "ausearch -ua AUID, or auditsvc query",
    )


def readers(settings: Settings) -> DoctorFinding:
    """Which readers run so long that old rows cannot be cleaned up, or block the writer."""
    name, path = "store: readers", sqlite_file(settings.store)
    if path is None:
        return _sessions(settings, name)
    database = SQLite(parse_url(settings.store))
    if blockers := database.blockers():
        return DoctorFinding(
            name,
            Level.ERROR,
            f"{_named(blockers)} keeps writers of the store out by a lock that SQLite never takes",
            "rows wait in the spool meanwhile; who may read the store's files can do that",
            f"end it: kill {' '.join(map(str, blockers))}; see who may read the store",
        )
    size = database.wal_bytes
    if size <= sqlite.WAL_BOUND:
        return ok(name, f"the write-ahead log has {_bytes(size)}")
    pids = database.readers()
    who = _named(pids) or "unknown"
    return DoctorFinding(
        name,
        Level.WARNING,
        f"the write-ahead log has {_bytes(size)}; its readers: {who}",
        "everything written since a reader began stays in the log, which grows until it ends",
        f"end it: kill {' '.join(map(str, pids))}" if pids else "see who has it open: fuser FILE",
    )


def _named(pids: list[int]) -> str:
    return ", ".join(f"pid {pid} ({name_of(pid)})" for pid in pids)


def _sessions(settings: Settings, name: str) -> DoctorFinding:
    with run_query(settings.store, _BLOCKING, _PATIENCE) as rows:
        blocking = [_session(row) for row in rows]
    if blocking:
        return DoctorFinding(
            name,
            Level.ERROR,
            f"{', '.join(blocking)} blocks a session of ours",
            "rows wait in the spool meanwhile",
            "end it: SELECT pg_terminate_backend(PID)",
        )
    with run_query(settings.store, _LONG.format(_LONG_SECONDS), _PATIENCE) as rows:
        long = [_session(row) for row in rows]
    if long:
        return DoctorFinding(
            name,
            Level.WARNING,
            f"{', '.join(long)} has been in one transaction for more than {_LONG_SECONDS} s",
            "rows deleted or replaced since it began cannot be cleaned up until it ends",
            "end it: SELECT pg_terminate_backend(PID)",
        )
    return ok(name, "no visible session blocks ours")


def _session(row: Row) -> str:
    pid, role, program = row
    return f"pid {pid} ({role or 'an unknown role'}, {program or 'unnamed'})"


def has_password(url: str) -> bool:
    """Whether a store's URL holds a password."""
    try:
        return parse_url(url).password is not None
    except ConfigError:
        return False


def modes(settings: Settings) -> list[DoctorFinding]:
    """Who else may read or change the evidence and the service's state."""
    paths = {
        settings.state_directory: "the evidence",
        settings.spool_directory: "the evidence",
        settings.runtime_directory: "the service's state",
    }
    if (file := sqlite_file(settings.store)) is not None:
        paths[file] = "the evidence"
    found, exists = [], False
    for path, what in paths.items():
        try:
            info = path.stat()
        except FileNotFoundError:
            continue
        exists = True
        mode = stat.S_IMODE(info.st_mode)
        is_foreign = not is_trusted(info.st_uid)
        if is_foreign or mode & _OTHERS_WRITE:
            why = f"belongs to uid {info.st_uid}" if is_foreign else f"has mode {mode:04o}"
            found.append(
                DoctorFinding(
                    "modes",
                    Level.ERROR,
                    f"{path} {why}",
                    f"other users can change {what}",
                    f"chown root {path}; chmod go-w {path}",
                )
            )
        elif mode & _OTHERS_READ and path != settings.runtime_directory:
            found.append(
                DoctorFinding(
                    "modes",
                    Level.NOTE,
                    f"{path} has mode {mode:04o}",
                    f"other users can read {what}, if the modes of its files allow it",
                    f"chmod go= {path}",
                )
            )
    state = "no other user can read or change it" if exists else "nothing is collected yet"
    return found or [ok("modes", state)]


def settings_file(file: Path, secret: bool) -> DoctorFinding:
    """The settings file; `secret`: the store's URL holds a password."""
    name = "settings file"
    try:
        info = file.stat()
    except FileNotFoundError:
        return ok(name, f"{file} does not exist: the defaults are used")
    mode = stat.S_IMODE(info.st_mode)
    if info.st_uid or mode & _OTHERS_WRITE:
        return DoctorFinding(
            name,
            Level.ERROR,
            f"{file} belongs to uid {info.st_uid}, mode {mode:04o}",
            "users other than root can change the service's rules and store",
            f"chown root:root {file}; chmod 600 {file}",
        )
    if secret and mode & 0o044:
        return DoctorFinding(
            name,
            Level.WARNING,
            f"{file} has mode {mode:04o} and holds the store's password",
            "users other than root can read the password, and with it the store",
            f"chmod 600 {file}",
        )
    return ok(name, f"{file}, mode {mode:04o}")


def decoder(settings: Settings) -> DoctorFinding:
    """Which decoder makes the rows."""
    name = "decoder"
    try:
        native = native_core(settings.decoder) is not None
    except AuditsvcError as error:
        return DoctorFinding(
            name, Level.ERROR, error.what, "the service does not start", error.hint
        )
    if native:
        return ok(name, "native")
    chosen = settings.decoder == "reference"
    return DoctorFinding(
        name,
        Level.NOTE if chosen else Level.WARNING,
        f"reference ({'chosen by the setting `decoder`' if chosen else 'no native core'})",
        "it makes the same rows at about a twentieth of the speed",
        "unset `decoder`" if is_built() else BUILD_HINT,
    )


def _bytes(number: int) -> str:
    size = float(number)
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
