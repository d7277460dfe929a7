"""Settings, from four sources; an earlier one takes precedence.

    command line  >  AUDITSVC_* variables  >  TOML file  >  the defaults below

The name of a variable is the path of the setting with `__` between its parts:
`AUDITSVC_STORE`, `AUDITSVC_SPOOL__FSYNC`; any other `AUDITSVC_*` variable is an error. The TOML
file is the one that `AUDITSVC_CONFIG` or `--config` names, else /etc/auditsvc/auditsvc.toml if
it exists.

The text below each setting is its documentation: `auditsvc config show`, auditsvc.toml(5) and
docs/configuration.md are made from it (`auditsvc.manual.settings`). That of a number begins with
its unit, unless the setting's name ends with it.
"""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, TomlConfigSettingsSource

from auditsvc.errors import ConfigError
from auditsvc.host.files import read_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from pydantic_core import ErrorDetails
    from pydantic_settings import PydanticBaseSettingsSource

DEFAULT_FILE = Path("/etc/auditsvc/auditsvc.toml")
_PREFIX: Final = "AUDITSVC_"

_chosen: ContextVar[Path | None] = ContextVar("_chosen", default=None)

FsyncPolicy = Literal["none", "second", "batch"]
HolderChoice = Literal["auto", "systemd", "process", "off"]
GuardPolicy = Literal["off", "report", "restore"]
_LISTEN: Final = re.compile(r"unix:/.+|(127\.0\.0\.1|\[::1\]):[1-9][0-9]{0,4}")
_DAYS: Final = re.compile(r"[1-9][0-9]{0,4}d")


RECEIVE_BUFFER: Final = 32 << 20
"""Bytes of socket buffer, at least: room for 28,000 to 68,000 records."""
MOST_RECEIVE_BUFFER: Final = 512 << 20
"""Bytes of socket buffer that are taken by default, at most."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SpoolSettings(_Section):
    """The log on disk between the kernel and the database."""

    directory: Path | None = None
    """Default: `spool` in the state directory."""
    segment_bytes: int = Field(default=64 << 20, ge=4096)
    """At this size of a segment the next one begins."""
    keep_bytes: int = Field(default=1 << 30, ge=0)
    """Above this size, segments that are in the store are deleted, oldest first."""
    reserve_bytes: int = Field(default=32 << 20, ge=0)
    """Room that is held on the disk. When there is no more than that, one half is for logins,
    execs, configuration changes and own records, the other is shared by the login users."""
    limit_bytes: int | None = Field(default=None, ge=1 << 20)
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


class KernelSettings(_Section):
    """Kernel settings while the service runs."""

    receive_buffer: int | None = Field(default=None, ge=1 << 16, le=1 << 30)
    """Bytes. The kernel takes twice as many. A record takes 1 to 2.3 kB, independent of
    its length. They are used only while records wait: this is how long a restart may take. None:
    1/32 of the memory, at least 32 MiB and at most 512 MiB."""
    holder: HolderChoice = "auto"
    """Who keeps the record socket while no service runs: systemd, or a process of ours."""
    backlog_limit: int = Field(default=16384, ge=64)
    """Records the kernel may queue before audited tasks wait. Never lowered."""

    @property
    def buffer(self) -> int:
        """Give `receive_buffer`, or what is taken without it."""
        return self.receive_buffer or default_receive_buffer()


class LoaderSettings(_Section):
    """How rows reach the database."""

    batch_bytes: int = Field(default=12 << 20, ge=1 << 16)
    """Bytes of log in one transaction; the last piece read may exceed it."""
    latency: float = Field(default=0.18, gt=0, le=60)
    """Seconds that a record waits, at most, until its transaction begins."""
    idle: float = Field(default=2.0, gt=0)
    """Seconds without a further record after which an event is partial."""
    patience: float = Field(default=30.0, gt=0)
    """Seconds that a stopping service waits for the store; the rest stays in the spool."""


class IngestSettings(_Section):
    """How far logs of other programs are trusted."""

    trust_kernel_log: bool = False
    """Whether lines in the kernel's printed form (dmesg, syslog) are taken as the kernel's. Any
    program can write such a line; if it is not trusted it adds nothing to the events of our
    own spool."""


class RetentionSettings(_Section):
    """How long events stay in the store; None: for ever, and without a limit."""

    keep: str | None = None
    """Whole days before today, as "90d"; days before those are deleted."""
    max_bytes: int | None = Field(default=None, ge=1 << 20)
    """Above this size of the rows, the oldest days are deleted. SQLite only."""

    @field_validator("keep")
    @classmethod
    def _check_keep(cls, value: str | None) -> str | None:
        if value is not None and _DAYS.fullmatch(value) is None:
            raise ValueError('give a number of days, as "90d"')
        return value

    @property
    def days(self) -> int | None:
        """Give `keep` as a number."""
        return None if self.keep is None else int(self.keep.removesuffix("d"))

    @property
    def is_limited(self) -> bool:
        """Whether anything is ever deleted."""
        return self.keep is not None or self.max_bytes is not None


class EvidenceSettings(_Section):
    """How the log is signed, and where its heads go."""

    enabled: bool = True
    every: float = Field(default=30.0, ge=0.1, le=86400)
    """Seconds between two heads while records come. A segment's end has one too."""
    deliver_every: float = Field(default=300.0, ge=0.1, le=86400)
    """Seconds between two heads that go elsewhere. The first, and the last of a run, go at once."""
    journal: bool = True
    """Whether heads go to the systemd journal."""
    store: bool = True
    """Whether heads go to the store."""
    file: Path | None = None
    """Heads are appended to this file, which should be on another host's mount."""
    syslog: str | None = None
    """`local`, or HOST or HOST:PORT for UDP."""
    http: str | None = None
    """Heads are sent to this URL by POST, as JSON."""

    @field_validator("http")
    @classmethod
    def _check_http(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("https://", "http://")):
            raise ValueError("give an address that begins with https:// or http://")
        return value


class AccessSettings(_Section):
    """Who asked what of the store is recorded (`auditsvc.access`)."""

    required: bool = False
    """Whether a command reads nothing if that cannot be recorded."""


class CoverageSettings(_Section):
    """How often the service checks which tasks are covered."""

    every: float = Field(default=60.0, ge=1)
    """Seconds between two looks for covered tasks; the first two are at the start and five
    seconds later."""


class MetricsSettings(_Section):
    """Figures about the service for Prometheus; without `listen` and `textfile` there are none."""

    listen: str | None = None
    """Where they can be asked for by HTTP: `unix:/PATH` or `127.0.0.1:PORT`, of this host only.
    Absent: nowhere."""
    textfile: Path | None = None
    """A file `*.prom` that is written for node_exporter's textfile collector. Absent: none."""
    every: float = Field(default=15.0, ge=1)
    """Seconds between two gatherings; who asks in between gets the last one."""

    @field_validator("listen")
    @classmethod
    def _check_listen(cls, value: str | None) -> str | None:
        if value is not None and _LISTEN.fullmatch(value) is None:
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


class ForwardSettings(_Section):
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


class _File(TomlConfigSettingsSource):
    """The TOML file, which no other user may be able to change."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return _read(Path(str(file_path)))


def _read(file: Path) -> dict[str, Any]:
    return tomllib.loads(read_file(file).decode())


class Settings(BaseSettings):
    """Settings that belong to no section."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="ignore", frozen=True
    )

    store: str = "sqlite:////var/lib/auditsvc/auditsvc.db"
    """The database, as an SQLAlchemy URL: `sqlite:////PATH` or
    `postgresql://USER@HOST/DATABASE`."""
    rules: list[Path] | None = None
    """Rule files or folders in auditctl's language, or names of shipped sets. Absent: every
    system call of every task. Empty: no rules, only what the rules of others log."""
    source: str = "netlink"
    """Where records come from: `netlink` (as the audit daemon), `multicast` (beside one),
    `stdin` (as its plugin), `journal` (journald's audit entries), or a log file that is followed
    through rotation."""
    host: str = Field(default_factory=socket.gethostname, min_length=1)
    """The column `host` of records without node=. Absent: the host's name."""
    decoder: Literal["auto", "reference", "native"] = "auto"
    """What makes rows of records: `native` (the Rust core; an error if it was not built),
    `reference` (Python, slow), or `auto` (native if it was built)."""
    state_directory: Path = Path("/var/lib/auditsvc")
    """The folder of the spool and of evidence; the unit's StateDirectory= must be the same."""
    runtime_directory: Path = Path("/run/auditsvc")
    """The folder of small files of the running service; the unit's RuntimeDirectory= must be the
    same."""
    spool: SpoolSettings = SpoolSettings()
    kernel: KernelSettings = KernelSettings()
    loader: LoaderSettings = LoaderSettings()
    ingest: IngestSettings = IngestSettings()
    retention: RetentionSettings = RetentionSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    guard: GuardPolicy = "report"
    """What happens if somebody else deletes our rules, adds a `never` rule before them or switches
    audit off: nothing, a row in the view `tamper`, or a row and the change is undone."""
    access: AccessSettings = AccessSettings()
    coverage: CoverageSettings = CoverageSettings()
    metrics: MetricsSettings = MetricsSettings()
    forward: ForwardSettings = ForwardSettings()

    @property
    def decoder_name(self) -> str | None:
        """The chosen decoder; None for the best available."""
        return None if self.decoder == "auto" else self.decoder

    @property
    def spool_directory(self) -> Path:
        """The folder of the segments."""
        return self.spool.directory or self.state_directory / "spool"

    @classmethod
    def settings_customise_sources(  # noqa: D102 (pydantic's own hook)
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        file = _config_file()
        toml = [_File(settings_cls, toml_file=file)] if file else []
        return (init_settings, env_settings, *toml)


def use_file(config: Path) -> None:
    """Read this file instead of the default one from now on (the option --config)."""
    _chosen.set(config)


def settings_file() -> Path:
    """Give the file from which settings are read, if it exists."""
    return _config_file() or DEFAULT_FILE


def _config_file() -> Path | None:
    if chosen := _chosen.get():
        return chosen
    named = os.environ.get("AUDITSVC_CONFIG")
    if named:
        return Path(named)
    return DEFAULT_FILE if os.path.lexists(DEFAULT_FILE) else None


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; `overrides` are from the command line, None means not given.

    Raises ConfigError, which names the setting and where to correct it.
    """
    found = read_settings(**overrides)
    if isinstance(found, Settings):
        return found
    raise found[0]


def read_settings(**overrides: Any) -> Settings | list[ConfigError]:
    """Read the settings as `load_settings` does; gives every error instead of the first."""
    file = _config_file()
    errors = [*(_file_errors(file) if file else ()), *_variable_errors()]
    if errors:
        return errors
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        return [_explained(each, file) for each in error.errors()]
    except ValueError as error:
        return [ConfigError(f"a setting cannot be read: {error}", "correct it")]


def variable_of(name: str) -> str:
    """Give the variable of a setting that is named as in the file: `spool.keep_bytes`."""
    return f"{_PREFIX}{name.upper().replace('.', '__')}"


def setting_names() -> list[str]:
    """Name all settings, as in the file."""
    return list(_names(Settings, ""))


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Give the model of a section; None for a single setting."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, _Section) else None


def _names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if section := section_of(field.annotation):
            yield from _names(section, f"{name}.")
        else:
            yield f"{prefix}{name}"


def _explained(found: ErrorDetails, file: Path | None) -> ConfigError:
    name = ".".join(str(step) for step in found["loc"])
    where = f"on the command line, in {variable_of(name)}" + (f", or in {file}" if file else "")
    if found["type"] == "extra_forbidden":
        return ConfigError(f"unknown setting {name!r}", f"correct it {where}")
    return ConfigError(
        f"setting {name}: {found['msg']} (got {found.get('input')!r})", f"correct it {where}"
    )


def _variable_errors() -> Iterator[ConfigError]:
    """Refuse an AUDITSVC_* variable that sets nothing: a wrong name would go unnoticed."""
    names = setting_names()
    sections = {name.partition(".")[0] for name in names}
    known = {f"{_PREFIX}CONFIG"} | {variable_of(name) for name in (*names, *sections)}
    for name in sorted(os.environ):
        # As pydantic reads them: in any case; a section may be given as a whole, in JSON.
        if not name.upper().startswith(_PREFIX) or name.upper() in known:
            continue
        near = difflib.get_close_matches(name.upper(), sorted(known), 1)
        hint = f"did you mean {near[0]}" if near else "`auditsvc config show` lists all variables"
        yield ConfigError(f"unknown variable {name}", hint)


def _file_errors(file: Path) -> list[ConfigError]:
    """Refuse a file that is missing, wrong, or has an unknown setting."""
    try:
        values = _read(file)
    except OSError as error:
        return [
            ConfigError(f"configuration {file}: {error.strerror}", "give another with --config")
        ]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return [ConfigError(f"configuration {file}: {error}", "correct the TOML")]
    known = sorted(Settings.model_fields)
    return [
        ConfigError(
            f"configuration {file}: unknown setting {name!r}", f"known settings: {', '.join(known)}"
        )
        for name in values
        if name not in known
    ]
