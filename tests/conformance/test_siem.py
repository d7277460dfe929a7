"""`--format ocsf` and `ecs`: what happened, in the words of two schemas."""

from __future__ import annotations

import json
import os

import pytest
from fixtures.commands import run
from fixtures.cookbook_log import cookbook_log
from fixtures.logs import load

from auditsvc.errors import UsageError
from auditsvc.render.siem import as_events
from auditsvc.store.read.result import Result
from auditsvc.tables import siem


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.long)])
def store(request, store_of_kind):
    """Give a store with a log of known events."""
    url = store_of_kind(request.param)
    load(url, cookbook_log()[0], kind="spool")
    return url


def asked(url, form, view):
    """Give the events of a view that the command writes."""
    done = run(
        *("query", "--format", form, f"SELECT * FROM {view} ORDER BY time"),
        environment=os.environ | {"AUDITSVC_STORE": url},
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_file_that_was_refused(store):
    """Who wanted it, by which program, and that it failed."""
    (event,) = [
        each for each in asked(store, "ocsf", "files") if each["file"].get("path") == "/etc/shadow"
    ]
    assert (event["class_uid"], event["activity_id"], event["type_uid"]) == (1001, 8, 100108)
    assert (event["category_uid"], event["status_id"], event["severity_id"]) == (1, 2, 1)
    assert event["time"] == 1_795_132_800_123 + (9 * 60 + 40) * 60_000
    assert event["actor"]["process"]["file"]["path"] == "/usr/bin/cat"
    assert event["actor"]["user"]["uid"] == "1001"
    assert event["file"]["name"] == "shadow"
    assert event["metadata"]["product"]["name"] == "auditsvc"
    (ecs,) = [
        each for each in asked(store, "ecs", "files") if each["file"].get("path") == "/etc/shadow"
    ]
    assert ecs["@timestamp"] == "2026-11-20T09:40:00.123Z"
    assert ecs["event"]["id"] == event["metadata"]["uid"]
    assert (ecs["event"]["category"], ecs["event"]["type"]) == (["file"], ["access"])
    assert (ecs["event"]["outcome"], ecs["user"]["id"]) == ("failure", "1001")
    assert ecs["process"]["executable"] == "/usr/bin/cat"
    assert ecs["host"]["hostname"] == "box"


def test_a_program_that_was_run(store):
    """Its command line and user; what sudo told is no launch of its own."""
    found = asked(store, "ocsf", "commands")
    (event,) = [e for e in found if e["process"]["file"]["path"] == "/tmp/tool"]
    assert (event["class_uid"], event["type_uid"]) == (1007, 100701)
    assert event["process"]["cmd_line"] == "/tmp/tool --all"
    assert (event["actor"]["user"]["uid"], event["process"]["file"]["name"]) == ("1001", "tool")
    (ecs,) = [
        e for e in asked(store, "ecs", "commands") if e["process"]["executable"] == "/tmp/tool"
    ]
    assert ecs["process"]["command_line"] == "/tmp/tool --all"
    assert ecs["event"] | {"id": ""} == {
        "kind": "event",
        "module": "auditsvc",
        "category": ["process"],
        "type": ["start"],
        "action": "executed",
        "outcome": "success",
        "id": "",
    }


def test_a_connection_and_a_login(store):
    """Where to; and who came from where, also in vain."""
    (event,) = [
        each
        for each in asked(store, "ocsf", "connections")
        if each["actor"]["process"]["file"]["path"] == "/tmp/tool"
        and each["activity_name"] == "connect"
    ]
    assert (event["class_uid"], event["type_uid"]) == (4001, 400101)
    assert event["connection_info"]["direction_id"] == 2
    assert event["dst_endpoint"] == {"ip": "198.51.100.7", "port": 4444}
    ecs = asked(store, "ecs", "connections")
    assert event["dst_endpoint"] in [each.get("destination") for each in ecs]
    logins = asked(store, "ocsf", "logins")
    failed = [each for each in logins if each["status_id"] == 2]
    assert failed
    assert {each["type_uid"] for each in logins} == {300201}
    assert all(each["src_endpoint"].keys() <= {"ip", "hostname"} for each in failed)
    outcomes = {each["event"]["outcome"] for each in asked(store, "ecs", "logins")}
    assert "failure" in outcomes


@pytest.mark.parametrize("form", ["ocsf", "ecs"])
def test_rows_of_no_such_view_are_refused(store, form):
    """In one line, that says what to ask."""
    done = run(
        *("query", "--format", form, "SELECT pid FROM syscalls"),
        environment=os.environ | {"AUDITSVC_STORE": store},
        text=True,
    )
    assert done.returncode == 2
    assert "SELECT * FROM one of them" in done.stderr
    with pytest.raises(UsageError):
        next(as_events(Result(("pid",), []), form))


def test_events_of_a_fleet_have_its_key():
    """Ids of two stores can be equal; a source that is a name is none of an address."""
    columns = ("host", "store", "event_id", *siem.VIEWS["logins"])
    values = {"host": "a", "store": "s", "event_id": 7, "kind": "session", "address": "b.example"}
    row = tuple(values.get(name) for name in columns)
    (event,) = as_events(Result(columns, [row]), "ocsf")
    assert event["metadata"]["uid"] == "a/s/7"
    assert event["src_endpoint"] == {"hostname": "b.example"}
    (event,) = as_events(Result(columns, [row]), "ecs")
    assert (event["event"]["id"], event["source"]) == ("a/s/7", {"domain": "b.example"})
