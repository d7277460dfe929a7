"""The bucket in which batches wait for a committer. What the server refuses is a FleetError."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.loaders import Loader, create_loader
from botocore.parsers import ResponseParserError
from botocore.session import Session

from auditsvc.archive.credentials import keys_of
from auditsvc.errors import ConfigError, FleetError
from auditsvc.fleet.names import INBOX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from auditsvc.config import FleetSettings

CREDENTIAL: Final = "auditsvc-fleet"
SETTING: Final = "fleet.credentials"
_THERE: Final = frozenset({"PreconditionFailed", "412"})
_ABSENT: Final = frozenset({"NoSuchKey", "404"})
_FAILED: Final = (BotoCoreError, ResponseParserError)
"""What the client raises if there is no answer, or not that of an object store."""
_NOT_OURS: Final = "the answer to a {} is not that of an object store"
_AT_ONCE: Final = 1000
_CONNECT, _READ = 5.0, 60.0


class Inbox:
    """The inbox of one bucket."""

    def __init__(self, settings: FleetSettings) -> None:
        """ConfigError if it is not set, or if the keys cannot be read."""
        if settings.bucket is None:
            raise ConfigError("there is no inbox", "set fleet.bucket (AUDITSVC_FLEET__BUCKET)")
        keys = keys_of(settings.credentials, CREDENTIAL, SETTING)
        self.shown = f"{settings.endpoint or 's3:/'}/{settings.bucket}"
        self._bucket = settings.bucket
        given: dict[str, Any] = {"region_name": settings.region}
        if settings.endpoint:
            given["endpoint_url"] = settings.endpoint
        if settings.ca:
            given["verify"] = str(settings.ca)
        if keys:
            given |= {
                "aws_access_key_id": keys["access_key"],
                "aws_secret_access_key": keys["secret_key"],
                "aws_session_token": keys.get("session_token"),
            }
        config = Config(
            connect_timeout=_CONNECT,
            read_timeout=_READ,
            retries={"total_max_attempts": 1},
            s3={"addressing_style": "path"} if settings.endpoint else {},
        )
        try:
            session = Session()
            session.register_component("data_loader", _loader())
            self._client = session.create_client("s3", config=config, **given)
        except (BotoCoreError, ValueError, OSError) as error:
            raise ConfigError(f"fleet.endpoint: {error}", "correct it") from error

    def put(self, name: str, data: bytes) -> bool:
        """Store an object, unless there is one with this name: then False."""
        try:
            done = self._client.put_object(
                Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*"
            )
        except ClientError as error:
            if _code(error) in _THERE:
                return False
            raise self._refused(error) from error
        except _FAILED as error:
            raise self._refused(error) from error
        if not done.get("ETag"):
            # A proxy's page, say; and a batch that is not there is missed for ever.
            raise self._refused(ValueError(_NOT_OURS.format("PUT")))
        return True

    def get(self, name: str) -> bytes | None:
        """Read an object; None if it is not there."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        except ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise self._refused(error) from error
        except _FAILED as error:
            raise self._refused(error) from error
        return bytes(found)

    def names(self, shards: Iterable[str] = ()) -> Iterator[str]:
        """Name all objects, or those of some shards."""
        for prefix in [f"{INBOX}/{shard}/" for shard in shards] or [f"{INBOX}/"]:
            try:
                pages = self._client.get_paginator("list_objects_v2")
                for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                    if "Name" not in page:
                        raise self._refused(ValueError(_NOT_OURS.format("LIST")))
                    yield from (str(each["Key"]) for each in page.get("Contents", ()))
            except (ClientError, *_FAILED) as error:
                raise self._refused(error) from error

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, whether they are there or not."""
        waiting = list(names)
        for start in range(0, len(waiting), _AT_ONCE):
            keys = [{"Key": name} for name in waiting[start : start + _AT_ONCE]]
            try:
                self._client.delete_objects(
                    Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True}
                )
            except (ClientError, *_FAILED) as error:
                raise self._refused(error) from error

    def _refused(self, error: Exception) -> FleetError:
        what = str(error).partition("\n")[0][:300]
        where = "see fleet.endpoint, fleet.bucket and fleet.credentials"
        return FleetError(f"fleet {self.shown}: {what}", where + hint_of(error))


@cache
def _loader() -> Loader:
    """Give what reads the client's files: two thirds of what an inbox costs, so once a process."""
    return create_loader()


_HINTS: Final = {
    ("RequestTimeTooSkewed",): "the clock of this host, or the server's, is wrong",
    ("certificate has expired",): "the server's certificate has expired, or this clock is ahead",
    ("not yet valid",): "the server's certificate is of the future, or this clock is behind",
    ("doesn't match", "mismatch"): "the server's certificate is for another name than the address",
    ("CERTIFICATE", "SSL validation", "CA certificate", "SSL peer certificate"): (
        "fleet.ca names the authority that is believed"
    ),
}
"""What else to look at, by words of what was refused; the first that has some counts."""


def hint_of(error: Exception) -> str:
    """Give what else to look at if it is a clock or a certificate that is wrong; else ""."""
    text = str(error)
    for words, hint in _HINTS.items():
        if any(word in text for word in words):
            return f"; {hint}"
    return ""


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
