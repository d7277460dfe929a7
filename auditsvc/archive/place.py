"""Where an archive is: a folder, or a bucket of an S3 service.

Names are relative, with `/`. A file appears whole or not at all: in a folder by a temporary name,
fsync and rename; in a bucket a PUT does that. OSError becomes ArchiveError.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from pyarrow import fs

from auditsvc.archive.credentials import keys_of
from auditsvc.errors import ArchiveError, ConfigError
from auditsvc.host.files import UnsafeError, make_folder, read_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditsvc.config import ArchiveSettings

CREDENTIAL: Final = "auditsvc-archive"
TEMPORARY: Final = "tmp"
_PIECE: Final = 4 << 20
_SECONDS: Final = 20.0


class Place(Protocol):
    """A place of files."""

    shown: str
    """Its name in messages."""
    folder: Path | None
    """The folder on this host; None for a bucket."""

    def sizes(self) -> dict[str, int]:
        """Give the bytes of all files by name, without those of a pass that did not end."""

    def read(self, name: str) -> bytes:
        """Read a file."""

    def put(self, name: str, file: Path, *, is_last: bool = False) -> None:
        """Move a file of this host there, under this name.

        `is_last`: all that was put before is then on the disk, and after it this one too.
        """

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    def files(self) -> tuple[fs.FileSystem, str]:
        """Give Arrow's file system, and what stands before a name in it."""


class Folder:
    """A folder of this host; made, for its owner only, when something is put there."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder
        self._folder = folder
        self._unsynced: set[Path] = set()
        """Folders whose names may not be on the disk."""
        self.shown = str(folder)

    def sizes(self) -> dict[str, int]:
        """See `Place`."""
        found = {}
        with _explained(self.shown):
            for root, folders, names in os.walk(self._folder, onerror=_raise):
                if Path(root) == self._folder and TEMPORARY in folders:
                    folders.remove(TEMPORARY)
                for name in names:
                    path = Path(root) / name
                    found[str(path.relative_to(self._folder))] = path.lstat().st_size
        return found

    def read(self, name: str) -> bytes:
        """See `Place`."""
        with _explained(self.shown):
            return read_file(self._folder / name)

    def put(self, name: str, file: Path, *, is_last: bool = False) -> None:
        """See `Place`."""
        path = self._folder / name
        with _explained(self.shown):
            if not path.parent.is_dir():
                make_folder(path.parent)
                self._unsynced.add(self._folder)
            _sync(file, os.O_RDONLY)
            if is_last:
                self._sync_folders()
            file.replace(path)
            self._unsynced.add(path.parent)
            if is_last:
                self._sync_folders()

    def _sync_folders(self) -> None:
        for folder in sorted(self._unsynced):
            _sync(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._unsynced.clear()

    def delete(self, name: str) -> None:
        """See `Place`."""
        path = self._folder / name
        with _explained(self.shown):
            path.unlink(missing_ok=True)
            if path.parent != self._folder and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def files(self) -> tuple[fs.FileSystem, str]:
        """See `Place`."""
        return fs.LocalFileSystem(), f"{self._folder}/"


class Bucket:
    """A prefix in a bucket."""

    def __init__(self, settings: ArchiveSettings) -> None:
        """ConfigError if the credentials cannot be read."""
        self.shown = str(settings.to).rstrip("/")
        self.folder: Path | None = None
        self._root = self.shown.removeprefix("s3://")
        endpoint = (settings.endpoint or "").rstrip("/")
        scheme, _, host = endpoint.partition("://")
        options = {"endpoint_override": host, "scheme": scheme} if endpoint else {}
        self._fs = fs.S3FileSystem(
            region=settings.region,
            connect_timeout=_SECONDS,
            request_timeout=_SECONDS,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
            **options,
            **keys_of(settings.credentials, CREDENTIAL, "archive.credentials"),
        )

    def sizes(self) -> dict[str, int]:
        """See `Place`."""
        with _explained(self.shown):
            selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
            start = len(self._root) + 1
            return {
                each.path[start:]: int(each.size)
                for each in self._fs.get_file_info(selector)
                if each.type == fs.FileType.File
            }

    def read(self, name: str) -> bytes:
        """See `Place`."""
        with _explained(self.shown), self._fs.open_input_file(f"{self._root}/{name}") as stream:
            return bytes(stream.read())

    def put(self, name: str, file: Path, *, is_last: bool = False) -> None:
        """See `Place`; a PUT is answered when it is stored."""
        del is_last
        with (
            _explained(self.shown),
            file.open("rb") as source,
            self._fs.open_output_stream(f"{self._root}/{name}") as out,
        ):
            while piece := source.read(_PIECE):
                out.write(piece)
        file.unlink()

    def delete(self, name: str) -> None:
        """See `Place`."""
        with _explained(self.shown):
            self._fs.delete_file(f"{self._root}/{name}")

    def files(self) -> tuple[fs.FileSystem, str]:
        """See `Place`."""
        return self._fs, f"{self._root}/"


def open_place(settings: ArchiveSettings) -> Place:
    """Give the place of the settings; ConfigError if there is none."""
    if settings.to is None:
        raise ConfigError(
            "there is no archive", 'set archive.to = "/FOLDER" (AUDITSVC_ARCHIVE__TO)'
        )
    if settings.to.startswith("/"):
        return Folder(Path(settings.to))
    return Bucket(settings)


@contextmanager
def _explained(shown: str) -> Iterator[None]:
    try:
        yield
    except UnsafeError as error:
        raise ArchiveError(f"archive {shown}: {error.filename} {error.strerror}") from error
    except OSError as error:
        what = error.strerror or str(error).partition("\n")[0]
        raise ArchiveError(
            f"archive {shown}: {what}", "see archive.to, archive.credentials and archive.endpoint"
        ) from error


def _raise(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
