"""Settings from three sources, and one clear line when they are wrong."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest

from auditsvc.config import Settings, load_settings, settings_of
from auditsvc.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch, tmp_path):
    monkeypatch.delenv("AUDITSVC_CONFIG", raising=False)
    monkeypatch.setattr("auditsvc.config.DEFAULT_FILE", tmp_path / "absent.toml")


def test_command_line_beats_variable_beats_file(monkeypatch, tmp_path):
    """The source with the higher precedence wins; without any it is the default."""
    file = tmp_path / "auditsvc.toml"
    file.write_text('store = "sqlite:///file.db"\nhost = "file"\nsource = "stdin"\n')
    monkeypatch.setenv("AUDITSVC_CONFIG", str(file))
    monkeypatch.setenv("AUDITSVC_HOST", "variable")
    monkeypatch.setenv("AUDITSVC_STORE", "sqlite:///variable.db")
    settings = load_settings(store="sqlite:///line.db")
    assert (settings.store, settings.host, settings.source) == (
        "sqlite:///line.db",
        "variable",
        "stdin",
    )
    assert settings.spool.fsync == "second"


def test_sections_have_variables_too(monkeypatch):
    """AUDITSVC_SPOOL__FSYNC is spool.fsync."""
    monkeypatch.setenv("AUDITSVC_SPOOL__FSYNC", "batch")
    assert load_settings().spool.fsync == "batch"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('stroe = "x"', "unknown setting 'stroe'"),
        ("[spool]\nfsync = 'daily'", "spool.fsync"),
        ("[spool]\ncolour = 1", "unknown setting 'spool.colour'"),
        ("store = ", "auditsvc.toml"),
        ("[kernel]\nbacklog_limit = -4", "kernel.backlog_limit"),
        ("[spool]\nlimit_bytes = 2097152", "at least keep_bytes"),
        ('store = "sqlite:////a\\u0000b"', "store: .*NUL"),
        ('[alert]\nexec = ["/bin/a\\u0000"]', "alert.exec: .*NUL"),
        ('[alert]\nexec = "/bin/a"', "alert.exec: it must be a list, as "),
        ('host = "a\\nb"', "host: give a name without control"),
        ('host = " "', "host: give a name without control"),
        ("[kernel]\nbacklog_limit = 4294967296", "kernel.backlog_limit"),
        ("[spool]\nkeep_bytes = 9223372036854775808", "spool.keep_bytes"),
        ("[metrics]\nevery = 1e10", "metrics.every"),
        ("[loader]\npatience = inf", "loader.patience"),
        ("[spool]\nreserve_bytes = 9223372036854775807", "spool.reserve_bytes"),
        ("[metrics]\nevery = inf", "metrics.every"),
        ("[loader]\nidle = nan", "loader.idle"),
        ('[metrics]\nlisten = "127.0.0.1:65536"', "metrics.listen: give unix:"),
        ('[evidence]\nsyslog = "a b"', "evidence.syslog: give local, HOST"),
        ('[evidence]\nsyslog = "host:65536"', "evidence.syslog: give local, HOST"),
        ('[evidence]\nsyslog = "host:0"', "evidence.syslog: give local, HOST"),
        ('[evidence]\nsyslog = "/dev/log"', "evidence.syslog: give local, HOST"),
        ('[evidence]\nhttp = "http://"', "evidence.http: give http://HOST"),
        ("state_directory = 7", "state_directory: it must be a path"),
        ('\ufeffstore = "x"', "configuration"),
    ],
)
def test_wrong_files_are_named(monkeypatch, tmp_path, text, says):
    """One line names the setting and the file; the status is that of wrong usage."""
    file = tmp_path / "auditsvc.toml"
    file.write_text(text)
    monkeypatch.setenv("AUDITSVC_CONFIG", str(file))
    with pytest.raises(ConfigError, match=says) as caught:
        load_settings()
    assert "\n" not in str(caught.value)
    assert caught.value.status == 2


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("AUDITSVC_SPOOL", "no JSON", "variable AUDITSVC_SPOOL: it must be a table"),
        ("AUDITSVC_ALERT__EXEC", '["a"', "variable AUDITSVC_ALERT__EXEC: it must be a list"),
        ("AUDITSVC_RULES", "cis", "setting rules: it must be a list"),
        ("AUDITSVC_ALERT__EXEC", '["a"]', "alert.exec: give the program by its full path"),
        ("AUDITSVC_GUARD", "", "setting guard"),
        ("AUDITSVC_ARCHIVE__TO", "/a[1]*", "of letters, digits and blanks"),
        ("AUDITSVC_ARCHIVE__TO", "a", "the full path of a folder"),
    ],
)
def test_wrong_variables_are_named(monkeypatch, name, value, says):
    """With what they must have."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=says):
        load_settings()


PLACES = (
    *("10.0.0.1:514", "[::1]:65535", "log_host:0514"),
    *("[fe80::1%eth0]:514", "fe80::1%eth0", "2001:db8::beef", "münchen.example"),
)
"""Of syslog, all of which have an address."""

LARGE = (
    ("spool", "keep_bytes", "9223372036854775807"),
    ("spool", "limit_bytes", "9223372036854775807"),
    ("spool", "segment_bytes", "9223372036854775807"),
    ("retention", "max_bytes", "9223372036854775807"),
    ("coverage", "every", "99999999"),
    ("metrics", "every", "99999999"),
    ("loader", "patience", "99999999"),
    ("loader", "idle", "inf"),
    ("alert", "store_away", "inf"),
    ("alert", "quiet", "1e9"),
    ("forward", "drain", "99999999"),
)


@pytest.mark.parametrize(("section", "name", "value"), LARGE)
def test_who_wants_all_or_never_gives_a_large_number(monkeypatch, tmp_path, section, name, value):
    """Nothing fails of it, so a service that has it starts after an upgrade, too."""
    file = tmp_path / "auditsvc.toml"
    file.write_text(f'host = "web 1"\n[{section}]\n{name} = {value}\n')
    monkeypatch.setenv("AUDITSVC_CONFIG", str(file))
    settings = load_settings()
    assert float(getattr(getattr(settings, section), name)) == float(value)
    assert settings_of(json.loads(json.dumps(settings.model_dump(mode="json")))) == settings


@pytest.mark.parametrize("good", [*PLACES, "local", "host", "[::1]"])
def test_places_of_syslog(monkeypatch, good):
    """As the manual page says."""
    monkeypatch.setenv("AUDITSVC_EVIDENCE__SYSLOG", good)
    assert load_settings().evidence.syslog == good


def test_a_file_that_is_not_utf_8(monkeypatch, tmp_path):
    """The byte is named."""
    file = tmp_path / "auditsvc.toml"
    file.write_bytes(b"# \xff\n")
    monkeypatch.setenv("AUDITSVC_CONFIG", str(file))
    with pytest.raises(ConfigError, match="byte 2 is not UTF-8; save it as UTF-8"):
        load_settings()


def test_missing_file_is_named(monkeypatch, tmp_path):
    """A file that was asked for must be there."""
    monkeypatch.setenv("AUDITSVC_CONFIG", str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigError, match="No such file"):
        load_settings()


def test_wrong_variable_is_named(monkeypatch):
    """The variable to correct stands in the line."""
    monkeypatch.setenv("AUDITSVC_LOADER__LATENCY", "soon")
    with pytest.raises(ConfigError, match="AUDITSVC_LOADER__LATENCY"):
        load_settings()


def commented(text):
    """Give the settings file with its defaults no longer comments."""
    return tomllib.loads(re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", text))


def test_the_settings_file_shows_every_setting_with_its_default(monkeypatch):
    """So what an error recommends to set stands there; nothing that is not a setting does."""
    shown = commented((ROOT / "packaging/auditsvc.toml").read_text())
    defaults = Settings().model_dump(mode="json")
    examples = {"rules": None, "host": None, "spool.directory": None, "forward.success": None}
    examples |= dict.fromkeys(("metrics.listen", "metrics.textfile", "alert.webhook"))
    examples["access.readers"] = None
    examples |= dict.fromkeys(
        ("spool.limit_bytes", "retention.keep", "retention.max_bytes", "kernel.receive_buffer")
    )
    examples |= dict.fromkeys(
        ("archive.to", "archive.endpoint", "archive.credentials", "archive.keep")
    )
    examples |= dict.fromkeys(
        f"fleet.{name}"
        for name in ("bucket", "endpoint", "ca", "credentials", "catalog", "warehouse", "keep")
    )
    examples |= dict.fromkeys(
        ("evidence.file", "evidence.syslog", "evidence.http", "evidence.key_directory")
    )

    def compare(names, shown, defaults):
        assert set(shown) == set(defaults), names
        for name, default in defaults.items():
            path = ".".join((*names, name))
            if isinstance(default, dict):
                compare((*names, name), shown[name], default)
            elif path not in examples:
                assert shown[name] == default, path

    for name in [each for each in os.environ if each.startswith("AUDITSVC_")]:
        monkeypatch.delenv(name)
    compare((), shown, defaults)


def test_settings_go_to_another_process_as_they_are(monkeypatch, tmp_path):
    """As JSON, of every type; what that process finds in its environment or files is not read."""
    settings = load_settings(
        store="postgresql://u:p@h/d",
        rules=[tmp_path / "a", tmp_path / "b"],
        spool={"directory": str(tmp_path), "limit_bytes": 4 << 30},
        forward={"auids": [0, 1000], "keys": ["a"]},
        retention={"keep": "90d"},
        space={"act_actions": ["stop"]},
        alert={"exec": ["/bin/true", "x"]},
    )
    monkeypatch.setenv("AUDITSVC_HOST", "another")
    monkeypatch.setenv("AUDITSVC_SPOOL__FSYNC", "batch")
    sent = json.loads(json.dumps(settings.model_dump(mode="json")))
    assert settings_of(sent) == settings
