"""The assessor's page: each check met and not met, the lines, and the forms of the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from fixtures import commands
from fixtures.logs import call, load

from auditsvc.compliance.assess import judge_lines
from auditsvc.compliance.assessment import Answer, Assessed, Line, Standing
from auditsvc.compliance.assessment_page import assessment_page
from auditsvc.compliance.checks import CHECKS, check
from auditsvc.compliance.evidence import Accesses, Evidence, _verified
from auditsvc.compliance.frameworks import CIS, FRAMEWORKS, ISO, PCI, STIG
from auditsvc.compliance.judge import joined, judge
from auditsvc.compliance.model import KernelState, Report, Share
from auditsvc.config import Settings
from auditsvc.doctor import DoctorFinding, Level
from auditsvc.rule import parse
from auditsvc.ruleset.controls import controls
from auditsvc.store.read.questions import Verified

NOW = 1_790_000_000
DAY = 86400
RULE = "-a always,exit -S getppid -F uid=7 -k parent"
REMOTE = "postgresql://audit@db.example/audit?sslmode=verify-full"
CALL = {"time": "2026-09-21 13:46:40", "host": "box", "auid": None, "uid": 0, "exe": "/bin/a"}
CALL |= {"syscall": "openat", "success": 1}
LAKE = {"bucket": "lake", "endpoint": "https://s3.example"}
ARCHIVE = {"to": "/archive", "keep": "400d"}
DOCTOR = (
    *("modes", "settings file", "clock", "store", "boot: audit=", "disk: spool", "disk: store"),
    "login uid immutable",
)
UNIT = "auditsvc.service"


def rules(*loaded, covered=(3, 0, 0), **settings):
    """Make the rules report on one control, with a kernel that has these rules."""
    kernel = KernelState(
        tuple(parse(text)[0].command.rule for text in loaded), {"enabled": 1} | settings
    )
    found = joined(controls(f"#: FRAME 7 | One rule\n{RULE}\n"))
    return Report(
        made=NOW,
        host="box",
        release="Linux 6",
        version="1",
        store="sqlite:////x",
        days=1,
        sources=(),
        controls=tuple(judge(each, kernel, lambda _: None) for each in found),
        kernel=kernel,
        share=Share(*covered),
    )


def evidence(*, settings=None, doctor=None, status=None, **more):
    """Make evidence by which every check is met; then change it."""
    chosen = Settings(
        **(
            {
                "store": REMOTE,
                "host": "box",
                "access": {"required": True},
                "metrics": {"listen": "127.0.0.1:9000"},
            }
            | (settings or {})
        )
    )
    findings = {name: (DoctorFinding(name, Level.OK, f"{name} is well"),) for name in DOCTOR}
    findings[UNIT] = (DoctorFinding(UNIT, Level.OK, "enabled"),)
    parts = {
        "kernel": {"enabled": 2, "failure": 2, "backlog_limit": 16384},
        "service": {"running": True, "version": "1", "spool_waiting": 0},
        "retention": {"oldest": "2025-01-01 00:00:00", "forecast": "never", "full_in_days": None},
        "archive": {"through": "2026-09-20", "waiting_days": 0},
        "fleet": {"batches": 9, "lag_seconds": 60.0},
    }
    for part, values in (status or {}).items():
        parts[part] = parts[part] | values
    values = {
        "settings": chosen,
        "now": NOW,
        "findings": findings | (doctor or {}),
        "status": parts,
        "problems": (),
        "is_running": True,
        "rules": rules(RULE),
        "newest": CALL,
        "accesses": Accesses(7, NOW - 60, NOW - DAY, 12),
        "verified": Verified(NOW - DAY, proved=True),
        "lost": {},
        "writable_tools": (),
    }
    return Evidence(**(values | more))


def finding(name, level, found="bad", mend="mend it"):
    """Make the doctor's finding of this name."""
    return {name: (DoctorFinding(name, level, found, "means", mend),)}


SHOWN = {"auditd", "alerts", "tool checksums"}
"""What no host can show by itself."""


@pytest.mark.parametrize("name", sorted(CHECKS))
def test_a_check_is_met_where_all_is_well(name):
    """Or it says what is for the reader to show; and it says what it found."""
    answer = check(name, evidence(), PCI)
    assert answer.standing is (Standing.SHOW if name in SHOWN else Standing.MET), answer
    assert answer.found
    assert bool(answer.remedy) is (name in SHOWN)


@pytest.mark.parametrize(
    ("name", "changed", "remedy"),
    [
        ("rules", {"rules": rules()}, "pci-dss-4.0"),
        ("rules", {"rules": rules(RULE, enabled=0)}, "auditsvc on"),
        ("audit on", {"status": {"kernel": {"enabled": 0}}}, "auditsvc on"),
        ("content", {"newest": {}}, "start auditsvc"),
        ("content", {"newest": CALL | {"uid": None}}, "partials"),
        ("guard", {"settings": {"guard": "off"}}, 'guard = "report"'),
        ("guard", {"is_running": False}, "start auditsvc"),
        ("coverage", {"rules": rules(RULE, covered=(3, 1, 0))}, "audit=1"),
        ("access log", {"settings": {"access": {"required": False}}}, "access.required = true"),
        ("modes", {"doctor": finding("modes", Level.ERROR)}, "mend it"),
        ("settings file", {"doctor": finding("settings file", Level.WARNING)}, "mend it"),
        ("clock", {"doctor": finding("clock", Level.WARNING)}, "mend it"),
        ("store", {"doctor": finding("store", Level.ERROR)}, "mend it"),
        ("audit=1", {"doctor": finding("boot: audit=", Level.WARNING)}, "mend it"),
        ("login uids", {"doctor": finding("login uid immutable", Level.WARNING)}, "mend it"),
        ("space", {"doctor": finding("disk: spool", Level.WARNING)}, "mend it"),
        ("space", {"doctor": finding("disk: store", Level.ERROR)}, "mend it"),
        ("tools", {"writable_tools": ("/opt/x",)}, "chown -R root /opt/x"),
        ("seal", {"settings": {"evidence": {"enabled": False}}}, "evidence.enabled = true"),
        ("seal", {"verified": Verified(None)}, "auditsvc verify"),
        ("seal", {"verified": Verified(NOW, proved=False)}, "what it names"),
        ("seal", {"verified": Verified(NOW - 8 * DAY, proved=True)}, "every 7 days"),
        ("other host", {"settings": {"store": "sqlite:////x"}}, "sslmode=verify-full"),
        ("other host", {"settings": {"store": "postgresql:///audit"}}, "sslmode=verify-full"),
        ("other host", {"settings": {"store": REMOTE.partition("?")[0]}}, "verify-full"),
        ("other host", {"is_running": False}, "start auditsvc"),
        ("other host", {"settings": {"fleet": LAKE}, "is_running": False}, "start auditsvc"),
        ("other host", {"settings": {"fleet": LAKE | {"endpoint": "http://s3"}}}, "https://s3"),
        ("other host", {"settings": {"fleet": LAKE | {"endpoint": "https://[::1]:8"}}}, "another"),
        (
            "other host",
            {"settings": {"fleet": LAKE}, "status": {"fleet": {"lag_seconds": 901.0}}},
            "auditsvc status",
        ),
        (
            "other host",
            {"settings": {"fleet": LAKE}, "status": {"fleet": {"lag_seconds": None}}},
            "auditsvc status",
        ),
        ("review", {"accesses": Accesses(7, NOW, None, 0)}, "report daily --reviewed"),
        ("review", {"accesses": Accesses(7, NOW, NOW - 3 * DAY, 1)}, "report daily --reviewed"),
        (
            "retention",
            {"settings": {"archive": ARCHIVE | {"keep": "300d"}}},
            'archive.keep = "366d"',
        ),
        (
            "retention",
            {"settings": {"archive": ARCHIVE, "retention": {"keep": "89d"}}},
            'retention.keep = "91d"',
        ),
        (
            "retention",
            {"settings": {"archive": ARCHIVE, "retention": {"max_bytes": 1 << 30}}},
            "no retention.max_bytes",
        ),
        (
            "retention",
            {"settings": {"archive": ARCHIVE}, "status": {"archive": {"waiting_days": 2}}},
            "auditsvc archive",
        ),
        ("retention", {"settings": {"retention": {"keep": "364d"}}}, 'retention.keep = "366d"'),
        ("retention", {"settings": {"retention": {"max_bytes": 1 << 30}}}, "no retention.max"),
        ("retention", {"status": {"retention": {"full_in_days": 20.0}}}, "a larger disk"),
        ("fsync", {"settings": {"spool": {"fsync": "none"}}}, 'spool.fsync = "second"'),
        ("service", {"is_running": False}, "start auditsvc"),
        ("service", {"doctor": finding(UNIT, Level.WARNING)}, "systemctl enable auditsvc"),
        ("health", {"is_running": False}, "start auditsvc"),
        ("health", {"problems": ("the disk is full",)}, "auditsvc status"),
        ("alerts", {"settings": {"metrics": {}}}, "alerts.yml"),
        ("losses", {"lost": {"kernel_lost": 3}}, "backlog_limit"),
        ("backlog", {"status": {"kernel": {"backlog_limit": 64}}}, "kernel.backlog_limit"),
        ("failure mode", {"status": {"kernel": {"failure": 1}}}, "-f 2"),
        ("lock", {"status": {"kernel": {"enabled": 1}}}, "-e 2"),
    ],
)
def test_a_check_that_is_not_met_says_what_would_meet_it(name, changed, remedy):
    """The evidence differs from that of the test above in one thing only."""
    answer = check(name, evidence(**changed), PCI)
    assert answer.standing is Standing.NOT_MET, answer
    assert answer.found
    assert remedy in answer.remedy


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("rules", {"rules": None}),
        ("rules", {"rules": replace(rules(RULE), kernel=None)}),
        ("coverage", {"rules": None}),
        ("coverage", {"rules": rules(RULE, covered=(3, 0, 1))}),
        ("content", {"newest": None}),
        ("other host", {"settings": {"fleet": LAKE}, "status": {"fleet": {"refused": "x"}}}),
        ("retention", {"settings": {"archive": ARCHIVE}, "status": {"archive": {"refused": "x"}}}),
        ("access log", {"accesses": None}),
        ("seal", {"verified": None}),
        ("review", {"accesses": None}),
        ("losses", {"lost": None}),
        ("lock", {"status": {"kernel": {"enabled": None}}}),
        ("clock", {"doctor": finding("clock", Level.NOTE)}),
        ("clock", {"doctor": {"clock": ()}}),
    ],
)
def test_what_cannot_be_read_is_not_known(name, changed):
    """Neither met nor not met."""
    answer = check(name, evidence(**changed), PCI)
    assert answer.standing is Standing.UNKNOWN, answer
    assert answer.remedy


@pytest.mark.parametrize("endpoint", ["https://s3.example:9000", None])
def test_a_lake_is_another_host(endpoint):
    """What a host ships at once is copied; how far it is stands in the evidence."""
    lake = LAKE | {"endpoint": endpoint}
    answer = check("other host", evidence(settings={"store": "sqlite:////x", "fleet": lake}), PCI)
    assert answer.standing is Standing.MET
    assert "9 batches, 60 s behind" in answer.found


@pytest.mark.parametrize("keep", ["400d", None])
def test_a_year_may_be_kept_in_the_archive(keep):
    """With three months at hand; CIS wants all of it for ever, which the archive may have."""
    kept = {"settings": {"archive": ARCHIVE | {"keep": keep}, "retention": {"keep": "91d"}}}
    answer = check("retention", evidence(**kept), PCI)
    assert answer.standing is Standing.MET, answer
    assert "up to 2026-09-20" in answer.found
    found = check("retention", evidence(**kept), CIS)
    assert found.standing is (Standing.NOT_MET if keep else Standing.MET)
    assert check("retention", evidence(**kept), ISO).standing is Standing.SHOW


def test_the_content_of_records_is_shown_by_one():
    """Not stated: the newest call, with the words for what it has not."""
    found = check("content", evidence(), PCI).found
    assert found.startswith("the newest call: 2026-09-21 13:46:40 UTC, host box, login user unset")
    assert "user 0, program /bin/a, openat, succeeded" in found
    assert (
        "outcome unknown" in check("content", evidence(newest=CALL | {"success": None}), PCI).found
    )


def test_days_of_review_are_counted():
    """One review of today is no review of each day: the evidence says on how many."""
    assert "on 12 of the last 30 days" in check("review", evidence(), PCI).found


def test_a_service_without_a_unit_is_for_the_reader_to_show():
    """It runs; who starts it after a boot is not known here."""
    doctor = {UNIT: (DoctorFinding(UNIT, Level.OK, "there is no such unit"),)}
    answer = check("service", evidence(doctor=doctor), STIG)
    assert answer.standing is Standing.SHOW
    assert "there is no such unit" in answer.found


def test_retention_is_that_of_the_framework():
    """A week for the STIG, for ever for CIS; where the site decides, it must show it."""
    kept = {"settings": {"retention": {"keep": "30d"}}}
    standing = {each: check("retention", evidence(**kept), each).standing for each in (STIG, CIS)}
    assert standing == {STIG: Standing.MET, CIS: Standing.NOT_MET}
    assert check("retention", evidence(), CIS).standing is Standing.MET
    assert check("retention", evidence(), ISO).standing is Standing.SHOW


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_every_line_has_checks_that_are_there(framework):
    """No id stands twice."""
    ids = [line.id for line in framework.lines]
    assert len(ids) == len(set(ids))
    for line in framework.lines:
        assert line.checks
        assert set(line.checks) <= set(CHECKS)


def test_a_line_is_as_its_worst_answer():
    """Not met counts before not known, that before what is to be shown."""
    order = [Standing.NOT_MET, Standing.UNKNOWN, Standing.SHOW, Standing.MET]
    for index, worst in enumerate(order):
        answers = tuple(Answer(each, "found") for each in reversed(order[index:]))
        assert Assessed(Line("1", "One", ("x",) * len(answers)), answers).standing is worst


def test_the_page_has_each_line_with_its_evidence_and_remedy():
    """Met and not met are words and not only colours; nothing from outside is HTML."""
    hostile = evidence(settings={"host": "<b>box"}, problems=("<script>alert(1)</script>",))
    found = judge_lines(hostile, PCI)
    shown = assessment_page(found)
    assert "<script" not in shown
    assert "<b>box" not in shown
    assert "src=" not in shown
    for each in found.lines:
        row = re.search(rf'rowheader">{re.escape(each.line.id)}</th>.*?</tr>', shown)
        assert row, each.line.id
        words = {Standing.MET: "met", Standing.NOT_MET: "not met"}.get(each.standing, "show")
        assert words in row[0]
        assert row[0].count("<p>") == len(each.answers)
        assert row[0].count("\u2192") == sum(bool(answer.remedy) for answer in each.answers)
    assert "@media print" in shown


def test_the_bar_has_a_share_for_each_standing():
    """As large as its lines are many; none for what does not occur."""
    found = judge_lines(evidence(), PCI)
    shares = re.findall(
        r'<span class="(\w+)" style="flex-grow:(\d+)"></span>', assessment_page(found)
    )
    assert sum(int(count) for _, count in shares) == len(found.lines)
    assert [int(count) for _, count in shares] == list(found.tally().values())


def test_the_command_answers_in_every_form(tmp_path):
    """On a store with an event; exit status 1 as lines are open; text names each line."""
    store = f"sqlite:///{tmp_path}/store.db"
    load(store, call(1))
    options = ("--store", store)
    done = commands.run("compliance", "stig", "--format", "json", *options, text=True)
    assert done.returncode == 1, done.stderr
    made = json.loads(done.stdout)
    assert [each["id"] for each in made["lines"]] == [line.id for line in STIG.lines]
    assert sum(made["tally"].values()) == len(STIG.lines)
    assert made["met"] is False
    of = {each["id"]: each for each in made["lines"]}
    assert of["RHEL-09-653015"]["evidence"][0]["remedy"].endswith("systemctl start auditsvc")
    assert of["RHEL-09-653100"]["standing"] == "met"
    text = commands.run("compliance", "--format", "text", *options, text=True).stdout
    for line in PCI.lines:
        assert f"  {line.id}  {line.title}\n" in text
    page = commands.run("compliance", "iso", "--format", "html", *options, text=True)
    assert page.stdout.startswith("<!doctype html>")
    assert ISO.title in page.stdout


@pytest.mark.parametrize("way", [{"mail": ["root"]}, {"exec": ["/bin/true"]}, {"journal": True}])
def test_alerts_of_the_service_itself_are_enough(way):
    """With or without Prometheus."""
    answer = check("alerts", evidence(settings={"alert": way, "metrics": {}}), PCI)
    assert answer.standing is Standing.MET
    assert "lost" in answer.found


def test_the_last_result_of_verify_is_read_from_the_store(tmp_path):
    """The newest one, and that there is none."""
    url = f"sqlite:///{tmp_path}/store.db"
    load(url, call(1))
    assert _verified(url) == Verified(None)
    line = "type=DAEMON_CONFIG msg=audit({}.000:{}): op=verify state={} findings=0 res=success\n"
    load(url, line.format(NOW, 5, "not-proved") + line.format(NOW + 9, 6, "proved"), "own")
    assert _verified(url) == Verified(NOW + 9, proved=True)
    assert _verified(f"sqlite:///{tmp_path}/none.db") is None
