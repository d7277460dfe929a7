"""Settings, from four sources; an earlier one takes precedence.

    command line  >  AUDITSVC_* variables  >  TOML file  >  the defaults below

The name of a variable is the path of the setting with `__` between its parts:
`AUDITSVC_STORE`, `AUDITSVC_SPOOL__FSYNC`; any other `AUDITSVC_*` variable is an error. The TOML
file is the one that `AUDITSVC_CONFIG` or `--config` names, else /etc/auditsvc/auditsvc.toml if
it exists.

The text below each setting, here and in `auditsvc.config.sections`, is its documentation:
`auditsvc config show`, auditsvc.toml(5) and docs/configuration.md are made from it
(`auditsvc.manual.settings`).
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import socket
import tomllib
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from auditsvc.config.sections import (
    RECEIVE_BUFFER,
    AccessSettings,
    AlertSettings,
    ArchiveSettings,
    Cause,
    CoverageSettings,
    EvidenceSettings,
    FleetSettings,
    ForwardSettings,
    FsyncPolicy,
    GuardPolicy,
    HolderChoice,
    IngestSettings,
    KernelSettings,
    LoaderSettings,
    MetricsSettings,
    RetentionSettings,
    Section,
    SpaceSettings,
    SpoolSettings,
    without_nul,
)
from auditsvc.errors import ConfigError, plain
from auditsvc.host.files import read_file
from auditsvc.value_text import parse_json, parse_toml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

    from pydantic_core import ErrorDetails
    from pydantic_settings import PydanticBaseSettingsSource

__all__ = [
    "DEFAULT_FILE",
    "RECEIVE_BUFFER",
    "AccessSettings",
    "AlertSettings",
    "ArchiveSettings",
    "Cause",
    "CoverageSettings",
    "EvidenceSettings",
    "FleetSettings",
    "ForwardSettings",
    "FsyncPolicy",
    "GuardPolicy",
    "HolderChoice",
    "IngestSettings",
    "KernelSettings",
    "LoaderSettings",
    "MetricsSettings",
    "RetentionSettings",
    "Settings",
    "SpaceSettings",
    "SpoolSettings",
    "load_settings",
    "read_settings",
    "section_of",
    "setting_names",
    "settings_file",
    "use_file",
    "variable_of",
]

DEFAULT_FILE = Path("/etc/auditsvc/auditsvc.toml")
_PREFIX: Final = "AUDITSVC_"
_HOST: Final = re.compile(r"[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*")

_chosen: ContextVar[Path | None] = ContextVar("_chosen", default=None)


class _File(TomlConfigSettingsSource):
    """The TOML file, which no other user may be able to change."""

    def _read_file(self, file_path: Path | Traversable) -> dict[str, Any]:
        return _read(Path(str(file_path)))


def _read(file: Path) -> dict[str, Any]:
    return parse_toml(read_file(file))


class Settings(BaseSettings):
    """Settings that belong to no section."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", extra="ignore", frozen=True
    )

    store: str = "sqlite:////var/lib/auditsvc/auditsvc.db"
    """The database, as an SQLAlchemy URL: `sqlite:////PATH` or
    `postgresql://USER@HOST/DATABASE`."""
    store_server_user: str = "postgres"
    """The user that a PostgreSQL server on this host runs as. If it does, the calls of the store's
    server are left out of the rules, as each row would make the next; a server of another user is
    not left out."""
    rules: list[Path] | None = None
    """Rule files or folders in auditctl's language, or names of shipped sets. Absent: every
    system call of every task. Empty: no rules, only what the rules of others log."""
    source: str = "netlink"
    """Where records come from: `netlink` (as the audit daemon), `multicast` (beside one),
    `stdin` (as its plugin), `journal` (journald's audit entries), or a log file that is followed
    through rotation."""
    host: str = Field(default_factory=socket.gethostname)
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
    archive: ArchiveSettings = ArchiveSettings()
    fleet: FleetSettings = FleetSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    guard: GuardPolicy = "report"
    """What happens if somebody else deletes our rules, adds a `never` rule before them or switches
    audit off: nothing, a row in the view `tamper`, or a row and the change is undone."""
    access: AccessSettings = AccessSettings()
    coverage: CoverageSettings = CoverageSettings()
    metrics: MetricsSettings = MetricsSettings()
    alert: AlertSettings = AlertSettings()
    space: SpaceSettings = SpaceSettings()
    forward: ForwardSettings = ForwardSettings()

    @field_validator("*", mode="before")
    @classmethod
    def _check_text(cls, value: object) -> object:
        return without_nul(value)

    @field_validator("host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        if _HOST.fullmatch(value) is None:
            raise ValueError("give a name without control characters")
        return value

    @property
    def decoder_name(self) -> str | None:
        """The chosen decoder; None for the best available."""
        return None if self.decoder == "auto" else self.decoder

    @property
    def spool_directory(self) -> Path:
        """The folder of the segments."""
        return self.spool.directory or self.state_directory / "spool"

    @property
    def key_path(self) -> Path:
        """The file of the keys that sign this spool: one for each path of a spool."""
        state, spool = self.state_directory.absolute(), self.spool_directory.absolute()
        folder = self.evidence.key_directory or state.with_name(f"{state.name}-key")
        return folder / f"key-{hashlib.sha256(os.fsencode(spool)).hexdigest()[:16]}"

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
    unreadable = _unreadable(file) if file else None
    if unreadable:
        return [unreadable, *_variable_errors()]
    errors = [*(_unknown_names(file) if file else ()), *_variable_errors()]
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        made = Settings(**given)
    except ValidationError as error:
        # A name outside the sections is told above.
        return errors + [_explained(each, file) for each in error.errors() if not _is_top(each)]
    except (SettingsError, RecursionError) as error:  # the second one: too many levels
        return [*errors, _unread(error)]
    return errors or made


def read_file_alone() -> Settings | list[ConfigError]:
    """Read the settings as they are where no variable has another value than the file.

    So of a service: the variables are those of who asks. The file must be one that can be read.
    """
    file = _config_file()
    return read_settings(**(_read(file) if file and not _unreadable(file) else {}))


def _is_top(found: ErrorDetails) -> bool:
    """Whether this is an unknown name outside any section."""
    return found["type"] == "extra_forbidden" and len(found["loc"]) == 1


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Make settings of `model_dump(mode="json")` of others; nothing else is read."""
    made = {
        name: TypeAdapter[Any](each.annotation or Any).validate_python(values[name])
        for name, each in Settings.model_fields.items()
    }
    return Settings.model_construct(**made)


def variable_of(name: str) -> str:
    """Give the variable of a setting that is named as in the file: `spool.keep_bytes`."""
    return f"{_PREFIX}{name.upper().replace('.', '__')}"


def setting_names() -> list[str]:
    """Name all settings, as in the file."""
    return list(_names(Settings, ""))


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Give the model of a section; None for a single setting."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if section := section_of(field.annotation):
            yield from _names(section, f"{name}.")
        else:
            yield f"{prefix}{name}"


def _json_variables(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    """Give the variables whose values are JSON, and what these must be."""
    for name, field in model.model_fields.items():
        if section := section_of(field.annotation):
            yield variable_of(name), 'a table, as {"name": 1}'
            yield from _json_variables(section, f"{name}.")
        elif "list" in str(field.annotation) or "tuple" in str(field.annotation):
            yield variable_of(f"{prefix}{name}"), 'a list, as ["one", "two"]'


def _explained(found: ErrorDetails, file: Path | None) -> ConfigError:
    name = ".".join(str(step) for step in found["loc"])
    where = f"on the command line, in {variable_of(name)}" + (f", or in {file}" if file else "")
    if found["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, setting_names(), 1)
        hint = f"did you mean {near[0]}" if near else f"correct it {where}"
        return ConfigError(f"unknown setting {name!r}", hint)
    return ConfigError(
        f"setting {name}: {plain(found['msg'])} (got {found.get('input')!r})", f"correct it {where}"
    )


def _unread(error: Exception) -> ConfigError:
    """Name the variable that is to have JSON, as one of a list or of a section, and has none."""
    wanted_of = dict(_json_variables(Settings, ""))
    for given in sorted(os.environ):
        wanted = wanted_of.get(given.upper())
        if wanted is None:
            continue
        try:
            parse_json(os.environ[given])
        except ValueError:
            return ConfigError(f"variable {given}: it must be {wanted}, in JSON", "correct it")
    return ConfigError(f"a setting cannot be read: {error}", "correct it")


def _variable_errors() -> Iterator[ConfigError]:
    """Refuse an AUDITSVC_* variable that sets nothing: a wrong name would go unnoticed."""
    names = setting_names()
    sections = {name.partition(".")[0] for name in names}
    known = {f"{_PREFIX}CONFIG", f"{_PREFIX}PAGER"} | {
        variable_of(name) for name in (*names, *sections)
    }
    ends = {name.removeprefix(_PREFIX) for name in known}
    for name in sorted(os.environ):
        # As pydantic reads them: in any case; a section may be given as a whole, in JSON.
        if not name.upper().startswith(_PREFIX) or name.upper() in known:
            continue
        near = difflib.get_close_matches(name.upper().removeprefix(_PREFIX), sorted(ends), 1)
        hint = (
            f"did you mean {_PREFIX}{near[0]}"
            if near
            else "`auditsvc config show` lists all variables"
        )
        yield ConfigError(f"unknown variable {name}", hint)


def _unreadable(file: Path) -> ConfigError | None:
    """Refuse a file that is missing or wrong."""
    try:
        _read(file)
    except OSError as error:
        return ConfigError(f"configuration {file}: {error.strerror}", "give another with --config")
    except tomllib.TOMLDecodeError as error:
        return ConfigError(f"configuration {file}: {error}", "correct the TOML")
    except UnicodeDecodeError as error:
        what = f"configuration {file}: byte {error.start} is not UTF-8"
        return ConfigError(what, "save it as UTF-8")
    return None


def _unknown_names(file: Path) -> Iterator[ConfigError]:
    """Refuse what a file has outside the sections, or as a section, and is none."""
    known = sorted(Settings.model_fields)
    for name in _read(file):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}" if near else f"known settings: {', '.join(known)}"
            yield ConfigError(f"configuration {file}: unknown setting {name!r}", hint)
