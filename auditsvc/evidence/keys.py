"""The keys that sign heads: each signs one, and is then gone.

    keys = Keys.load(file, credential)
    wrong = keys.follow(last)           # the last head that is in the folder, at a start
    keys.current, keys.next_public      # signs the next head, which names the key after it
    keys.advance(head)                  # after that head is on the disk

The file (`auditsvc.evidence.key_file`) has two private keys, as a head names its successor: the
one that signs the next head and the one after it. With them stands which head was signed last
(its number and digest), so keys sign in sequence: a head that is not the one after that is not
signed as such, and heads that were cut, replaced or made anew show at the next start. If the
program ends between head and `advance`, `follow` drops the key that has signed already.

With a credential (systemd-creds(1): `LoadCredentialEncrypted=auditsvc-evidence`) the keys are
encrypted with it. A credential itself cannot move forward: it never changes.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditsvc.errors import EvidenceError
from auditsvc.evidence.key_file import newest
from auditsvc.host.files import read_file
from auditsvc.value_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditsvc.evidence.head import Head
    from auditsvc.evidence.key_file import KeyFile

NAME: Final = "key"
"""Of the file where an older program had it, and where it is if no folder is closed to us: in the
folder `evidence`."""
CREDENTIAL: Final = "auditsvc-evidence"
_BEGIN: Final = b"-----BEGIN"
_END: Final = b"-----END"
_MOST: Final = 1 << 14
_TWO: Final = 2


class Signed(NamedTuple):
    """The head that was signed last; number 0 if none was, or if that is not known."""

    n: int = 0
    digest: str = ""


class Keys:
    """The private keys of one spool."""

    def __init__(
        self, file: KeyFile, keys: Sequence[Ed25519PrivateKey], secret: bytes | None, signed: Signed
    ) -> None:
        self._file = file
        self._keys = list(keys)
        self._secret = secret
        self.signed = signed

    @classmethod
    def load(cls, file: KeyFile, secret: bytes | None, older: Path | None = None) -> Self:
        """Read the keys; they are made if there are none. EvidenceError or OSError.

        `older`: a file of an older program, whose keys are used if there are none in `file`.
        """
        content = file.content()
        source = file.path
        is_older = not content and older is not None
        if older is not None and is_older:
            source, content = older, _read_older(older)
        if not content:
            made = cls(file, [], secret, Signed())
            made.renew()
            return made
        made = cls(file, _read(source, content, secret), secret, _signed(content))
        if is_older:
            made._replace(made._keys, made.signed)
        return made

    @property
    def current(self) -> Ed25519PrivateKey:
        """The key that signs the next head."""
        return self._keys[0]

    @property
    def current_public(self) -> str:
        """Its public key, hex."""
        return public_of(self._keys[0])

    @property
    def next_public(self) -> str:
        """The public key of the one after it, hex."""
        return public_of(self._keys[1])

    def advance(self, head: Head) -> None:
        """Forget the current key, on the disk too, as it has signed this head; OSError."""
        now = Signed(head.n, head.digest())
        self._replace([self._keys[1], Ed25519PrivateKey.generate()], now)

    def follow(self, last: Head | None) -> str:
        """Take the last head that is there; gives what is wrong with it, "" if nothing is. OSError.

        Then `signed` is what the next head comes after.
        """
        signed = self.signed
        if last is None:
            return f"heads up to {signed.n} were removed" if signed.n else ""
        if not signed.n:  # new, or of a program that did not note it
            return self._begin_after(last)
        if last.n == signed.n + 1 and self._has_signed(last):
            self.advance(last)  # the program ended in between
            return ""
        if last.n < signed.n:
            return f"heads {last.n + 1} to {signed.n} were removed"
        if (last.n, last.digest()) == signed:
            return ""
        if last.n == signed.n:
            return f"head {last.n} is another one than was signed"
        self.renew()
        return f"head {last.n} was not signed here: the last one was head {signed.n}"

    def _begin_after(self, last: Head) -> str:
        here = Signed(last.n, last.digest())
        if last.next == self.next_public:
            self.advance(last)
        elif last.next == self.current_public:
            self._replace(self._keys, here)
        else:
            self.renew()
            return "the key is not the one that the last head announced"
        return ""

    def _has_signed(self, head: Head) -> bool:
        return (
            head.previous == self.signed.digest
            and head.key == self.current_public
            and head.is_signed()
        )

    def renew(self) -> None:
        """Begin with new keys, as none that was announced is known; OSError."""
        self._replace([Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()], Signed())

    def _replace(self, keys: Sequence[Ed25519PrivateKey], signed: Signed) -> None:
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if self._secret is not None:
            encryption = serialization.BestAvailableEncryption(self._secret)
        texts = (
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
            for key in keys
        )
        self._file.replace(json.dumps(signed._asdict()).encode() + b"\n" + b"".join(texts))
        self._keys, self.signed = list(keys), signed


def signed_last(path: Path) -> Signed | None:
    """Give the head that was signed last, as the file of the keys has it; None without a file.

    For who verifies: nothing is written, and no key is read. EvidenceError, OSError.
    """
    try:
        data = read_file(path, _MOST)
    except FileNotFoundError:
        return None
    content = newest(data, path)[1]
    return _signed(content) if content else None


def credential() -> bytes | None:
    """Give the credential that systemd passed to this service; None without one."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return None
    try:
        return (Path(folder) / CREDENTIAL).read_bytes() or None
    except FileNotFoundError:
        return None


def public_of(key: Ed25519PrivateKey) -> str:
    """Give the public key, hex."""
    return key.public_key().public_bytes_raw().hex()


def _read_older(path: Path) -> bytes:
    try:
        return newest(read_file(path, _MOST), path)[1]
    except FileNotFoundError:
        return b""


def _signed(content: bytes) -> Signed:
    """Read which head was signed last; an older program's file does not say it."""
    line = content[: content.index(b"\n") + 1] if b"\n" in content else content
    try:
        values = parse_json(line)
        return Signed(int(values["n"]), str(values["digest"]))
    except (ValueError, KeyError, TypeError):
        return Signed()


def _read(path: Path, text: bytes, secret: bytes | None) -> list[Ed25519PrivateKey]:
    blocks = text.split(_END)
    try:
        found = [
            serialization.load_pem_private_key(
                start[start.index(_BEGIN) :] + _END + rest[: rest.index(b"\n") + 1], secret
            )
            for start, rest in pairwise(blocks)
        ]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise EvidenceError(
            f"the key {path} cannot be read: it is damaged, or encrypted with another credential",
            f"give the service the credential {CREDENTIAL} that it had; or, if it is lost, delete "
            f"{path}: heads go on with a new key, and `auditsvc verify` tells where",
        ) from error
    keys = [key for key in found if isinstance(key, Ed25519PrivateKey)]
    if len(keys) != _TWO or len(found) != _TWO:
        raise EvidenceError(f"the key {path} is damaged", "delete it to go on with a new one")
    return keys
