"""What `auditsvc adopt` reads of auditd's, and what it says each of it becomes."""

from __future__ import annotations

import gzip
import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from fixtures import commands

from auditsvc.adopt import settings_file
from auditsvc.adopt.auditd_conf import KEYWORDS, read_conf, read_plugins
from auditsvc.adopt.plan import logs_of, make_plan
from auditsvc.adopt.plan_line import Verdict
from auditsvc.config import Settings
from auditsvc.errors import AuditsvcError
from auditsvc.rule import Add, parse, read

PEERS = Path(__file__).parents[2] / "build/peers"
SHIPPED = PEERS / "etc/audit"
MANUAL = PEERS / "usr/share/man/man5/auditd.conf.5.gz"


def etc(folder, text="", rules=None, plugins=None):
    """A folder as /etc/audit is."""
    (folder / "auditd.conf").write_text(text)
    (folder / "rules.d").mkdir()
    for name, lines in (rules or {}).items():
        (folder / "rules.d" / name).write_text(lines)
    (folder / "plugins.d").mkdir()
    for name, lines in (plugins or {}).items():
        (folder / "plugins.d" / name).write_text(lines)
    return folder


def plan_of(folder, *given, loaded=(), store=None, **more):
    """Make the plan of such a folder, with a file of settings beside it."""
    etc(folder, *given, **more)
    settings = Settings(state_directory=folder / "state")
    return make_plan(folder, settings, folder / "auditsvc.toml", loaded, store)


def settings_of(plan):
    """The settings that would be written, by full name: they can be."""
    values = tomllib.loads(plan.text)
    Settings.model_validate(values)
    flat = {name: value for name, value in values.items() if not isinstance(value, dict)}
    for section, each in values.items():
        if isinstance(each, dict):
            flat |= {f"{section}.{name}": value for name, value in each.items()}
    return flat


def said_of(plan, word):
    """Verdict and words of the one line that begins so."""
    (found,) = [each for each in plan.lines if each.said.startswith(word)]
    return found.verdict, found.becomes


def test_every_keyword_of_the_manual_is_known():
    """The keywords are those of Debian's auditd.conf(5), none more and none fewer."""
    if not MANUAL.exists():
        pytest.skip("no manual: make peers")
    text = gzip.decompress(MANUAL.read_bytes()).decode().partition(".SH NOTES")[0]
    assert set(re.findall(r"(?m)^\.TP\n\.I (\w+)$", text)) == set(KEYWORDS)


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize("value", ["yes", "7", "syslog", "nonsense"])
def test_every_keyword_has_one_line_in_the_plan(tmp_path, keyword, value):
    """Whatever its value is: taken over, nothing to do, no counterpart or not understood."""
    plan = plan_of(tmp_path, f"# comment\n\n{keyword} = {value}\n")
    lines = [each for each in plan.lines if each.where == f"{tmp_path}/auditd.conf:3"]
    assert len(lines) == 1
    assert lines[0].becomes


def test_the_shipped_file_is_understood():
    """Debian's own auditd.conf: no line is unknown, and the settings are valid."""
    if not SHIPPED.exists():
        pytest.skip("no auditd: make peers")
    plan = make_plan(SHIPPED, Settings(), Path("/nowhere/auditsvc.toml"), [], None)
    assert not [each for each in plan.lines if each.verdict is Verdict.WRONG]
    assert plan.blockers == []
    entries = read_conf(SHIPPED / "auditd.conf").entries
    assert {f"{each.name}" for each in entries.values()} <= {
        each.said.partition(" ")[0] for each in plan.lines
    }


def test_an_unknown_keyword_is_named_by_line_and_the_rest_is_read(tmp_path):
    """So are a line without `=` and one that auditd skips because of its length."""
    long = "log_file = /" + "x" * 160
    plan = plan_of(tmp_path, f"frobnicate = 3\nfreq 5\n{long}\nFLUSH = Sync\n")
    wrong = {each.where: each.becomes for each in plan.lines if each.verdict is Verdict.WRONG}
    assert wrong == {
        f"{tmp_path}/auditd.conf:1": "unknown keyword frobnicate; ignored",
        f"{tmp_path}/auditd.conf:2": "not `keyword = value`; ignored",
        f"{tmp_path}/auditd.conf:3": "longer than 159 bytes: auditd skips it; ignored",
    }
    assert settings_of(plan)["spool.fsync"] == "batch"


def test_a_group_of_readers_is_named_with_the_setting_for_it(tmp_path):
    """A group that could read the log has a counterpart, which is told and not set."""
    plan = plan_of(tmp_path, "log_group = adm\n")
    verdict, becomes = said_of(plan, "log_group")
    assert verdict is Verdict.NONE
    assert 'access.readers = "adm"' in becomes
    assert "access.readers" not in settings_of(plan)


def test_the_group_root_is_nothing_to_do(tmp_path):
    """Nobody else could read auditd's log, and nobody else reads the spool."""
    assert said_of(plan_of(tmp_path, "log_group = root\n"), "log_group")[0] is Verdict.SAME


@pytest.mark.parametrize(
    ("flush", "fsync"),
    [
        ("none", "none"),
        ("incremental", "second"),
        ("INCREMENTAL_ASYNC", "second"),
        ("data", "batch"),
        ("sync", "batch"),
    ],
)
def test_flush_becomes_fsync(tmp_path, flush, fsync):
    """Written to the disk at least as soon as by auditd."""
    assert settings_of(plan_of(tmp_path, f"flush = {flush}\n"))["spool.fsync"] == fsync


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        ("max_log_file = 8\nnum_logs = 5\nmax_log_file_action = rotate\n", 1 << 30),
        ("max_log_file = 500\nnum_logs = 99\nmax_log_file_action = rotate\n", (500 * 99) << 20),
        ("max_log_file = 8\nnum_logs = 5\nmax_log_file_action = keep_logs\n", 1 << 50),
        ("max_log_file = 8\nnum_logs = 1\nmax_log_file_action = rotate\n", 1 << 50),
    ],
)
def test_as_much_log_is_kept_as_before(tmp_path, lines, kept):
    """Never less than auditd keeps; without rotation nothing is deleted."""
    assert settings_of(plan_of(tmp_path, lines))["spool.keep_bytes"] == kept


@pytest.mark.parametrize("stage", ["space_left", "admin_space_left"])
@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("ignore", []),
        ("syslog", ["log"]),
        ("email", ["log"]),
        ("exec /bin/true", ["log", "exec"]),
        ("rotate", ["log", "drop-loaded"]),
        ("suspend", ["log", "drop"]),
        ("single", ["log", "halt"]),
        ("halt", ["log", "halt"]),
    ],
)
def test_actions_for_space_become_stages(tmp_path, stage, action, words):
    """Each action of auditd has its counterpart in [space]."""
    plan = plan_of(tmp_path, f"{stage} = 20%\n{stage}_action = {action}\n")
    found = settings_of(plan)
    name = {"space_left": "warn", "admin_space_left": "act"}[stage]
    assert found[f"space.{name}_actions"] == words
    assert found.get("space.exec", []) == (["/bin/true"] if "exec" in action else [])
    rescue = ["/usr/bin/systemctl", "--no-block", "rescue"]
    assert found.get("space.halt", rescue) == rescue
    assert ("space.halt" in found) == (action == "single")
    assert found.get("alert.mail", []) == (["root"] if action == "email" else [])
    assert plan.blockers == []
    needs_root = {"exec /bin/true", "single", "halt"}
    assert ("packaging/root.conf" in said_of(plan, f"{stage}_action")[1]) == (action in needs_root)


def test_thresholds_are_percent_of_the_spool_s_disk(tmp_path):
    """25 % left is 75 % in use; so many MiB are a part of the disk's size."""
    found = settings_of(plan_of(tmp_path, "space_left = 25%\nadmin_space_left = 1\n"))
    assert found["space.warn"] == 75.0
    assert 99 < found["space.act"] < 100


def test_one_threshold_alone_moves_the_other_stage(tmp_path):
    """The first stage must not be above the second, which has a default."""
    found = settings_of(plan_of(tmp_path, "space_left = 2%\n"))
    assert (found["space.warn"], found["space.act"]) == (98.0, 98.0)


def test_a_threshold_above_the_disk_keeps_the_default(tmp_path):
    """By auditd it would be told at once, and for ever."""
    plan = plan_of(tmp_path, "space_left = 99999999999\n")
    assert said_of(plan, "space_left")[0] is Verdict.NONE
    assert "space.warn" not in settings_of(plan)


def test_a_full_disk_that_is_to_halt_the_host_is_never_silently_dropped(tmp_path):
    """Without a second stage that halts, the plan says what to set."""
    verdict, becomes = said_of(plan_of(tmp_path, "disk_full_action = halt\n"), "disk_full")
    assert verdict is Verdict.NONE
    assert 'space.act_actions = ["log", "halt"]' in becomes


def test_a_full_disk_halts_by_the_second_stage(tmp_path):
    """If admin_space_left_action ends the host, it has ended before the disk is full."""
    text = "admin_space_left_action = single\ndisk_full_action = halt\n"
    assert said_of(plan_of(tmp_path, text), "disk_full")[0] is Verdict.SAME


def test_a_program_of_a_full_disk_runs_for_nothing_else(tmp_path):
    """Not for tampering, say: auditd ran it only when records could not be written."""
    plan = plan_of(tmp_path, "disk_full_action = exec /bin/a\ndisk_error_action = exec /bin/a\n")
    found = settings_of(plan)
    assert (found["alert.exec"], found["alert.on"]) == (["/bin/a"], ["lost"])
    assert "when that is over" in said_of(plan, "disk_full_action")[1]


def test_mails_are_of_the_room_too(tmp_path):
    """With both, one list of causes is for program and mails, and the plan says so."""
    text = "space_left_action = email\ndisk_full_action = exec /bin/a\n"
    plan = plan_of(tmp_path, text)
    assert settings_of(plan)["alert.on"] == ["lost", "space"]
    assert "or a stage begins" in said_of(plan, "disk_full_action")[1]


def test_one_program_for_a_full_and_a_broken_disk(tmp_path):
    """The second was taken in silence, in place of the first."""
    plan = plan_of(tmp_path, "disk_full_action = exec /bin/a\ndisk_error_action = exec /bin/b\n")
    assert settings_of(plan)["alert.exec"] == ["/bin/a"]
    verdict, becomes = said_of(plan, "disk_error_action")
    assert verdict is Verdict.NONE
    assert 'stays: ["/bin/a"]' in becomes


def test_one_program_for_both_stages(tmp_path):
    """Two different ones cannot be taken over: the first stays, and the plan says so."""
    text = "space_left_action = exec /bin/a\nadmin_space_left_action = exec /bin/b\n"
    plan = plan_of(tmp_path, text)
    assert settings_of(plan)["space.exec"] == ["/bin/a"]
    assert "one program for both stages" in said_of(plan, "admin_space_left_action")[1]


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("name_format = user\nname = web-1\n", "web-1"),
        ("name_format = fqd\n", "node.example"),
        ("name_format = none\n", None),
    ],
)
def test_the_host_is_named_as_in_auditd_s_log(tmp_path, text, host):
    """Its node= counts, so that old and new events are of one host."""
    log = tmp_path / "audit.log"
    if host == "node.example":
        log.write_text("node=node.example type=USER_LOGIN msg=audit(1700000000.000:1): pid=1\n")
    plan = plan_of(tmp_path, f"log_file = {log}\n{text}")
    assert settings_of(plan).get("host") == host


def test_listening_to_a_network_has_no_counterpart(tmp_path):
    """It is said with what to do instead; without a port its options are not in use."""
    plan = plan_of(tmp_path, "tcp_listen_port = 60\nuse_libwrap = yes\n")
    verdict, becomes = said_of(plan, "tcp_listen_port")
    assert verdict is Verdict.NONE
    assert "PostgreSQL" in becomes
    assert said_of(plan, "use_libwrap")[0] is Verdict.NONE


PLUGIN = "active = {}\ndirection = out\npath = {}\ntype = always\n"


def test_active_plugins_have_lines_and_backup_copies_none(tmp_path):
    """A name with two dots is a backup copy; syslog becomes [forward]."""
    plugins = {
        "syslog.conf": PLUGIN.format("yes", "/sbin/audisp-syslog"),
        "au-remote.conf": PLUGIN.format("yes", "/sbin/audisp-remote"),
        "af_unix.conf": PLUGIN.format("no", "builtin_af_unix"),
        "mine.conf": PLUGIN.format("YES", "/opt/mine"),
        "mine.conf.old": PLUGIN.format("yes", "/opt/old"),
    }
    text = f"plugin_dir = {tmp_path}/plugins.d\n"
    plan = plan_of(tmp_path, text, plugins=plugins)
    said = {each.said: each.verdict for each in plan.lines if each.said.startswith("plugin ")}
    assert said == {
        "plugin audisp-syslog": Verdict.TAKEN,
        "plugin audisp-remote": Verdict.NONE,
        "plugin mine": Verdict.NONE,
    }
    found = settings_of(plan)
    assert (found["forward.enabled"], found["forward.types"]) == (True, ["*"])


def test_no_plugin_folder_is_no_plugin(tmp_path):
    """As where auditd came without plugins."""
    assert read_plugins(tmp_path / "none") == ([], [])


def test_rules_stay_where_they_are_in_augenrules_order(tmp_path):
    """9-x before 10-x, `-D` first, `-e` last, the last value of a setting counts."""
    rules = {
        "10-b.rules": "-b 100\n-w /etc/b -k b\n-e 2\n",
        "9-a.rules": "# first\n-w /etc/a -k a\n-D\n-b 40000\n",
        "notes.txt": "-w /etc/never -k never\n",
    }
    plan = plan_of(tmp_path, rules=rules)
    found = settings_of(plan)
    assert found["rules"] == [f"{tmp_path}/rules.d"]
    lines = read(tmp_path / "rules.d")
    assert [each.text for each in lines] == [
        "-D",
        "-w /etc/a -k a",
        "-b 40000",
        "-b 100",
        "-w /etc/b -k b",
        "-e 2",
    ]
    assert "kernel.backlog_limit" not in found  # the last one, 100, is below ours
    assert said_of(plan, "-b 40000") == (Verdict.SAME, "a later line counts")
    assert plan.needs_load  # -e 2
    assert said_of(plan, "-e 2")[0] is Verdict.TAKEN


@pytest.mark.parametrize(
    ("line", "verdict", "needs_load"),
    [
        ("-D", Verdict.SAME, False),
        ("-b 50000", Verdict.TAKEN, False),
        ("-f 1", Verdict.SAME, False),
        ("-f 2", Verdict.TAKEN, True),
        ("-e 1", Verdict.SAME, False),
        ("-e 2", Verdict.TAKEN, True),
        ("-e 0", Verdict.NONE, False),
        ("-r 100", Verdict.TAKEN, True),
        ("--backlog_wait_time 60000", Verdict.TAKEN, True),
        ("--loginuid-immutable", Verdict.TAKEN, True),
        ("-i", Verdict.SAME, False),
        ("-d always,exit -S getppid", Verdict.SAME, False),
    ],
)
def test_lines_that_are_no_rules(tmp_path, line, verdict, needs_load):
    """Each has its line in the plan; what `run` does not do is loaded after its start."""
    plan = plan_of(tmp_path, rules={"a.rules": f"{line}\n"})
    assert said_of(plan, line)[0] is verdict
    assert plan.needs_load is needs_load


def test_a_wrong_rule_prevents_the_change(tmp_path):
    """`run` would not start with it, so auditd is not stopped."""
    plan = plan_of(tmp_path, rules={"a.rules": "-a always,exit -S nosuchcall\n"})
    assert len(plan.blockers) == 1
    assert "a.rules:1" in plan.blockers[0]


def test_without_rule_files_audit_rules_counts(tmp_path):
    """As augenrules does; without that either, no rule is loaded."""
    (tmp_path / "audit.rules").write_text("-w /etc/a -k a\n")
    assert settings_of(plan_of(tmp_path))["rules"] == [f"{tmp_path}/audit.rules"]
    other = tmp_path / "other"
    other.mkdir()
    assert settings_of(plan_of(other))["rules"] == []


def test_rules_loaded_by_hand_are_said(tmp_path):
    """They are in no file, and stay until the next boot."""
    (line,) = parse("-w /etc/x -k x\n")
    assert isinstance(line.command, Add)
    plan = plan_of(tmp_path, loaded=[line.command.rule], rules={"a.rules": "-w /etc/a -k a\n"})
    assert said_of(plan, "1 loaded rule in no file")[0] is Verdict.SAME
    assert said_of(plan, "1 rule of the files not loaded")[0] is Verdict.TAKEN


def test_a_missing_auditd_conf_is_one_line(tmp_path):
    """It says which file, and how another folder is named."""
    with pytest.raises(AuditsvcError, match=r"auditd.conf: No such file.*--from"):
        make_plan(tmp_path, Settings(), tmp_path / "auditsvc.toml", [], None)


def test_all_rotations_are_loaded_oldest_first(tmp_path):
    """And nothing else of the folder."""
    for name in ("audit.log", "audit.log.1", "audit.log.2.gz", "audit.log.10", "other.log"):
        (tmp_path / name).write_text("")
    assert [each.name for each in logs_of(tmp_path / "audit.log")] == [
        "audit.log.10",
        "audit.log.2.gz",
        "audit.log.1",
        "audit.log",
    ]


# --- the file of settings ------------------------------------------------------------------


def test_settings_of_the_user_stay_and_the_plan_says_so(tmp_path):
    """Only source and rules are auditd's in any case."""
    file = tmp_path / "auditsvc.toml"
    file.write_text('source = "multicast"\nguard = "restore"\n[spool]\nfsync = "batch"\n')
    plan = plan_of(tmp_path, "flush = none\n")
    found = settings_of(plan)
    assert (found["source"], found["guard"], found["spool.fsync"]) == (
        "netlink",
        "restore",
        "batch",
    )
    assert said_of(plan, 'spool.fsync = "batch"') == (
        Verdict.SAME,
        'stays; auditd\'s would be "none"',
    )


def test_a_store_that_is_named_is_written(tmp_path):
    """Also where the file names another: the service is to use what was given."""
    (tmp_path / "auditsvc.toml").write_text('store = "sqlite:////old.db"\n')
    plan = plan_of(tmp_path, store="sqlite:////new.db")
    assert settings_of(plan)["store"] == "sqlite:////new.db"


def test_each_setting_says_where_it_is_from(tmp_path):
    """So that the file can be read without auditd's."""
    plan = plan_of(tmp_path, "flush = sync\n")
    assert f'# flush = sync ({tmp_path}/auditd.conf:1)\nfsync = "batch"' in plan.text


def test_an_earlier_file_is_kept_aside_under_a_new_name(tmp_path):
    """Writing the same again does nothing; a further change keeps both."""
    file = tmp_path / "auditsvc.toml"
    assert settings_file.write(file, "a = 1\n") is None
    assert settings_file.write(file, "a = 1\n") is None
    first = settings_file.write(file, "a = 2\n")
    second = settings_file.write(file, "a = 3\n")
    assert (first.read_text(), second.read_text(), file.read_text()) == (
        "a = 1\n",
        "a = 2\n",
        "a = 3\n",
    )
    assert first != second
    assert all(each.stat().st_mode & 0o777 == 0o600 for each in (file, first, second))


def test_a_write_that_was_interrupted_leaves_no_second_copy(tmp_path):
    """Killed between the copy and the new file: the next run uses the copy that is there."""
    file = tmp_path / "auditsvc.toml"
    file.write_text("a = 1\n")
    aside = settings_file.write(file, "a = 2\n")
    file.write_text("a = 1\n")  # as if the new file had not been put there yet
    assert settings_file.write(file, "a = 2\n") == aside


@pytest.mark.parametrize("text", ['a "quoted" \\ text', "tab\there", "\u00fc\u2028"])
def test_texts_are_written_as_toml_reads_them(text):
    """Quotes, backslashes and characters that cannot be printed."""
    wanted = {"host": text, "forward.types": ("*", text), "space.warn": 75.5}
    values = tomllib.loads(settings_file.merged({}, wanted, {}))
    assert values["host"] == text
    assert values["forward"]["types"] == ["*", text]
    assert values["space"]["warn"] == 75.5


def test_the_plan_is_shown_in_lines(tmp_path):
    """A line's end is one, while what a file of auditd's has in a line is escaped."""
    etc(tmp_path, "freq = \x1b[31m\nname_format = user\nname = x\x01y\n")
    environment = os.environ | {
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }
    words = ("adopt", "--from", tmp_path, "--store", f"sqlite:///{tmp_path}/s.db")
    done = commands.run(*words, "--format", "table", environment=environment, text=True)
    assert done.returncode == 1  # a name that no host may have
    assert done.stderr.count("\n") == 1
    assert "setting host: give a name" in done.stderr
    assert r"\x0a" not in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("\n\nnothing was changed\n")


def test_logs_that_are_loaded_have_a_size(tmp_path):
    """For people and for programs."""
    etc(tmp_path, f"log_file = {tmp_path}/audit.log\n")
    (tmp_path / "audit.log").write_text("type=A\n" * 3)
    (tmp_path / "audit.log.1").write_text("type=A\n")
    environment = os.environ | {
        "AUDITSVC_STATE_DIRECTORY": str(tmp_path / "state"),
        "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }
    words = ("adopt", "--from", tmp_path, "--store", f"sqlite:///{tmp_path}/s.db", "--format")
    done = commands.run(*words, "table", environment=environment, text=True)
    assert "logs to load: 2 files, 28 bytes" in done.stdout
    found = json.loads(commands.run(*words, "json", environment=environment).stdout)
    assert (len(found["logs"]), found["logs_bytes"]) == (2, 28)
