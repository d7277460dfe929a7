"""The table of the fleet in its Iceberg catalog.

    table = open_table(settings.fleet)
    marks = watermarks(table)               # {(host, store): Mark(...)}

`create_table` alone makes it; who opens it never does, as two that make it would race. Whatever
the catalog or the object store says becomes FleetError.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import pyarrow as pa
from botocore.exceptions import BotoCoreError, ClientError
from pyiceberg.catalog.rest import CA_BUNDLE, SSL, RestCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import assign_fresh_schema_ids
from pyiceberg.table.sorting import SortField, SortOrder
from pyiceberg.transforms import DayTransform, IdentityTransform
from requests.exceptions import RequestException

from auditsvc.archive.credentials import keys_of
from auditsvc.errors import ConfigError, FleetError
from auditsvc.fleet.inbox import hint_of
from auditsvc.fleet.names import SCHEMA_VERSION, source_of
from auditsvc.fleet.schema import SORT, VERSION, schema
from auditsvc.fleet.table_io import properties

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyiceberg.table import Table
    from requests import Session

    from auditsvc.config import FleetSettings

T = TypeVar("T")

_FAILED: Final = (
    *(BotoCoreError, ClientError, RequestException, pa.ArrowException, OSError),
    # What was answered, or is in a file of the table, cannot be read: a proxy's page, say.
    *(ValueError, EOFError),
)

CREDENTIAL: Final = "auditsvc-fleet"
SETTING: Final = "fleet.credentials"
NO_RETRY: Final = {"commit.retry.num-retries": "0"}
"""The catalog's client would append again after a conflict, with the watermark of before."""
_PATIENCE: Final = (5.0, 60.0)
"""Seconds in which the catalog must be reached, and in which it must go on answering. A commit
whose answer does not come may be done: who commits reads the watermarks again."""
_PROPERTIES: Final = NO_RETRY | {
    SCHEMA_VERSION: str(VERSION),
    "format-version": "2",
    "write.parquet.compression-codec": "zstd",
    "write.parquet.compression-level": "3",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.delete.mode": "copy-on-write",
    "write.update.mode": "copy-on-write",
    "write.merge.mode": "copy-on-write",
}
_TRIES: Final = 20
_FIRST_FIELD: Final = 1000
"""The number of the first partition field, as Iceberg counts."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What the table has of a store: see `auditsvc.fleet.names`."""

    n: int = 0
    events: int = 0
    rows: int = 0
    made: float = 0.0
    newest: int | None = None
    told: int = 0
    id: str = ""
    """That of batch n."""
    ledger: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """Give it as the property has it."""
        return json.dumps(asdict(self), separators=(",", ":"))


class _Catalog(RestCatalog):
    """A catalog that is not waited for without end: one that hangs would hold who asks it."""

    def _config_headers(self, session: Session) -> None:
        # The first that is done to each session: before a token is asked for.
        super()._config_headers(session)
        # By each request: what the session believes gives way to REQUESTS_CA_BUNDLE.
        authority = self.properties.get(SSL, {}).get(CA_BUNDLE)
        session.request = partial(  # type: ignore[method-assign]
            session.request, timeout=_PATIENCE, verify=authority
        )


def open_catalog(settings: FleetSettings) -> RestCatalog:
    """Give the catalog; ConfigError, FleetError."""
    if settings.catalog is None:
        raise ConfigError("there is no catalog", "set fleet.catalog (AUDITSVC_FLEET__CATALOG)")
    keys = keys_of(settings.credentials, CREDENTIAL, SETTING)
    given = {"uri": settings.catalog, "s3.region": settings.region}
    if settings.warehouse:
        given["warehouse"] = settings.warehouse
    if settings.endpoint:
        given["s3.endpoint"] = settings.endpoint
    if keys:
        given["s3.access-key-id"] = keys["access_key"]
        given["s3.secret-access-key"] = keys["secret_key"]
        if "session_token" in keys:
            given["s3.session-token"] = keys["session_token"]
        if settings.catalog_auth == "oauth2":
            given["credential"] = f"{keys['access_key']}:{keys['secret_key']}"
            given["oauth2-server-uri"] = f"{settings.catalog.rstrip('/')}/v1/oauth/tokens"
    if settings.catalog_auth == "sigv4":
        given |= {
            "rest.sigv4-enabled": "true",
            "rest.signing-region": settings.region,
            "rest.signing-name": "s3tables",
            "client.access-key-id": keys.get("access_key", ""),
            "client.secret-access-key": keys.get("secret_key", ""),
        }
    extra: dict[str, object] = {}
    given |= properties(settings.ca)
    if settings.ca:
        extra[SSL] = {CA_BUNDLE: str(settings.ca)}
    with explained(settings):
        return _Catalog("auditsvc", **given, **extra)  # type: ignore[arg-type]


def create_table(settings: FleetSettings) -> bool:
    """Make the table, or give an older one the columns that it lacks; False if it was there.

    FleetError if it is another one.
    """
    catalog = open_catalog(settings)
    with explained(settings):
        is_there = catalog.namespace_exists(settings.table.partition(".")[0])
        is_there = is_there and catalog.table_exists(settings.table)
    if is_there:  # not every catalog refuses to make it once more
        with explained(settings), open_table(settings).update_schema() as change:
            change.union_by_name(schema())
        return False
    made = assign_fresh_schema_ids(_pyarrow_to_schema_without_ids(schema()))
    day = PartitionField(made.find_field("time").field_id, _FIRST_FIELD, DayTransform(), "day")
    order = [SortField(made.find_field(name).field_id, IdentityTransform()) for name in SORT]
    with explained(settings):
        catalog.create_namespace_if_not_exists(settings.table.partition(".")[0])
        try:
            catalog.create_table(
                settings.table,
                made,
                partition_spec=PartitionSpec(day),
                sort_order=SortOrder(*order),
                properties=_PROPERTIES,
            )
        except TableAlreadyExistsError:
            open_table(settings)
            return False
    return True


def open_table(settings: FleetSettings) -> Table:
    """Load the table as it is now; FleetError if it is not there, or of a newer program."""
    return load_table(open_catalog(settings), settings)


def load_table(catalog: RestCatalog, settings: FleetSettings) -> Table:
    """Load the table from a catalog that is open; as `open_table`."""
    with explained(settings):
        try:
            table: Table = catalog.load_table(settings.table)
        except (NoSuchTableError, NoSuchNamespaceError) as error:
            raise FleetError(
                f"the catalog has no table {settings.table}, or does not show it to these keys",
                "`auditsvc fleet init` makes it",
            ) from error
    check_table(table)
    return table


def check_table(table: Table) -> None:
    """FleetError if the table is not one of this program."""
    found = table.properties.get(SCHEMA_VERSION, "")
    name = ".".join(table.name())
    if not found.isdecimal():
        raise FleetError(f"{name} is not a table of auditsvc", "give another in fleet.table")
    if int(found) > VERSION:
        raise FleetError(f"{name} is of a newer program", "use that one")


def watermarks(table: Table) -> dict[tuple[str, str], Mark]:
    """Give what the table has of each (host, store)."""
    found = {}
    for name, value in table.properties.items():
        if (source := source_of(name)) is not None:
            found[source] = Mark(**json.loads(value))
    return found


def commit_change(settings: FleetSettings, change: Callable[[Table], T]) -> T:
    """Do what makes one commit, on the table as it is then; after a conflict again. FleetError.

    `change` may come after its own commit: whether that was done is not always known.
    """
    for _ in range(_TRIES):
        table = open_table(settings)
        table.metadata.properties.update(NO_RETRY)
        try:
            with explained(settings):
                return change(table)
        except FleetError as error:
            if not is_conflict(error):
                raise
        time.sleep(random.uniform(0, 1))  # noqa: S311 - a pause
    raise FleetError("others commit all the time", "try again")


def is_conflict(error: BaseException) -> bool:
    """Whether it says that somebody else has committed, or may have, or that we may have."""
    cause = error.__cause__ or error
    return isinstance(cause, CommitFailedException | CommitStateUnknownException)


def delete_file(table: Table, path: str) -> None:
    """Delete a file that is in no snapshot; it is well if somebody else has done it."""
    with suppress(FileNotFoundError):
        table.io.delete(path)


@contextmanager
def explained(settings: FleetSettings) -> Iterator[None]:
    """Say what the catalog, or the object store, refused."""
    try:
        yield
    except _FAILED as error:
        raise _unreachable(settings, error) from error
    except Exception as error:
        if type(error).__module__.startswith("pyiceberg"):
            raise _unreachable(settings, error) from error
        raise


def _unreachable(settings: FleetSettings, error: Exception) -> FleetError:
    what = str(error).partition("\n")[0][:300]
    where = settings.catalog or settings.endpoint or settings.bucket
    hint = "see fleet.catalog, fleet.endpoint and keys" + hint_of(error)
    return FleetError(f"fleet {where}: {what}", hint)
