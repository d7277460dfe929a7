"""The keys that sign heads: each signs one, and is then gone.

    keys = Keys.load(folder, credential)
    keys.current, keys.next_public      # signs the next head, which names the key after it
    keys.advance()                      # after that head is on the disk

`key` in the folder, mode 0600, holds two private keys: the one that signs the next head and the
one after it, because a head names its successor. `advance` replaces the file, synced. If the
program ends between head and `advance`, `catch_up` drops the key that has signed already.

With a credential (systemd-creds(1): `LoadCredentialEncrypted=auditsvc-evidence`) the file is
encrypted with it. A credential itself cannot move forward: it never changes.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from auditsvc.errors import EvidenceError
from auditsvc.host.files import read_file, replace_file

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME: Final = "key"
CREDENTIAL: Final = "auditsvc-evidence"
_END: Final = b"-----END"
_MOST: Final = 1 << 14
_TWO: Final = 2


class Keys:
    """The private keys of one spool."""

    def __init__(self, path: Path, keys: Sequence[Ed25519PrivateKey], secret: bytes | None) -> None:
        self._path = path
        self._keys = list(keys)
        self._secret = secret

    @classmethod
    def load(cls, folder: Path, secret: bytes | None) -> Self:
        """Read the keys; they are made if there are none. EvidenceError or OSError."""
        path = folder / _NAME
        try:
            text = read_file(path, _MOST)
        except FileNotFoundError:
            made = cls(path, [], secret)
            made.renew()
            return made
        return cls(path, _read(path, text, secret), secret)

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

    def advance(self) -> None:
        """Forget the current key, on the disk too; OSError."""
        self._replace([self._keys[1], Ed25519PrivateKey.generate()])

    def catch_up(self, announced: str) -> bool:
        """Take the key that the last head announced; gives whether it is one of ours."""
        if announced == self.next_public:
            self.advance()
        return announced == self.current_public

    def renew(self) -> None:
        """Begin with new keys, as none that was announced is known; OSError."""
        self._replace([Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()])

    def _replace(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if self._secret is not None:
            encryption = serialization.BestAvailableEncryption(self._secret)
        text = b"".join(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
            for key in keys
        )
        replace_file(self._path, text.decode(), sync=True)
        self._keys = list(keys)


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


def _read(path: Path, text: bytes, secret: bytes | None) -> list[Ed25519PrivateKey]:
    blocks = text.split(_END)
    try:
        found = [
            serialization.load_pem_private_key(
                start[start.index(b"-----BEGIN") :] + _END + rest[: rest.index(b"\n") + 1], secret
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
