"""The figures for Prometheus: names by convention, panels and alerts that find them."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sqlite3
import stat
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from faults.test_service_faults import Run
from fixtures.evidence import Run as SignedRun
from fixtures.logs import SECOND, call, load, login, opening, rows
from fixtures.loopback import free_ports
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.errors import AuditsvcError, ConfigError, StoreError
from auditsvc.evidence.folder import Folder
from auditsvc.manual.metrics_page import metrics_page
from auditsvc.runtime.service_state import ServiceState, write_state
from auditsvc.service.metrics import Metrics
from auditsvc.status.exposition import exposition, written
from auditsvc.status.metrics import METRICS, gather
from auditsvc.store.read import sql
from auditsvc.store.read.questions import _SHORT as SHORT
from auditsvc.store.read.questions import asked_together, newest_second, partial_counts
from auditsvc.store.read.sql import open_session

ROOT = Path(__file__).parents[2]
GRAFANA = ROOT / "packaging/grafana"
NAME = re.compile(r"auditsvc_[a-z_]+")


def state(**values):
    """Give the state of a service that runs."""
    known = {"pid": os.getpid(), "began": 1.0, "written": 2.0, "source": "netlink", "store": "s"}
    known |= {"decoder": "native", "spool_trouble": "", "spool_room": "", "flood": ""}
    known |= {"store_trouble": "", "store_hindrance": "", "rate": 2.5}
    known |= dict.fromkeys(("rules", "missing", "dropped", "kernel_lost", "tamper"), 0)
    known |= {"records": 40, "kernel_backlog": 0, "spool_waiting": 7}
    known |= {"coverage": {"at": 2.0, "covered": 6, "not_covered": 1, "unknown": 1, "exempt": 2}}
    return ServiceState(**(known | values))


@pytest.fixture
def settings(tmp_path):
    """Settings of a host whose service runs, with a store that has some events."""
    url = f"sqlite:///{tmp_path}/store.db"
    log = "".join(opening(serial) for serial in (1, 2, 4)) + login(5) + "no record\n"
    load(url, log + call(9, success=None, nr=231))
    write_state(tmp_path / "run", state())
    return load_settings(
        store=url, runtime_directory=tmp_path / "run", state_directory=tmp_path / "state"
    )


def full(settings):
    """Give the facts of a host that has everything."""
    facts = gather(settings)
    facts["retention"] |= {"bytes_a_day": 1000, "full_in_days": 30.0}
    facts["archive"] |= {"through_timestamp": 86_400, "waiting_days": 1}
    facts["fleet"] |= {"batches": 2, "events": 7, "made": 86_400.0, "lag_seconds": 0.5}
    facts["forwarder"] |= {"sent": 5, "waiting_transactions": 1, "lag_seconds": 0.5}
    if "refused" in facts["kernel"]:
        facts["kernel"] = {"enabled": 1, "lost": 0, "backlog": 0, "backlog_limit": 64, "rules": 1}
    facts["events"]["ledger"] += [
        ("spool", cause, "records", 1) for cause in ("kernel_lost", "told_lost", "spool_lost")
    ] + [("store", "pruned", "events", 9), ("spool", "segments_missing", "files", 1)]
    facts["events"]["partials"] |= {"timeout": 1}
    facts["events"] |= {"verified_at": 86_400, "proved": True}
    facts["spool"] |= {"signed": 86_400.5}
    return facts


def test_every_figure_is_there_and_promtool_agrees(settings):
    """Each metric of the table has a sample, and Prometheus's linter has nothing to say."""
    text = written(full(settings)).decode()
    named = set(re.findall(r"(?m)^(auditsvc_[a-z_]+)", text))
    assert named == {metric.full_name for metric in METRICS}
    done = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_figures_are_those_of_the_store_and_the_service(settings):
    """Counts of the ledger by cause, the share of covered tasks, the lag while log waits."""
    found = dict(
        line.rsplit(" ", 1)
        for line in exposition(settings).decode().splitlines()
        if not line.startswith("#")
    )
    assert float(found['auditsvc_ledger_records_total{cause="received",source="file"}']) == 15
    assert float(found['auditsvc_ledger_lines_total{cause="raw",source="file"}']) == 1
    assert float(found['auditsvc_missing_serials{source="file"}']) == 4
    assert float(found["auditsvc_coverage_ratio"]) == 0.75
    assert float(found["auditsvc_collected_records_total"]) == 40
    assert float(found["auditsvc_newest_event_timestamp_seconds"]) == SECOND
    assert float(found["auditsvc_lag_seconds"]) > 1e6
    write_state(settings.runtime_directory, state(spool_waiting=0))
    assert b"\nauditsvc_lag_seconds 0.0\n" in exposition(settings)


def test_the_evidence_and_the_alerts_have_figures(settings):
    """What verify found last, when was signed last, and which alerts are active."""
    log = "type=DAEMON_CONFIG msg=audit({}.000:{}): op=verify state={} findings=0 res=success\n"
    load(settings.store, log.format(SECOND, 50, "not-proved"), "own")
    run = SignedRun(settings.spool_directory)
    run.put(1)
    run.end()
    (settings.runtime_directory / "alerts.json").write_text('{"tamper": "rules were deleted"}')
    text = exposition(settings).decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    expected = {
        "auditsvc_verified": 0,
        "auditsvc_verified_timestamp_seconds": SECOND,
        'auditsvc_alerts{cause="tamper"}': 1,
        'auditsvc_alerts{cause="lost"}': 0,
        "auditsvc_signed_timestamp_seconds": Folder(settings.spool_directory).last().time,
    }
    assert {name: float(found[name]) for name in expected} == expected


def test_gathering_opens_the_store_once_for_all_questions(settings, monkeypatch):
    """To open it costs more than a question: SQLite reads the schema."""
    opened = []
    monkeypatch.setattr(sql, "open_session", lambda *a: opened.append(a) or open_session(*a))
    newest = gather(settings)["events"]["newest"]
    assert len(opened) == 1
    assert newest_second(settings.store) == newest  # asked by itself: a connection of its own
    other = settings.store.replace("store.db", "other.db")
    load(other, opening(1, second=SECOND + 9))
    with asked_together(settings.store):
        assert newest_second(other) == SECOND + 9
        assert newest_second(settings.store) == newest
        with pytest.raises(StoreError):
            newest_second(settings.store.replace("store.db", "none.db"))
        assert partial_counts(settings.store)
    assert len(opened) == 5


@pytest.mark.each_database
def test_questions_on_one_connection_do_not_disturb_each_other(url, monkeypatch):
    """One that is asked while another is read has its own; after an error there is a new one."""
    load(url, opening(1, second=SECOND))
    opened = []
    monkeypatch.setattr(
        sql, "open_session", lambda *a: opened.append(open_session(*a)) or opened[-1]
    )
    with asked_together(url):
        assert newest_second(url) == SECOND
        load(url, opening(2, second=SECOND + 1), name="later")
        with sql.run_query(url, "SELECT id FROM text", SHORT) as read:
            next(iter(read))
            assert newest_second(url) == SECOND + 1  # not of a moment before
            assert next(iter(read))
        assert len(opened) == 2
        opened[0].close()  # as a server that is stopped does
        with pytest.raises((AuditsvcError, sqlite3.Error)):
            newest_second(url)
        assert newest_second(url) == SECOND + 1
        assert partial_counts(url) == {}
    assert len(opened) == 3


def test_labels_have_few_values(settings):
    """No label is a key, a program, a user or a path: their number has no bound."""
    allowed = {"cause", "source", "reason", "part", "state"}
    for metric in METRICS:
        if metric.name != "auditsvc_info":
            assert set(metric.labels) <= allowed, metric.name
    text = exposition(settings).decode()
    assert "passwd" not in text
    assert "store.db" not in text


def test_a_store_that_cannot_be_read_is_a_part_that_is_down(settings, tmp_path):
    """The other figures are there; nothing is invented for those that are not."""
    (tmp_path / "store.db").unlink()
    text = exposition(settings).decode()
    assert 'auditsvc_part_up{part="store"} 0.0' in text
    assert 'auditsvc_part_up{part="service"} 1.0' in text
    assert "auditsvc_ledger" not in text
    assert "auditsvc_healthy 0.0" in text


def program(name):
    """Give the path of a program that `make peers` unpacks; skips where it did not."""
    path = ROOT / "build/peers/usr/bin" / name
    if not path.exists():
        pytest.skip(f"no {name}: make peers")
    return path


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def get(connection, page="/metrics"):
    """Ask for a page; gives status, type and text; None if nobody answers."""
    try:
        connection.request("GET", page)
        answer = connection.getresponse()
    except OSError:
        return None
    return answer.status, answer.getheader("Content-Type"), answer.read()


def serve(settings, **metrics):
    """Start the figures of a service."""
    thread = Metrics(
        settings.model_copy(update={"metrics": load_settings(metrics=metrics).metrics})
    )
    thread.start()
    return thread


def test_they_are_served_on_a_socket_of_root(settings, tmp_path):
    """Mode 0600; one page; a socket that a killed run left is replaced; gone at the end."""
    path = tmp_path / "run/metrics.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    thread = serve(settings, listen=f"unix:{path}")
    status, kind, text = until(lambda: get(_UnixConnection(str(path))))
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b"auditsvc_running 1.0" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert get(_UnixConnection(str(path)), "/other")[0] == 404
    assert thread.problem == ""
    thread.finish()
    assert not path.exists()


def test_in_a_folder_with_the_setgid_bit_the_group_may_use_the_socket(settings, tmp_path):
    """As /run/auditsvc-metrics of the Debian package: Prometheus needs not be root."""
    folder = tmp_path / "group"
    folder.mkdir()
    os.chown(folder, 0, 12345)
    folder.chmod(0o2750)
    thread = serve(settings, listen=f"unix:{folder}/socket")
    found = until(lambda: (folder / "socket").exists() and (folder / "socket").stat())
    assert found.st_gid == 12345
    until(lambda: stat.S_IMODE((folder / "socket").stat().st_mode) == 0o660)
    thread.finish()


def test_a_client_that_says_nothing_keeps_nobody_out(settings, monkeypatch):
    """It is dropped after its time."""
    monkeypatch.setattr("auditsvc.service.metrics._Page.timeout", 0.2)
    (port,) = free_ports()
    thread = serve(settings, listen=f"127.0.0.1:{port}")

    def answer():
        return get(http.client.HTTPConnection("127.0.0.1", port, timeout=60))

    until(answer)
    with socket.create_connection(("127.0.0.1", port)):
        status, _, _ = until(answer)  # we may be as late as the other, and dropped, too
        assert status == 200
    thread.finish()


def test_a_textfile_is_whole_readable_and_removed(settings, tmp_path):
    """Mode 0644 for node_exporter; old figures do not stay after the end."""
    file = tmp_path / "auditsvc.prom"
    thread = serve(settings, textfile=file, every=1)
    until(file.exists)
    assert b"auditsvc_running 1.0" in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    thread.finish()
    assert list(tmp_path.glob("*auditsvc.prom*")) == []


def test_figures_that_are_gathered_at_the_end_are_not_offered(settings, tmp_path, monkeypatch):
    """The store answers slowly, and the service has ended by then: nothing is left of it."""
    asked, answers = threading.Event(), threading.Event()

    def late(_):
        asked.set()
        assert answers.wait(60)
        return b"old"

    monkeypatch.setattr("auditsvc.service.metrics.exposition", late)
    monkeypatch.setattr("auditsvc.service.metrics._STOP_SECONDS", 0.1)
    file, address = tmp_path / "auditsvc.prom", tmp_path / "socket"
    thread = serve(settings, textfile=file, listen=f"unix:{address}")
    assert asked.wait(60)
    thread.finish()
    answers.set()
    thread.join(60)
    assert not thread.is_alive()
    assert not file.exists()
    assert not address.exists()


def test_an_address_in_use_is_a_problem_and_no_end(settings):
    """It is said, and tried again."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        thread = serve(settings, listen=f"127.0.0.1:{other.getsockname()[1]}", every=1)
        assert "in use" in until(lambda: thread.problem)
    until(lambda: not thread.problem)
    thread.finish()


@pytest.mark.parametrize("listen", ["0.0.0.0:9000", "192.0.2.1:9000", "localhost:1", "unix:here"])
def test_only_this_host_may_ask(listen):
    """An address of the network is refused: who may ask is not known there."""
    with pytest.raises(ConfigError, match=r"metrics\.listen"):
        load_settings(metrics={"listen": listen})


def test_run_offers_them_while_it_runs(tmp_path):
    """With the setting, the service answers; what it collected is counted."""
    path = tmp_path / "metrics.sock"
    run = Run(
        tmp_path,
        f"sqlite:///{tmp_path}/store.db",
        AUDITSVC_METRICS__LISTEN=f"unix:{path}",
        AUDITSVC_METRICS__EVERY="1",
    )
    run.feed(5)
    wanted = b'auditsvc_ledger_records_total{cause="received",source="spool"} 20.0'
    until(lambda: wanted in (get(_UnixConnection(str(path))) or (0, "", b""))[2])
    assert run.end()[0] == 0
    assert not path.exists()


def test_the_page_of_metrics_is_that_of_the_table():
    """docs/metrics.md is what `make pages` writes."""
    assert (ROOT / "docs/metrics.md").read_text() == metrics_page(METRICS)


# --- Grafana and alert rules -------------------------------------------------------------


def queries(name, key):
    """Give title and query of each panel."""
    dashboard = json.loads((GRAFANA / name).read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    return [
        (f"{panel['title']} {target['refId']}", target[key])
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]


def promtool_accepts(folder, **file):
    """Run promtool's unit tests of rules and queries."""
    path = folder / "test.yml"
    path.write_text(json.dumps(file))
    words = [program("promtool"), "test", "rules", path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_panel_of_the_metrics_has_figures(settings, tmp_path):
    """Prometheus's own engine runs each query on these figures, and it gives something."""
    lines = written(full(settings)).decode().splitlines()
    names = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]
    series = [
        {"series": name, "values": "1x9" if name.startswith("auditsvc_info") else "1+1x9"}
        for name in names
    ]
    asked = [
        {"expr": f"count({query}) > bool 0", "eval_time": "5m"}
        | {"exp_samples": [{"labels": "{}", "value": 1}]}
        for _, query in queries("auditsvc.json", "expr")
    ]
    text = json.dumps(asked).replace("$__rate_interval", "2m").replace("$instance", ".*")
    test = {"interval": "1m", "input_series": series, "promql_expr_test": json.loads(text)}
    assert len(asked) > 20
    promtool_accepts(tmp_path, tests=[test])


def test_every_panel_of_the_events_has_rows(postgres_url):
    """Each query runs on a PostgreSQL store, and what is in the store is found."""
    stamp = f"msg=audit({SECOND}.500:90)"
    own = (
        f"type=DAEMON_CONFIG {stamp}: op=coverage began=1 comm=616263 exe=616263 state=not_covered"
        " reason=before_watch threads=1 covered=0 pid=7 uid=0 auid=0 ses=1 res=success\n"
    )
    log = opening(1, success="no", exit="-13") + login(2) + call(3, nr=59, auid=1000)
    load(postgres_url, log + own)
    begin, end = (
        f"'{datetime.fromtimestamp(second, UTC).isoformat()}'::timestamptz"
        for second in (SECOND - 7200, SECOND + 3600)
    )
    empty = {"Changes of rules, switch or settings by others A", "Tasks that are not covered A"}
    for title, query in queries("auditsvc-events.json", "rawSql"):
        asked = query.replace("$__timeFrom()", begin).replace("$__timeTo()", end)
        found = rows(postgres_url, asked)
        assert found or title in empty, title


def test_alert_rules_fire_and_only_then(tmp_path):
    """Each alert fires on figures that call for it, and none on those of a healthy host."""
    rules = GRAFANA / "alerts.yml"
    names = re.findall(r"alert: (\w+)", rules.read_text())
    well = {
        "auditsvc_running": "1",
        "auditsvc_healthy": "1",
        "auditsvc_gathered_timestamp_seconds": "0+60x120",
        "auditsvc_kernel_enabled": "1",
        "auditsvc_run_kernel_lost_records_total": "5",
        "auditsvc_spool_dropped_records_total": "0",
        "auditsvc_spool_unwritten_records": "0",
        "auditsvc_kernel_backlog_records": "10",
        "auditsvc_kernel_backlog_limit_records": "100",
        "auditsvc_lag_seconds": "0.2",
        "auditsvc_store_full_seconds": "2e7",
        "auditsvc_tamper_findings_total": "3",
        "auditsvc_verified": "1",
        "auditsvc_verified_timestamp_seconds": "0+60x120",
        'auditsvc_coverage_tasks{state="not_covered"}': "0",
        "auditsvc_forward_lag_seconds": "1",
        "auditsvc_forward_enabled": "1",
        "auditsvc_forward_running": "1",
    }
    bad = {
        "AuditsvcNotRunning": {"auditsvc_running": "0"},
        "AuditsvcFiguresMissing": {"auditsvc_gathered_timestamp_seconds": "0"},
        "AuditsvcAuditOff": {"auditsvc_kernel_enabled": "0"},
        "AuditsvcProblem": {"auditsvc_healthy": "0"},
        "AuditsvcRecordsLost": {"auditsvc_run_kernel_lost_records_total": "5+1x120"},
        "AuditsvcQueueNearLimit": {"auditsvc_kernel_backlog_records": "90"},
        "AuditsvcStoreBehind": {"auditsvc_lag_seconds": "900"},
        "AuditsvcStoreFullSoon": {"auditsvc_store_full_seconds": "86400"},
        "AuditsvcTampered": {"auditsvc_tamper_findings_total": "3+1x120"},
        "AuditsvcNotProved": {"auditsvc_verified": "0"},
        "AuditsvcNotVerified": {"auditsvc_verified_timestamp_seconds": "-700000"},
        "AuditsvcTasksNotCovered": {'auditsvc_coverage_tasks{state="not_covered"}': "2"},
        "AuditsvcJournalBehind": {"auditsvc_forward_running": "0"},
    }
    assert set(bad) == set(names)

    def case(changed, firing):
        series = [
            {"series": name, "values": value if "x" in value else f"{float(value):g}x120"}
            for name, value in (well | changed).items()
        ]
        query = "count by (alertname) (ALERTS{alertstate='firing'})"
        expected = [{"labels": f'{{alertname="{firing}"}}', "value": 1}] if firing else []
        asked = {"expr": query, "eval_time": "100m", "exp_samples": expected}
        return {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}

    tests = [case({}, ""), *(case(changed, name) for name, changed in bad.items())]
    promtool_accepts(tmp_path, rule_files=[str(rules)], tests=tests)


def test_alert_rules_and_panels_ask_for_figures_that_exist():
    """A name that is not in the table is a typing error."""
    known = {metric.full_name for metric in METRICS}
    texts = [query for _, query in queries("auditsvc.json", "expr")]
    alerts = (GRAFANA / "alerts.yml").read_text()
    expressions = re.findall(r"(?s)expr: (.*?)\n        (?:for|labels)", alerts)
    for text in (*texts, *expressions):
        assert set(NAME.findall(text)) <= known, text
