"""A service that signs its log: ended in any way, it is proved; altered, it is not."""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import sqlite3
import threading
from contextlib import closing

import pytest
from faults.test_service_faults import LINES, Run, stored
from fixtures import commands
from fixtures.logs import rows
from fixtures.repeats import times
from fixtures.store_changes import change
from fixtures.waiting import until

from auditsvc.config import load_settings
from auditsvc.evidence.anchors import read_anchors
from auditsvc.evidence.folder import Folder
from auditsvc.evidence.report import verify_all
from auditsvc.spool.segments import segment_path, segments

QUICK = {"AUDITSVC_EVIDENCE__EVERY": "0.1", "AUDITSVC_EVIDENCE__DELIVER_EVERY": "0.1"}
VERIFIED = (
    "SELECT fields FROM events WHERE type = 'DAEMON_CONFIG'"
    " AND json_extract(fields, '$.op') = 'verify' AND json_extract(fields, '$.state') = '{}'"
)


def proof(tmp_path, *anchors, **options):
    """Verify in this process, which is quicker."""
    heads = [head for path in anchors for head in read_anchors(path)]
    spool = {"directory": tmp_path / "state/spool"}
    settings = load_settings(store=f"sqlite:///{tmp_path}/store.db", spool=spool)
    return verify_all(settings, heads, **options)


def verify(run, *options):
    """Give the exit status of `auditsvc verify`, and its result."""
    done = commands.run("verify", "--format", "json", *options, environment=run.environment)
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("kills", times(1, 20))
def test_a_service_that_is_killed_leaves_a_log_that_is_proved(tmp_path, kills):
    """SIGKILL in mid-load; then all that was fed to it is proved.

    A place for heads that is away is named, and hinders nothing.
    """
    url = f"sqlite:///{tmp_path}/store.db"
    small = QUICK | {
        "AUDITSVC_SPOOL__SEGMENT_BYTES": "65536",
        "AUDITSVC_EVIDENCE__HTTP": "http://127.0.0.1:9/heads",
    }
    fed = 0
    for kill in [True] * kills + [False]:
        run = Run(tmp_path, url, **small)
        run.fed = fed
        run.wait_ready()
        run.feed(300)
        fed = run.fed
        until(lambda: stored(url)[0] == fed)  # noqa: B023 - called at once
        if kill:
            run.process.send_signal(signal.SIGKILL)
            run.process.communicate()
        else:
            status, said = run.end()
            assert status == 0
            assert "http://127.0.0.1:9/heads: Connection refused" in said
    found = proof(tmp_path)
    assert (found.findings, found.unsigned_bytes) == ([], 0)
    spool = tmp_path / "state/spool"
    assert found.bytes == sum(segment_path(spool, n).stat().st_size for n in segments(spool))


def test_verify_says_what_was_altered_and_fails(tmp_path):
    """For people and as JSON, while the service runs and after; and it is an event of the log."""
    run = Run(tmp_path, f"sqlite:///{tmp_path}/store.db", **QUICK)
    run.wait_ready()
    run.feed(60)
    folder = Folder(tmp_path / "state/spool")
    until(lambda: (head := folder.last()) and head.lines >= 60 * LINES)
    assert verify(run)[0] == 0
    until(lambda: rows(run.url, VERIFIED.format("proved")))
    path = segment_path(tmp_path / "state/spool", 1)
    data = path.read_bytes()
    at = data.index(b'name="/f7"')
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(b'name="/f1"')
    line = data.count(b"\n", 0, at) + 1
    for _ in range(2):
        status, found = verify(run)
        assert (status, found["proved"]) == (1, False)
        finding, *others = found["findings"]
        assert {each["kind"] for each in others} == {"store"}  # its rows are as they were
        assert (finding["segment"], finding["line"]) == (1, line)
        if run.process.poll() is None:
            (event, *_) = until(lambda: rows(run.url, VERIFIED.format("not-proved")))
            assert event["fields"]["findings"] == str(len(found["findings"]))
            run.end()
    done = commands.run("verify", "--format", "table", environment=run.environment, text=True)
    assert done.returncode == 1
    assert f"altered: segment 1, line {line}: this line was altered" in done.stdout
    assert done.stdout.splitlines()[-1] == "NOT PROVED"


def test_a_store_that_is_put_back_when_the_service_has_ended_is_found(tmp_path):
    """The last head binds what the service had stored at its end, however rarely it signs."""
    run = Run(tmp_path, f"sqlite:///{tmp_path}/store.db", AUDITSVC_EVIDENCE__EVERY="3600")
    run.wait_ready()
    run.feed(20)
    until(lambda: stored(run.url)[0] == 20)
    earlier = tmp_path / "earlier.db"
    with closing(sqlite3.connect(tmp_path / "store.db")) as now:
        now.execute("VACUUM INTO ?", [str(earlier)])
    run.feed(20)
    until(lambda: stored(run.url)[0] == 40)
    status, said = run.end()
    assert status == 0, said
    assert proof(tmp_path).findings == []
    for each in tmp_path.glob("store.db*"):
        each.unlink()
    shutil.copyfile(earlier, tmp_path / "store.db")
    (tmp_path / "store.db").chmod(0o600)
    assert any("the store has lost rows" in each.what for each in proof(tmp_path).findings)


@pytest.mark.long
def test_deleted_segments_are_no_tampering(tmp_path):
    """What retention deletes under load, the heads have announced."""
    url = f"sqlite:///{tmp_path}/store.db"
    small = {"AUDITSVC_SPOOL__SEGMENT_BYTES": "20000", "AUDITSVC_SPOOL__KEEP_BYTES": "50000"}
    run = Run(tmp_path, url, **QUICK, **small)
    run.wait_ready()
    spool = tmp_path / "state/spool"
    for _ in range(20):
        run.feed(30)
        until(lambda: stored(url)[0] == run.fed)
    until(lambda: segments(spool)[0] > 1)
    assert verify(run)[0] == 0
    assert run.end()[0] == 0
    status, found = verify(run)
    assert (status, found["findings"]) == (0, [])
    assert len(Folder(spool).dropped().heads) == segments(spool)[0] - 1
    found = proof(tmp_path)
    assert found.findings == []
    assert found.sealed > 0
    (row,) = rows(url, "SELECT (SELECT count(*) FROM syscalls) + count(*) AS n FROM events")
    assert found.sealed + found.events == row["n"]
    change(url, "UPDATE syscall SET a1 = 7 WHERE id = (SELECT min(id) FROM syscall)")
    assert "rows of deleted segments" in proof(tmp_path).findings[0].what
    os.unlink(segment_path(spool, segments(spool)[1]))  # noqa: PTH108
    assert verify(run)[0] == 1


class _Endpoint(http.server.BaseHTTPRequestHandler):
    """Keeps what is posted; the first one is refused."""

    def do_POST(self):
        """Take a head."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked += 1
        self.send_response(503 if self.server.asked == 1 else 204)
        self.end_headers()
        if self.server.asked > 1:
            self.server.heads.append(body.decode())

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def endpoint():
    """Give an HTTP server."""
    server = http.server.HTTPServer(("127.0.0.1", 0), _Endpoint)
    server.asked, server.heads = 0, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_heads_go_elsewhere_and_show_a_cut_tail(tmp_path, endpoint):
    """To a file, to syslog by UDP and to an HTTP endpoint; each then proves the end of the log."""
    kept = tmp_path / "elsewhere"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as syslog:
        syslog.bind(("127.0.0.1", 0))
        syslog.settimeout(60)
        run = Run(
            tmp_path,
            f"sqlite:///{tmp_path}/store.db",
            AUDITSVC_EVIDENCE__FILE=str(kept),
            AUDITSVC_EVIDENCE__SYSLOG=f"127.0.0.1:{syslog.getsockname()[1]}",
            AUDITSVC_EVIDENCE__HTTP=f"http://127.0.0.1:{endpoint.server_port}/heads",
            **QUICK,
        )
        run.wait_ready()
        run.feed(20)
        until(lambda: kept.exists() and endpoint.asked)
        run.feed(20)
        until(lambda: len(kept.read_text().splitlines()) > 1 and endpoint.heads)
        assert run.end()[0] == 0
        said = syslog.recv(1 << 16).decode()
    assert said.startswith("<109>auditsvc: head of the audit log: {")
    (tmp_path / "syslog").write_text(said)
    (tmp_path / "http").write_text("\n".join(endpoint.heads))
    for place in ("elsewhere", "syslog", "http"):
        assert read_anchors(tmp_path / place), place
        assert proof(tmp_path, tmp_path / place).anchors > 0
    spool = tmp_path / "state/spool"
    folder = Folder(spool)
    heads = folder.heads(1).heads
    # The end is cut back to the first head.
    folder.heads_path(1).write_text(heads[0].text() + "\n")
    os.truncate(segment_path(spool, 1), heads[0].end)
    status, found = verify(run, "--lines-only")
    assert status == 1
    assert f"head {heads[-1].n} was signed last" in found["findings"][0]["what"]
    shutil.rmtree(tmp_path / "state-key")  # somebody who is root takes that away, too
    assert verify(run, "--lines-only")[0] == 0
    assert "the lines give" in str(proof(tmp_path).findings)  # the store has more rows
    status, found = verify(run, "--lines-only", "--head", str(kept))
    assert status == 1
    assert "the log was cut" in found["findings"][0]["what"]
    found = proof(tmp_path, tmp_path / "http", with_rows=False).findings
    assert "the log was cut" in found[0].what
