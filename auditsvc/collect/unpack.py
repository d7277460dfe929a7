"""Decompresses and decodes logs: gzip, xz, lzma, bzip2, zstd; byte-order marks, UTF-16.

    form = form_of(head)                  # from the first bytes; "" for a plain log
    stream = UnpackedLog(path, form)
    stream.read(limit)                    # the log's bytes; b"" at its end

What must hold:

* Memory is bounded: a window of MOST_WINDOW bytes at most, and pieces of _PIECE bytes.
* A file that unpacks to more than MOST_TIMES its size is refused: SpoolError names the limit.
* Of a file that is cut short or damaged, all that can be unpacked is given first; the
  `read` after that raises SpoolError, and so does each later one.
* The error for a format that is known but not supported names it; also where it is packed itself
  (a .tgz), and what is packed twice.

Sources of the first bytes: RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format, bzip2's and
lzip's manuals, file(1)'s magic.
"""

from __future__ import annotations

import bz2
import codecs
import lzma
import sys
import zlib
from typing import TYPE_CHECKING, BinaryIO, Final, Protocol, Self

from auditsvc.errors import SpoolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_WINDOW: Final = 1 << 27
"""Bytes of memory to unpack with: what xz -9 and zstd (without --long=28) need at most."""
MOST_TIMES: Final = 1000
"""Times its size that a file may unpack to. Logs reach 10 to 100."""
_NO_BOMB: Final = 1 << 26
"""Bytes that are given before that is looked at."""
_PIECE: Final = 1 << 14
HEAD: Final = 512
"""Bytes of a file that `form_of` wants to see."""

_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_READ: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x5d\0\0", "lzma"),
    (b"BZh", "bzip2"),
    (_ZSTD, "zstd"),
    *((bytes((low, 0x2A, 0x4D, 0x18)), "zstd") for low in range(0x50, 0x60)),  # skippable frames
    (codecs.BOM_UTF8, "UTF-8 with a byte-order mark"),
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_REFUSED: Final[tuple[tuple[bytes, str], ...]] = (
    (b"PK\x03\x04", "a zip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\x02\x21\x4c\x18", "compressed with lz4"),
    (b"\x1f\x9d", "compressed with compress(1)"),
    (b"\x1f\x1e", "compressed with pack(1)"),
    (b"LZIP", "compressed with lzip"),
    (b"\x89LZO\0\r\n\x1a\n", "compressed with lzop"),
    (b"LRZI", "compressed with lrzip"),
    (b"\xff\x06\0\0sNaPpY", "compressed with snappy"),
)
_REFUSED_NAMES: Final = {".br": "compressed with brotli"}
"""Forms that no first bytes tell."""
_JOURNAL: Final = b"LPKSHHRH"
_TAR: Final = slice(257, 262)
_MARK: Final = "UTF-8 with a byte-order mark"
_TEXTS: Final = {
    "UTF-16": "utf-16",
    "UTF-16 (little-endian)": "utf-16-le",
    "UTF-16 (big-endian)": "utf-16-be",
    "UTF-32": "utf-32",
}


class _Unpacker(Protocol):
    """The common interface of bz2, lzma and zstd."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Gunzip:
    """zlib with the same interface."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)
        self._more = False

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        return not self._more

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        out = self._zlib.decompress(self._zlib.unconsumed_tail + data, max(0, max_length))
        self._more = len(out) == max_length and not self._zlib.eof
        return out


def _unzstd() -> _Unpacker:
    window = int(zstd.DecompressionParameter.window_log_max)
    return zstd.ZstdDecompressor(options={window: MOST_WINDOW.bit_length() - 1})


_UNPACKERS: Final[dict[str, Callable[[], _Unpacker]]] = {
    "gzip": _Gunzip,
    "xz": lambda: lzma.LZMADecompressor(memlimit=MOST_WINDOW),
    "lzma": lambda: lzma.LZMADecompressor(memlimit=MOST_WINDOW),
    "bzip2": bz2.BZ2Decompressor,
    "zstd": _unzstd,
}
_DAMAGE: Final = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstd.ZstdError)


def form_of(head: bytes) -> str:
    """Name the format of a log, by its first HEAD bytes; "" for a plain log."""
    for magic, form in _READ:
        if head.startswith(magic):
            return form
    if head[1:2] == b"\0" and head[:1].isalnum() and head[3:4] == b"\0":
        return "UTF-16 (little-endian)"
    if head[:1] == b"\0" and head[1:2].isalnum() and head[2:3] == b"\0":
        return "UTF-16 (big-endian)"
    return ""


def refuse_unknown(path: Path, head: bytes) -> None:
    """SpoolError, with its name, for a format that is not supported."""
    form = next((form for magic, form in _REFUSED if head.startswith(magic)), "")
    if head[_TAR] == b"ustar":
        form = "a tar archive"
    form = form or _REFUSED_NAMES.get(path.suffix, "")
    if form:
        raise SpoolError(
            f"{path}: {form}, which is not read here",
            "unpack it first; .gz, .xz, .lzma, .bz2 and .zst are read as they are",
        )
    if head.startswith(_JOURNAL):
        raise SpoolError(f"{path}: a journal of systemd", "take `ingest --journal --directory DIR`")


class UnpackedLog:
    """A log that is compressed or in another encoding, as a stream of plain bytes.

    Texts in UTF-16 and UTF-32 come as UTF-8; without a byte-order mark.
    """

    def __init__(self, path: Path, form: str, file: BinaryIO | None = None) -> None:
        """`form` is `form_of` the file; OSError if it cannot be opened. `file`: it is open."""
        self.fileobj: BinaryIO = path.open("rb") if file is None else file
        """The file as it stands on disk."""
        self._path = path
        self._form = form
        self._begin()

    def _begin(self) -> None:
        self._source = _Packed(self._path, self._form, self.fileobj)
        self._position = 0
        self._text: codecs.IncrementalDecoder | None = None
        head = b""
        while len(head) < HEAD and (more := self._source.read(HEAD - len(head))):
            head += more
        form = form_of(head)  # what was packed may have a mark too
        if self._form in _UNPACKERS:
            refuse_unknown(self._path, head)
            if form in _UNPACKERS:
                raise SpoolError(
                    f"{self._path}: packed twice, {form} in {self._form}, which is not read here",
                    "unpack it once",
                )
        if form == _MARK:
            head = head.removeprefix(codecs.BOM_UTF8)
        elif form in _TEXTS:
            self._text = codecs.getincrementaldecoder(_TEXTS[form])("replace")
            head = self._text.decode(head).encode()
        self._ready = head

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Give the descriptor of the file on disk."""
        return self.fileobj.fileno()

    def tell(self) -> int:
        """Give how many bytes were read."""
        return self._position

    def close(self) -> None:
        """Close the file."""
        self.fileobj.close()

    def seek(self, position: int) -> int:
        """Go to a position, by reading up to it; not beyond the end."""
        if position < self._position:
            self.fileobj.seek(0)
            self._begin()
        while self._position < position:
            if not self.read(min(_PIECE, position - self._position)):
                break
        return self._position

    def read(self, limit: int) -> bytes:
        """Give up to `limit` of the next bytes; b"" at the end, SpoolError if it is cut short."""
        parts: list[bytes] = []
        size = 0
        while size < limit and (part := self._part(limit - size)):
            parts.append(part)
            size += len(part)
        if not parts and self._source.error is not None:
            raise self._source.error
        self._position += size
        return b"".join(parts)

    def _part(self, limit: int) -> bytes:
        while not self._ready:
            data = self._source.read(limit)
            if not data:
                return b""
            self._ready = data if self._text is None else self._text.decode(data).encode()
        part, self._ready = self._ready[:limit], self._ready[limit:]
        return part


class _Packed:
    """The decompressed bytes of a file; those of the file if it is not compressed."""

    def __init__(self, path: Path, form: str, file: BinaryIO) -> None:
        self.error: SpoolError | None = None
        """Why there are no more bytes, if this is not the end."""
        self._path = path
        self._form = form
        self._file = file
        self._make = _UNPACKERS.get(form)
        self._unpacker = self._make() if self._make else None
        self._given = 0

    def read(self, limit: int) -> bytes:
        """Give up to `limit` of the next bytes; b"" at the end, and after an `error`."""
        if self._unpacker is None:
            return self._file.read(limit)
        if self.error is not None:
            return b""
        try:
            out = self._unpack(self._unpacker, limit)
        except SpoolError as error:
            self.error = error
            return b""
        except _DAMAGE as error:
            self.error = _damaged(self._path, self._form, error)
            return b""
        self._given += len(out)
        return out

    def _unpack(self, unpacker: _Unpacker, limit: int) -> bytes:
        packed = b""
        while True:
            if unpacker.eof:
                packed = self._following(unpacker.unused_data)
                if not packed:
                    return b""
                assert self._make is not None
                unpacker = self._unpacker = self._make()
            elif unpacker.needs_input:
                packed = self._file.read(_PIECE)
                if not packed:
                    raise EOFError
            self._see_it_is_no_bomb()
            out = unpacker.decompress(packed, limit)
            packed = b""
            if out:
                return out

    def _following(self, rest: bytes) -> bytes:
        """Give what follows a complete stream: another one, or b"". NULs between are padding."""
        while True:
            rest = rest.lstrip(b"\0")
            if len(rest) >= HEAD or not (more := self._file.read(_PIECE)):
                break
            rest += more
        if rest and form_of(rest) != self._form:
            raise ValueError("what follows the packed bytes is something else")
        return rest

    def _see_it_is_no_bomb(self) -> None:
        packed = self._file.tell()
        if self._given > _NO_BOMB and self._given > MOST_TIMES * packed:
            raise SpoolError(
                f"{self._path}: its first {packed} bytes unpack to more than {MOST_TIMES} times"
                " as many, which is the limit",
                "if it is a log, unpack it yourself",
            )


def _damaged(path: Path, form: str, error: Exception) -> SpoolError:
    """Make the error for a file that cannot be decompressed."""
    if "memory" in str(error).lower():
        return SpoolError(
            f"{path}: {form} with a window of more than {MOST_WINDOW >> 20} MiB, which is the"
            " limit",
            "unpack it yourself",
        )
    if isinstance(error, EOFError):
        what = f"{path}: the compressed file is damaged: the {form} data end too early"
    else:
        what = f"{path}: the compressed file is damaged ({form}): {error}"
    return SpoolError(what, "what is before that can be read")
