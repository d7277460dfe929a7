"""Copies of an SQLite store: one of a store that is written to, and one put in its place.

    backup(url, file)    -> Copy(path, bytes, newest)
    restore(file, url)   -> Restored: the copy, the files of the store that was there, what is wrong

Invariants: a copy is the store at one moment, between two transactions; no writer waits for it.
A file has its name only when it is complete, its pages are whole, and it is on the disk. An
existing file is never overwritten: `backup` refuses it, `restore` moves the old store aside. Files
have mode 0600.

A store in PostgreSQL is copied by the server's own programs; StoreError names the command.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from auditsvc.decode.ids import SERIAL_BITS
from auditsvc.errors import StoreError, UsageError, of_system
from auditsvc.host.files import UnsafeError, folder_of, make_folder, open_file
from auditsvc.plural import counted
from auditsvc.store.check import FILE, SCHEMA, check
from auditsvc.store.databases import file_url, parse_url
from auditsvc.store.migrate import REVISION, revisions
from auditsvc.store.sqlite import APPLICATION_ID, SQLite
from auditsvc.store.sqlite_errors import damaged

if TYPE_CHECKING:
    from pathlib import Path

_GIVE: Final = "give a file that `auditsvc backup` made"
_OLDER: Final = "only its pages were checked, as its schema is an older one"
_PAGES: Final = 4096
"""Pages of one step; signals are seen between two."""
_INSTRUCTIONS: Final = 1_000_000
"""Of SQLite's, between two looks at signals while pages are checked."""
_BESIDE: Final = ("-wal", "-shm", "-journal")
"""Files that belong to a store's file, by the end of their name (sqlite.org/tempfiles.html)."""


Tell = Callable[[str, float | None], None]
"""Gets what is being done, and the share that is done; None if that is not known."""


class Copy(NamedTuple):
    """A complete copy of a store."""

    path: Path
    bytes: int
    newest: int | None
    """Second (since 1970) of its newest event; None if it has none."""


class Restored(NamedTuple):
    """What `restore` did."""

    copy: Copy
    moved: list[Path]
    """The files of the store that was there, by their new names."""
    problems: list[str]
    """What is wrong with the copy, or could not be checked; taken all the same."""


def backup(url: str, target: Path, tell: Tell = lambda _what, _share: None) -> Copy:
    """Copy the store into a new file.

    StoreError; UsageError if the file exists already, or its folder does not: a backup goes to a
    disk of its own, and in the place of one that is not mounted it would fill another.
    """
    database = _sqlite(url, "pg_dump --format=custom --file=FILE")
    database.prepare(create=False)
    if os.path.lexists(target):
        raise UsageError(f"{target} exists already", "give the name of a new file")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", "make it, or give another file")
    with closing(_open(database)) as source:
        return _copy(source, database, target, tell, is_checked=False)


def restore(
    backup_file: Path,
    url: str,
    *,
    replace: bool,
    take_damaged: bool = False,
    tell: Tell = lambda _what, _share: None,
) -> Restored:
    """Put a copy where the store is to be.

    `replace`: a store that is there, whole or damaged, is moved aside; without it, UsageError.
    StoreError if the copy is not a store of auditsvc, its pages are damaged, or `check` finds
    anything else wrong with it; the last is taken with `take_damaged`.
    """
    database = _sqlite(url, "pg_restore --exit-on-error --dbname=URL FILE, into a new database")
    target = database.path
    if target.is_symlink():
        # It would stand where the link is, on another disk than the store that the link names.
        raise UsageError(f"{target} is a symbolic link", "give the path that it points to")
    if target.exists() and not target.is_file():
        raise UsageError(f"{target} is not a regular file", "give another path to --store")
    if target.exists() and not replace:
        raise UsageError(
            f"{target} exists already", "with --replace it is moved aside, under another name"
        )
    _check_named(backup_file)
    copy = SQLite(parse_url(file_url(backup_file)), read=True)
    copy.prepare(create=False)
    with closing(_open(copy)) as source:
        tell(f"checking {backup_file}", None)
        revision = _revision(source, copy)
        if revision in revisions()[:-1]:
            _check_pages(source, copy)
            problems = [f"{_OLDER} ({revision}): `auditsvc migrate`, then `auditsvc check`"]
        else:
            problems = _check_all(backup_file, tell, take_damaged=take_damaged)
        restored = target.with_name(f"{target.name}.restored")
        made = _copy(source, copy, restored, tell, is_checked=True)
    moved = _move_aside(target)
    made.path.replace(target)
    _sync_folder(target)
    return Restored(made._replace(path=target), moved, problems)


def _check_named(backup_file: Path) -> None:
    """Refuse what is no backup at all; what is told of a store would not help here."""
    try:
        info = backup_file.stat()
    except OSError as error:
        raise UsageError(f"{backup_file}: {error.strerror}", _GIVE) from error
    if not stat.S_ISREG(info.st_mode):
        raise UsageError(f"{backup_file} is not a regular file", _GIVE)
    if not info.st_size:
        raise StoreError(f"{backup_file} is empty", _GIVE)


def _sqlite(url: str, command: str) -> SQLite:
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise UsageError(
            f"the store {parsed.render_as_string()} is kept by a PostgreSQL server",
            f"use its own programs: {command} (see docs/backup.md)",
        )
    return SQLite(parsed, read=True)


def _open(database: SQLite) -> sqlite3.Connection:
    try:
        return database.open_reader()
    except sqlite3.Error as error:
        raise database.explain(error) from error


def _revision(source: sqlite3.Connection, database: SQLite) -> str | None:
    """Give the revision of a copy's schema; refuse one that is damaged or none of ours."""
    try:
        (application,) = source.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            raise StoreError(f"{database.place} is not a store of auditsvc", "give another file")
        (revision,) = source.execute(REVISION).fetchone()
    except sqlite3.Error as error:
        raise database.explain(error) from error
    return None if revision is None else str(revision)


def _check_pages(source: sqlite3.Connection, database: SQLite) -> None:
    try:
        (said,) = source.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise database.explain(error) from error
    if said != "ok":
        raise StoreError(f"{database.place} is damaged: {said}", "give another backup")


def _check_all(backup_file: Path, tell: Tell, *, take_damaged: bool) -> list[str]:
    """Refuse a copy in which `check` finds something wrong; gives what was taken all the same.

    That are views of another version, too: who opens the store makes its own, or refuses it.
    """
    url = file_url(backup_file)
    found = [each for each in check(url, tell) if each.problem]
    is_whole = FILE not in {each.what for each in found}
    refused = [each for each in found if each.what != SCHEMA]
    if not refused or (is_whole and take_damaged):
        return [f"{each.what}: {each.problem}" for each in found]
    what, problem = refused[0]
    others = f"; and {counted(len(refused) - 1, 'other check')} failed" if refused[1:] else ""
    hint = f"give another backup; `auditsvc check --store {url}` shows all"
    if is_whole:
        hint += "; --damaged takes it as it is"
    raise StoreError(f"{backup_file} is damaged: {what}: {problem}{others}", hint)


def _check_copy(part: Path, database: SQLite) -> None:
    """Refuse pages that were damaged in the store: a backup of them would be none."""
    with closing(sqlite3.connect(part)) as connection:
        # Python runs signal handlers only between its own steps, and so in this one.
        connection.set_progress_handler(lambda: 0, _INSTRUCTIONS)
        try:
            (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error  # which SQLite took for its own
            raise
    if said != "ok":
        raise damaged(database.place)


def _copy(
    source: sqlite3.Connection,
    database: SQLite,
    target: Path,
    tell: Tell,
    *,
    is_checked: bool,
) -> Copy:
    part = target.with_name(f".{target.name}.part")
    try:
        folder_of(part.parent)
        make_folder(part.parent)
        part.unlink(missing_ok=True)  # of a command that was killed
        # The mode counts from the first byte on; SQLite itself would use the umask.
        os.close(open_file(part, os.O_CREAT | os.O_EXCL | os.O_RDWR))
        newest = _fill(source, part, tell)
        if not is_checked:
            tell("checking the copy", None)
            _check_copy(part, database)
        tell("writing it to the disk", None)
        _sync(part)
        part.replace(target)
        _sync_folder(target)
        return Copy(target, target.stat().st_size, newest)
    except sqlite3.Error as error:
        raise database.explain(error) from error
    except UnsafeError as error:
        raise StoreError(of_system(error)) from error
    except OSError as error:
        raise StoreError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        for end in ("", *_BESIDE):
            part.with_name(f"{part.name}{end}").unlink(missing_ok=True)


def _fill(source: sqlite3.Connection, part: Path, tell: Tell) -> int | None:
    """Copy all pages; gives the second of the newest event."""
    # The first read fixes the moment. In an open transaction the steps see no later commit, so
    # the copy does not begin again with each (sqlite.org/c3ref/backup_finish.html).
    source.execute("BEGIN")
    found = source.execute("SELECT max(id) FROM syscall UNION ALL SELECT max(id) FROM event")
    newest = max((each for (each,) in found.fetchall() if each is not None), default=None)
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    (size,) = source.execute("PRAGMA page_size").fetchone()
    free = shutil.disk_usage(part.parent).free
    if pages * size > free:
        raise StoreError(
            f"{part.parent} has {free} bytes free, and the copy needs {pages * size}",
            "give a file on another disk",
        )

    def step(_status: int, remaining: int, total: int) -> None:
        if total:
            tell("copying the store", 1 - remaining / total)

    with closing(sqlite3.connect(part, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = OFF")  # it is forced to the disk as a whole
        source.backup(target, pages=_PAGES, progress=step, sleep=0)
        target.execute("PRAGMA journal_mode = DELETE")  # a copy is one file
    source.execute("ROLLBACK")
    return None if newest is None else int(newest) >> SERIAL_BITS


def _move_aside(target: Path) -> list[Path]:
    """Rename the store that is there, with what belongs to it; gives the new names."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    moved = []
    for end in ("", *_BESIDE):
        file = target.with_name(f"{target.name}{end}")
        if os.path.lexists(file):
            # The ends stay last: SQLite finds a write-ahead log by the name of its file.
            moved.append(file.replace(target.with_name(f"{target.name}.replaced-{stamp}{end}")))
    return moved


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    _sync(path.parent)
