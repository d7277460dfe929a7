"""What `adopt` makes of auditd's actions, on a disk that fills: each is done, by the service.

auditd itself does not run here: with such a file it might end this host. systemctl is a program
of the test's, in a mount namespace of adopt's and of the service that it starts.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import contextmanager
from itertools import count

import pytest
from fixtures.disk import small_disk
from fixtures.waiting import until
from live.programs import fresh_auid
from live.test_adopt import Host, load, stop_daemon

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("audit_changes")]

MIB = 1 << 20
DISK = 128
"""MiB of the disk of spool and store."""
QUICK = 100_000
"""Nanoseconds between two calls."""


def script(path, text):
    """Make a program."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@contextmanager
def adopted(folder, settings="", **conf):
    """A host whose auditd.conf has these actions, after `adopt --apply`."""
    with small_disk(folder / "state", DISK << 10):
        values = {"space_left": "60%", "admin_space_left": "20%", "max_log_file": 1}
        values |= {"space_left_action": "syslog", "admin_space_left_action": "syslog"}
        host = Host(folder, fresh_auid(), **values | conf)
        systemctl = script(folder / "systemctl", f'echo "$@" >> {folder}/asked')
        bound = f"mount --bind {systemctl} /usr/bin/systemctl; cmp {systemctl} /usr/bin/systemctl"
        host.before = ["unshare", "--mount", "sh", "-ec", f'{bound}; exec "$@"', "sh"]
        with host.settings.open("a") as file:
            file.write(f"{settings}\n[spool]\nreserve_bytes = {MIB}\n")
        try:
            host.adopt("--apply")
            yield host
        finally:
            stop_daemon()


def fill(folder, percent):
    """Fill the disk by a file of somebody else, while the service writes."""
    ballast = folder / "state/ballast"
    for spare in count():  # blocks that the file system may need for itself
        ballast.unlink(missing_ok=True)
        have = os.statvfs(folder / "state")
        used = have.f_blocks - have.f_bfree
        blocks = min(have.f_blocks * percent // 100 - used, have.f_bavail) - spare
        if blocks <= 0:
            return
        try:
            with ballast.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, blocks * have.f_frsize)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # the service has written meanwhile: there is less
                raise
        else:
            return


def stages(folder):
    """The stages that the service has logged."""
    logged = map(json.loads, lines(folder / "state/adopt/run.log"))
    return [each["stage"] for each in logged if each["event"] == "room for the log"]


def lines(path):
    """The lines of a file that may not be there yet."""
    return path.read_text().splitlines() if path.exists() else []


def test_a_program_is_told_and_writing_stops_and_goes_on(programs, tmp_path):
    """`exec` at the first threshold, `suspend` at the second, and room again."""
    out = tmp_path / "told"
    program = script(
        tmp_path / "program", f'echo "$AUDITSVC_ALERT_STATE" >> {out}; cat >> {out}.json'
    )
    conf = {"space_left_action": f"exec {program}", "admin_space_left_action": "suspend"}
    with adopted(tmp_path, **conf) as host, load(programs, host.auid, QUICK):
        host.collects()
        fill(tmp_path, 50)
        until(lambda: lines(out) == ["warn"])
        host.collects()
        fill(tmp_path, 90)
        until(lambda: lines(out) == ["warn", "act"])
        assert stages(tmp_path) == ["warn", "act"]
        fill(tmp_path, 0)
        until(lambda: lines(out) == ["warn", "act", "enough"])
        host.collects()
    assert host.ledger()["spool_lost"] > 0
    told = [json.loads(each) for each in lines(tmp_path / "told.json")]
    assert [each["state"] for each in told] == ["warn", "act", "enough"]
    assert told[0]["cause"] == "space"


@pytest.mark.parametrize(
    ("action", "asks"), [("halt", "--no-block poweroff"), ("single", "--no-block rescue")]
)
def test_the_host_is_ended_once(tmp_path, action, asks):
    """By systemctl, with the words for it, when the second threshold is reached."""
    with adopted(tmp_path, admin_space_left_action=action):
        fill(tmp_path, 50)
        until(lambda: stages(tmp_path) == ["warn"])
        assert not (tmp_path / "asked").exists()
        fill(tmp_path, 90)
        until(lambda: lines(tmp_path / "asked"))
        fill(tmp_path, 0)
        until(lambda: stages(tmp_path) == ["warn", "act", "enough"])
        assert lines(tmp_path / "asked") == [asks]


@pytest.mark.long
def test_a_mail_goes_to_the_account(tmp_path):
    """When the room is short, and when there is room again; `syslog` says so in the log alone."""
    sent = tmp_path / "sent"
    sendmail = script(tmp_path / "sendmail", f'echo "$@" >> {sent}; cat >> {sent}')
    settings = f'[alert]\nsendmail = "{sendmail}"\nquiet = 0.1\n'
    conf = {"space_left_action": "email", "admin_space_left_action": "syslog"}
    with adopted(tmp_path, settings, action_mail_acct="audit@site.example", **conf):
        fill(tmp_path, 50)
        until(lambda: "To: audit@site.example" in lines(sent))
        assert lines(sent)[0] == "-i audit@site.example"
        fill(tmp_path, 90)
        until(lambda: stages(tmp_path) == ["warn", "act"])
        fill(tmp_path, 0)
        until(lambda: any("space over" in each for each in lines(sent)))


@pytest.mark.long
def test_segments_that_are_stored_make_room(programs, tmp_path):
    """`rotate`: those that are kept although they are in the store go, and no row is lost."""
    conf = {"admin_space_left_action": "rotate", "num_logs": 99, "max_log_file_action": "rotate"}
    with adopted(tmp_path, **conf) as host:

        def segments():
            return len(list((tmp_path / "state/spool").glob("*.log")))

        with load(programs, host.auid, QUICK) as made:
            until(lambda: segments() > 3)
        fill(tmp_path, 90)
        until(lambda: segments() == 1)
    assert host.counts() == (made.calls, made.calls)


def test_a_program_is_run_when_the_disk_is_full(programs, tmp_path):
    """`exec` of disk_full_action: once when records are lost; they are counted."""
    out = tmp_path / "told"
    program = script(
        tmp_path / "program", f'echo "$AUDITSVC_ALERT_CAUSE $AUDITSVC_ALERT_STATE" >> {out}'
    )
    exec_ = f"exec {program}"
    settings = "[alert]\nquiet = 0.1\n"
    with (
        adopted(tmp_path, settings, disk_full_action=exec_, disk_error_action=exec_) as host,
        load(programs, host.auid, QUICK),
    ):
        host.collects()
        fill(tmp_path, 100)
        until(lambda: lines(out) == ["lost begin"])
        fill(tmp_path, 0)
        until(lambda: lines(out) == ["lost begin", "lost over"])
        host.collects()
    assert host.ledger()["spool_lost"] > 0
