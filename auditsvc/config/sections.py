"""The sections of the settings: names, types, bounds and defaults.

The text below each setting is its documentation (`auditsvc.manual.settings`). That of a number
begins with its unit, unless the setting's name ends with it.
"""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

FsyncPolicy = Literal["none", "second", "batch"]
HolderChoice = Literal["auto", "systemd", "process", "off"]
GuardPolicy = Literal["off", "report", "restore"]
SpaceAction = Literal["log", "exec", "hold", "drop-loaded", "drop", "stop", "halt"]
_ADDRESS: Final = re.compile(r"[A-Za-z0-9_.+=%][A-Za-z0-9_.+=%-]*(@[A-Za-z0-9][A-Za-z0-9.-]*)?")
_URL: Final = re.compile(r"https?://[^\s/@]+(/[!-~]*)?")
_LISTEN: Final = re.compile(r"unix:/.+|(?:127\.0\.0\.1|\[::1\]):([1-9][0-9]{0,4})")
# An IPv6 address without brackets is one if its end is not a port.
_SYSLOG: Final = re.compile(
    r"(?:\[[^\s/\[\]]+\]|[^\s/:\[\]]+)(?::([0-9]{1,5}))?"
    r"|[0-9A-Fa-f:.]*:(?![0-9]+$)[^\s/:\[\]]+"
)
_LAST_PORT: Final = (1 << 16) - 1
_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,62}(/[A-Za-z0-9_.=-]+)*/?")
_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}")
_FOLDER: Final = re.compile(r"(/[A-Za-z0-9_.+=@, -]+)+/?")
"""Without the signs that have a meaning in patterns of file names."""
_ENDPOINT: Final = re.compile(r"https?://[^\s/@?#]+/?")
_DAYS: Final = re.compile(r"[1-9][0-9]{0,4}d")


LONGEST: Final = 1e9
"""Seconds of a wait; Python waits no longer than nine times that (threading.TIMEOUT_MAX)."""
MOST_BYTES: Final = 1 << 50
"""Of a size that is allocated: a pebibyte. That much `auditsvc adopt` keeps where auditd keeps
all."""
LARGEST: Final = (1 << 63) - 1
"""Of a number that is only compared: TOML has no larger one, and who wants all gives it."""
RECEIVE_BUFFER: Final = 32 << 20
"""Bytes of socket buffer, at least: room for 28,000 to 68,000 records."""
MOST_RECEIVE_BUFFER: Final = 512 << 20
"""Bytes of socket buffer that are taken by default, at most."""


class Cause(StrEnum):
    """What an alert is about."""

    LOST = "lost"
    GAP = "gap"
    SPACE = "space"
    STORE = "store"
    TAMPER = "tamper"
    COVERAGE = "coverage"
    VERIFY = "verify"
    WATCHDOG = "watchdog"


def without_nul(value: object) -> object:
    """Refuse a text, or a list of texts, that no file, program or database can be given."""
    texts = value if isinstance(value, list | tuple) else [value]
    if any(isinstance(each, str) and "\0" in each for each in texts):
        raise ValueError("it has a character that no text may have (NUL)")
    return value


def _is_port(text: str | None) -> bool:
    return text is None or 0 < int(text) <= _LAST_PORT


class Section(BaseModel):
    """Settings of one section: no other names, and no change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _check_text(cls, value: object) -> object:
        return without_nul(value)


class SpoolSettings(Section):
    """The log on disk between the kernel and the database."""

    directory: Path | None = None
    """Default: `spool` in the state directory."""
    segment_bytes: int = Field(default=64 << 20, ge=4096, le=LARGEST)
    """At this size of a segment the next one begins."""
    keep_bytes: int = Field(default=1 << 30, ge=0, le=LARGEST)
    """Above this size, segments that are in the store are deleted, oldest first."""
    reserve_bytes: int = Field(default=32 << 20, ge=0, le=MOST_BYTES)
    """Room that is held on the disk. When there is no more than that, one half is for logins,
    execs, configuration changes and own records, the other is shared by the login users."""
    limit_bytes: int | None = Field(default=None, ge=1 << 20, le=LARGEST)
    """The spool never grows above this size. None: only the disk limits it."""
    fsync: FsyncPolicy = "second"
    """When written records are forced to the disk: never, each second, or with each batch."""

    @model_validator(mode="after")
    def _check_limit(self) -> Self:
        least = self.keep_bytes + self.segment_bytes + 2 * self.reserve_bytes
        if self.limit_bytes is not None and self.limit_bytes < least:
            raise ValueError(
                "spool.limit_bytes must be at least keep_bytes + segment_bytes + 2 * reserve_bytes"
                f" = {least}"
            )
        if self.limit_bytes is not None and not self.reserve_bytes:
            raise ValueError("spool.limit_bytes needs spool.reserve_bytes")
        return self


def default_receive_buffer() -> int:
    """Give 1/32 of the host's memory, at least 32 MiB and at most 512 MiB."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(max(memory // 32, RECEIVE_BUFFER), MOST_RECEIVE_BUFFER)


class KernelSettings(Section):
    """Kernel settings while the service runs."""

    receive_buffer: int | None = Field(default=None, ge=1 << 16, le=1 << 30)
    """Bytes. The kernel takes twice as many. A record takes 1 to 2.3 kB, independent of
    its length. They are used only while records wait: this is how long a restart may take. None:
    1/32 of the memory, at least 32 MiB and at most 512 MiB."""
    holder: HolderChoice = "auto"
    """Who keeps the record socket while no service runs: systemd, or a process of ours."""
    backlog_limit: int = Field(default=16384, ge=64, lt=1 << 32)
    """Records the kernel may queue before audited tasks wait. Never lowered."""

    @property
    def buffer(self) -> int:
        """Give `receive_buffer`, or what is taken without it."""
        return self.receive_buffer or default_receive_buffer()


class LoaderSettings(Section):
    """How rows reach the database."""

    batch_bytes: int = Field(default=12 << 20, ge=1 << 16, le=1 << 30)
    """Bytes of log in one transaction; the last piece read may exceed it."""
    latency: float = Field(default=0.18, gt=0, le=60)
    """Seconds that a record waits, at most, until its transaction begins."""
    idle: float = Field(default=2.0, gt=0)
    """Seconds without a further record after which an event is partial."""
    patience: float = Field(default=30.0, gt=0, le=LONGEST)
    """Seconds that a stopping service loads what waits; the rest stays in the spool."""


class IngestSettings(Section):
    """How far logs of other programs are trusted."""

    trust_kernel_log: bool = False
    """Whether lines in the kernel's printed form (dmesg, syslog) are taken as the kernel's. Any
    program can write such a line; if it is not trusted it adds nothing to the events of our
    own spool."""


def _check_days(value: str | None) -> str | None:
    if value is not None and _DAYS.fullmatch(value) is None:
        raise ValueError('give a number of days, as "90d"')
    return value


class RetentionSettings(Section):
    """How long events stay in the store; None: for ever, and without a limit."""

    keep: str | None = None
    """Whole days before today, as "90d"; days before those are deleted."""
    max_bytes: int | None = Field(default=None, ge=1 << 20, le=LARGEST)
    """Above this size of the rows, the oldest days are deleted. SQLite only."""

    _check_keep = field_validator("keep")(_check_days)

    @property
    def days(self) -> int | None:
        """Give `keep` as a number."""
        return None if self.keep is None else int(self.keep.removesuffix("d"))

    @property
    def is_limited(self) -> bool:
        """Whether anything is ever deleted."""
        return self.keep is not None or self.max_bytes is not None


class ArchiveSettings(Section):
    """The archive: days that are over, as Parquet files (`auditsvc archive`)."""

    to: str | None = None
    """Where: a folder, by its full path, or `s3://BUCKET/PREFIX`. Absent: there is none."""
    endpoint: str | None = None
    """The `http://` or `https://` address of an S3 server that is not Amazon's."""
    region: str = "us-east-1"
    """The region of the bucket."""
    credentials: Path | None = None
    """A file, mode 0600, with `access_key = "..."` and `secret_key = "..."`. Absent: the systemd
    credential `auditsvc-archive` of the same form, else what the host itself has (a role)."""
    grace: float = Field(default=6.0, ge=0, le=240)
    """Hours after the end of a day (UTC) at which it is archived; what comes later goes into a
    further part of it."""
    keep: str | None = None
    """Whole days before today that the archive keeps, as "400d"; those before are deleted. None:
    for ever."""

    @field_validator("to")
    @classmethod
    def _check_to(cls, value: str | None) -> str | None:
        if (
            value is not None
            and _FOLDER.fullmatch(value) is None
            and _BUCKET.fullmatch(value) is None
        ):
            raise ValueError(
                "give the full path of a folder, of letters, digits and blanks, _ . + = @ , - and"
                " /, or s3://BUCKET/PREFIX"
            )
        return value

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and _ENDPOINT.fullmatch(value) is None:
            raise ValueError("give http://HOST:PORT or https://HOST:PORT, without a user")
        return value

    _check_keep = field_validator("keep")(_check_days)

    @property
    def days(self) -> int | None:
        """Give `keep` as a number."""
        return None if self.keep is None else int(self.keep.removesuffix("d"))


class FleetSettings(Section):
    """The lake of many hosts: where this host's events go (`auditsvc fleet`)."""

    bucket: str | None = None
    """The bucket with the inbox. Set: `run` ships every event of the store. Absent: none."""
    endpoint: str | None = None
    """The `https://` (or `http://`) address of an S3 server that is not Amazon's."""
    region: str = "us-east-1"
    """The region of the bucket, and of the catalog's signatures."""
    ca: Path | None = None
    """A PEM file with the authority of the endpoint's and catalog's certificates. Absent: the
    usual ones."""
    credentials: Path | None = None
    """A file, mode 0600, with `access_key = "..."` and `secret_key = "..."`. Absent: the systemd
    credential `auditsvc-fleet` of the same form, else what the host itself has (a role)."""
    shard: str = Field(default="0", pattern=r"^[a-z0-9-]{1,32}$")
    """The part of the inbox that this host's batches go to; a committer can take only some."""
    batch_events: int = Field(default=64_000, ge=1, le=1_000_000)
    """Events of a batch, at most."""
    interval: float = Field(default=300.0, ge=0.1, le=86_400)
    """Seconds after which a batch goes that is not full. One goes after the end of a day (UTC) too,
    and an empty one each hour."""
    catalog: str | None = None
    """The address of the Iceberg REST catalog; for committers and queries, not for hosts."""
    catalog_auth: Literal["oauth2", "sigv4", "none"] = "oauth2"
    """How the credentials are shown to the catalog."""
    warehouse: str | None = None
    """The catalog's warehouse, as `s3://BUCKET`."""
    table: str = Field(default="auditsvc.events", pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")
    """The table, as NAMESPACE.NAME."""
    keep: str | None = None
    """Whole days before today that `auditsvc fleet prune` keeps in the table, as "400d"."""

    @field_validator("endpoint", "catalog")
    @classmethod
    def _check_endpoint(cls, value: str | None) -> str | None:
        if value is not None and _URL.fullmatch(value) is None and not _ENDPOINT.fullmatch(value):
            raise ValueError("give http://HOST:PORT or https://HOST:PORT, without a user")
        return value

    @field_validator("bucket")
    @classmethod
    def _check_bucket(cls, value: str | None) -> str | None:
        if value is not None and _BUCKET_NAME.fullmatch(value) is None:
            raise ValueError("give the name of a bucket, without s3:// and without a prefix")
        return value

    _check_keep = field_validator("keep")(_check_days)


class EvidenceSettings(Section):
    """How the log is signed, and where its heads go."""

    enabled: bool = True
    """Whether the log is signed."""
    every: float = Field(default=30.0, ge=0.1, le=86400)
    """Seconds between two heads while records come. A segment's end has one too."""
    deliver_every: float = Field(default=300.0, ge=0.1, le=86400)
    """Seconds between two heads that go elsewhere. The first, and the last of a run, go at once."""
    journal: bool = True
    """Whether heads go to the systemd journal."""
    store: bool = True
    """Whether all heads go to the store; otherwise one of each run, and of each pruning."""
    file: Path | None = None
    """Heads are appended to this file, which should be on another host's mount."""
    syslog: str | None = None
    """`local`, or HOST or HOST:PORT for UDP."""
    http: str | None = None
    """Heads are sent to this URL by POST, as JSON."""
    key_directory: Path | None = None
    """The folder of the signing keys, root's own (mode 0700), outside of what the loader's process
    may change; the unit makes it, and its ReadWritePaths= must name it. Absent: beside the
    state directory, as `/var/lib/auditsvc-key`."""

    @field_validator("syslog")
    @classmethod
    def _check_syslog(cls, value: str | None) -> str | None:
        found = None if value is None else _SYSLOG.fullmatch(value)
        if value is not None and (found is None or not _is_port(found[1])):
            raise ValueError("give local, HOST or HOST:PORT (an IPv6 address in brackets)")
        return value

    @field_validator("http")
    @classmethod
    def _check_http(cls, value: str | None) -> str | None:
        if value is not None and _URL.fullmatch(value) is None:
            raise ValueError("give http://HOST/PATH or https://HOST/PATH")
        return value


class AccessSettings(Section):
    """Who may read the store, and that who asked what of it is recorded (`auditsvc.access`)."""

    required: bool = False
    """Whether a command reads nothing if that cannot be recorded."""
    readers: str | None = None
    """A group whose members may read an SQLite store while the service runs, and nothing else of
    it; the package makes `auditsvc-readers`. Absent: only root and the service's user."""


class CoverageSettings(Section):
    """How often the service checks which tasks are covered."""

    every: float = Field(default=60.0, ge=1)
    """Seconds between two looks for covered tasks; the first two are at the start and five
    seconds later."""


class MetricsSettings(Section):
    """Figures about the service for Prometheus; without `listen` and `textfile` there are none."""

    listen: str | None = None
    """Where they can be asked for by HTTP: `unix:/PATH` or `127.0.0.1:PORT`, of this host only.
    Absent: nowhere."""
    textfile: Path | None = None
    """A file `*.prom` that is written for node_exporter's textfile collector. Absent: none."""
    every: float = Field(default=15.0, ge=1, le=LONGEST)
    """Seconds between two gatherings; who asks in between gets the last one."""

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str | None) -> str | None:
        found = None if value is None else _LISTEN.fullmatch(value)
        if value is not None and (found is None or not _is_port(found[1])):
            raise ValueError("give unix:/PATH or 127.0.0.1:PORT (or [::1]:PORT)")
        return value

    @field_validator("textfile")
    @classmethod
    def _check_textfile(cls, value: Path | None) -> Path | None:
        if value is not None and not (value.is_absolute() and value.suffix == ".prom"):
            raise ValueError("give an absolute path that ends with .prom")
        return value

    @property
    def is_on(self) -> bool:
        """Whether they are gathered at all."""
        return self.listen is not None or self.textfile is not None


def _check_command(value: tuple[str, ...]) -> tuple[str, ...]:
    if value and not value[0].startswith("/"):
        raise ValueError('give the program by its full path, as ["/usr/local/bin/tell", "me"]')
    return value


class AlertSettings(Section):
    """Who is told when records are lost or may be: once when it begins, once when it is over."""

    on: tuple[Cause, ...] = tuple(Cause)
    """What is told: `lost` records, `gap` in serials, `space`, `store` that is away, `tamper`,
    `coverage` lost, `verify` failed, `watchdog` (the service stood still or was killed)."""
    exec: tuple[str, ...] = ()
    """A program and its arguments, without a shell. It gets the alert as JSON on its standard
    input, and as AUDITSVC_ALERT_CAUSE, _STATE (begin or over), _HOST and _TEXT."""
    mail: tuple[str, ...] = ()
    """Addresses that get a mail."""
    sendmail: Path = Path("/usr/sbin/sendmail")
    """The program that sends mails."""
    webhook: str | None = None
    """An `http://` or `https://` URL to which the alert is posted as JSON."""
    journal: bool = False
    """Whether an entry with AUDITSVC_ALERT= is written to the systemd journal."""
    store_away: float = Field(default=300.0, ge=0)
    """Seconds that the store must be away before that is told."""
    quiet: float = Field(default=300.0, gt=0)
    """Seconds without its cause after which an alert is over."""

    _check_exec = field_validator("exec")(_check_command)

    @field_validator("mail")
    @classmethod
    def _check_mail(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(_ADDRESS.fullmatch(each) is None for each in value):
            raise ValueError("give addresses as root or name@host")
        return value

    @field_validator("webhook")
    @classmethod
    def _check_webhook(cls, value: str | None) -> str | None:
        if value is not None and _URL.fullmatch(value) is None:
            raise ValueError("give http://HOST/PATH or https://HOST/PATH")
        return value


class SpaceSettings(Section):
    """What is done when the disk of the spool, or `spool.limit_bytes`, fills."""

    warn: float = Field(default=75.0, gt=0, le=100)
    """Percent in use at which the first stage begins; it ends one percent below."""
    act: float = Field(default=95.0, gt=0, le=100)
    """Percent in use at which the second stage begins."""
    warn_actions: tuple[SpaceAction, ...] = ("log",)
    """What the first stage does: `log`; `exec`, the program below; `hold`, audited tasks wait;
    `drop-loaded`, segments that are in the store are deleted, also below `spool.keep_bytes`;
    `drop`, ordinary records are dropped and counted; `stop`, the service ends; `halt`, the host is
    switched off."""
    act_actions: tuple[SpaceAction, ...] = ("log",)
    """What the second stage does, from the same words."""
    exec: tuple[str, ...] = ()
    """The program for `exec` with its arguments; it gets what `alert.exec` gets."""
    halt: tuple[str, ...] = ("/usr/bin/systemctl", "--no-block", "poweroff")
    """The program for `halt` with its arguments."""

    _check_exec = field_validator("exec", "halt")(_check_command)

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if self.warn > self.act:
            raise ValueError("space.warn must not be above space.act")
        if "exec" in (*self.warn_actions, *self.act_actions) and not self.exec:
            raise ValueError("the action exec needs space.exec")
        return self


class ForwardSettings(Section):
    """Which events are sent to the systemd journal; all given conditions must be met."""

    enabled: bool = False
    """Whether `run` forwards; `auditsvc forward` always does."""
    keys: tuple[str, ...] = ()
    """A system call must have one of these rule keys. Empty: any key."""
    exclude_keys: tuple[str, ...] = ("all-syscalls",)
    """Keys that do not count."""
    keyed: bool = True
    """Whether a system call must have a key."""
    syscalls: tuple[str, ...] = ()
    """Only these system calls, by name. Empty: all."""
    success: bool | None = None
    """Only calls that succeeded (true) or failed (false). Absent: both."""
    auids: tuple[Annotated[int, Field(ge=0, lt=1 << 32)], ...] = ()
    """Only calls of these login users, by number. Empty: all."""
    programs: tuple[str, ...] = ()
    """Only calls of these programs, by their exe. Empty: all."""
    types: tuple[str, ...] = ()
    """Record types of events without a system call that are also sent; `*` for all."""
    drain: float = Field(default=5.0, ge=0)
    """Seconds that a stopping forwarder may still send waiting events."""
