"""Alerts: each channel really sends them, and ends what it began."""

from __future__ import annotations

import email
import json
import os
import shutil
import signal
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from fixtures.alerts import MESSAGE

from auditsvc.alert import channels as ways
from auditsvc.config import load_settings
from auditsvc.errors import AlertError, ConfigError
from auditsvc.forward.wire import fields
from auditsvc.host import journald as place
from auditsvc.host.processes import below, pids


def program(tmp_path, body):
    """Make a program."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_program_gets_the_facts(tmp_path):
    """As JSON and as variables; its arguments are not words of a shell."""
    out = tmp_path / "out"
    command = program(tmp_path, f'{{ echo "$1|$AUDITSVC_ALERT_CAUSE|$HOME"; cat; }} > {out}')
    (send,) = ways.channels(load_settings(alert={"exec": [command, "$(id); x"]}).alert)
    send(MESSAGE)
    words, text = out.read_text().split("\n", 1)
    assert words == "$(id); x|lost|"
    assert json.loads(text) == {
        "cause": "lost",
        "state": "begin",
        "text": MESSAGE.text,
        "host": MESSAGE.host,
        "at": 1.5,
    }


@pytest.mark.parametrize(
    ("body", "seconds", "why"),
    [
        ("exit 3", 60.0, "status 3"),
        ("sleep 600 & sleep 600", 0.3, "not ended within 0.3 s"),
    ],
)
def test_a_program_that_fails_or_hangs_is_ended_and_said(tmp_path, body, seconds, why):
    """With all that it has started, within its time."""
    began = time.monotonic()
    with pytest.raises(AlertError, match=why):
        ways.run([program(tmp_path, body)], b"x" * 200_000, {}, seconds)
    assert time.monotonic() - began < 300
    with pytest.raises(AlertError, match="No such file"):
        ways.run([str(tmp_path / "none")], b"", {})


STARTS = {
    "a process": "sleep 600 &",
    "a group": "timeout 600 sleep 600 &",
    "a session": "setsid sleep 600 &",
    "an orphan in a session": "(setsid sleep 600 &)",
    "who ignores signals": "(setsid sh -c 'trap : 1 2 3 13 14 15; read x < FIFO' &)",
    "who is stopped": "(setsid sh -c 'kill -STOP $$' &)",
    "who writes without end": "(setsid cat /dev/zero &)",
    "who begins others": "(setsid sh -c 'while :; do (sleep 600 &); sleep 0.01; done' &)",
}


@pytest.mark.parametrize("rest", ["exec sleep 600", "exit 0", "exit 3"])
@pytest.mark.parametrize("starts", STARTS)
def test_what_a_program_has_started_ends_with_it(tmp_path, starts, rest):
    """In whatever group or session, and whether the program itself hangs or has ended."""
    os.mkfifo(tmp_path / "fifo")
    body = f"{STARTS[starts].replace('FIFO', str(tmp_path / 'fifo'))}\n{rest}"
    told = {"exec sleep 600": "not ended within", "exit 3": "status 3"}.get(rest, "")
    ran = program(tmp_path, body)
    for seconds in (0.3, 2.0, 60.0):  # on a busy host it may not have come to its end in the first
        try:
            ways.run([ran], b"", {"MARK": str(tmp_path)}, seconds)
            how = ""
        except AlertError as error:
            how = str(error)
        assert marked(tmp_path) == []
        if how == told or (told and told in how):
            break
    else:
        pytest.fail(how or "it ended well")


def marked(mark):
    """Give the processes that a program has left which got this mark."""
    found = []
    for pid in pids():
        with suppress(OSError):
            is_ours = f"MARK={mark}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes()
            found += [pid] if is_ours else []
    return found


def test_what_a_program_leaves_has_the_rest_of_its_time(tmp_path):
    """As a sendmail that answers and then delivers."""
    go, out = tmp_path / "go", tmp_path / "out"
    os.mkfifo(go)
    body = f"(setsid sh -c 'read x < {go}; echo done > {out}' &) ; exit 0"
    writer = threading.Thread(target=go.write_text, args=("x\n",))  # waits for who reads
    writer.start()
    ways.run([program(tmp_path, body)], b"", {}, 60.0)
    writer.join()
    assert out.read_text() == "done\n"


@pytest.mark.parametrize(
    ("signal_name", "why"), [("KILL", "has ended its supervisor"), ("STOP", "hinders its")]
)
def test_a_program_that_turns_on_its_supervisor_is_told(tmp_path, signal_name, why):
    """It is the same user, so it can; the service goes on."""
    body = f"kill -{signal_name} $PPID; exec sleep 600"
    # Who ends its supervisor leaves at once, however long that takes to begin; who stops it, never.
    seconds = {"KILL": 60.0, "STOP": 0.5}[signal_name]
    with pytest.raises(AlertError, match=why):
        ways.run([program(tmp_path, body)], b"", {"MARK": str(tmp_path)}, seconds, 0.5)
    left = marked(tmp_path)
    for pid in left:  # nobody knows it any more
        os.kill(pid, signal.SIGKILL)
    assert len(left) == (signal_name == "KILL")


def test_no_descriptor_and_no_process_is_left(tmp_path):
    """Whatever became of the program."""

    def ours():
        return len(list(Path("/proc/self/fd").iterdir())), below(os.getpid()).keys()

    def tell(body, seconds):
        with suppress(AlertError):
            ways.run([program(tmp_path, body)], b"x" * 200_000, {}, seconds)

    tell("exit 0", 5.0)
    before = ours()
    for body in ("exit 1", "exec sleep 60", "exec cat", "kill -9 $PPID", "exec yes", "exec <&-"):
        tell(body, 0.5)
    with suppress(AlertError):
        ways.run([str(tmp_path / "none")], b"", {})
    assert ours() == before


def test_a_program_can_end_what_it_starts(tmp_path):
    """The service blocks signals, and a program must not: else timeout(1) ends nothing."""
    out = tmp_path / "out"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})
    try:  # no shell: some begin with no signal blocked
        ways.run([shutil.which("cp"), "/proc/self/status", str(out)], b"", {})
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    lines = dict(line.split(":", 1) for line in out.read_text().splitlines())
    # Of the 31 signals that have names, but those that whoever started us ignores (as nohup does).
    named = [each for each in signal.valid_signals() if each < 32]
    ignored = {each for each in named if signal.getsignal(each) is signal.SIG_IGN}
    expected = ignored - {signal.SIGPIPE, signal.SIGXFSZ}  # which Python itself ignores
    told = {each for each in named if int(lines["SigIgn"], 16) >> (each - 1) & 1}
    assert int(lines["SigBlk"], 16) & ((1 << 31) - 1) == 0
    assert told == expected


def test_sendmail_gets_a_mail_with_one_subject(tmp_path):
    """A text from outside makes no header of its own."""
    out = tmp_path / "out"
    stub = program(tmp_path, f'{{ echo "$@"; cat; }} > {out}')
    alert = load_settings(alert={"mail": ["root", "a@b.example"], "sendmail": stub}).alert
    (send,) = ways.channels(alert)
    send(MESSAGE)
    words, text = out.read_text().split("\n", 1)
    mail = email.message_from_string(text, policy=email.policy.default)
    assert words == "-i root a@b.example"
    assert mail["To"] == "root, a@b.example"
    assert mail.get_all("Subject") == [MESSAGE.line]
    assert "3 records lost Subject:   forged" in mail.get_content()


@pytest.fixture
def endpoint():
    """Give an HTTP server: what it got, and how it answers."""

    class Page(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            if self.path == "/slow":
                self.wfile.write(b"HTTP/1.0 200 OK\r\n")
                while not closing.wait(0.05):
                    self.wfile.write(b"X: y\r\n")
            self.send_response(int(self.path[1:] or 200))
            self.end_headers()

        def log_message(self, *_):
            pass

        def handle_error(self, *_):
            pass

    got, closing = [], threading.Event()
    server = HTTPServer(("127.0.0.1", 0), Page)
    server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    closing.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_webhook_gets_json(endpoint):
    """2xx is an answer, a redirect or an error is none."""
    url, got = endpoint
    (send,) = ways.channels(load_settings(alert={"webhook": f"{url}/204"}).alert)
    send(MESSAGE)
    assert [(path, json.loads(text)["cause"]) for path, text in got] == [("/204", "lost")]
    for status in (302, 404, 500):
        with pytest.raises(AlertError, match=str(status)):
            ways.post_json(f"{url}/{status}", b"{}")


def test_an_endpoint_that_goes_on_talking_is_left(endpoint):
    """The time is for the whole request, not for each byte."""
    url, _ = endpoint
    began = time.monotonic()
    with pytest.raises(AlertError, match=r"no answer within 0\.5 s"):
        ways.post_json(f"{url}/slow", b"{}", 0.5)
    assert time.monotonic() - began < 300
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(AlertError, match="refused"):
            ways.post_json(f"http://127.0.0.1:{free.getsockname()[1]}/", b"")


@pytest.mark.parametrize("is_busy", [False, True])
def test_the_time_is_for_all_addresses_of_a_name(endpoint, monkeypatch, is_busy):
    """The first one takes all of it, without an answer: the second one cannot begin anew.

    Also on a host that is so busy that the thread of the timer does not come to run meanwhile.
    """
    url, got = endpoint
    if is_busy:
        monkeypatch.setattr(threading.Timer, "run", lambda timer: timer.finished.wait(60))
    with socket.socket() as full, socket.socket() as one, socket.socket() as two:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (one, two):  # no room for a third one: the kernel answers it no more
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        places = [full.getsockname(), ("127.0.0.1", int(url.rsplit(":", 1)[1]))]
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in places]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_words: found)
        with pytest.raises(AlertError, match="no answer within"):
            ways.post_json("http://two.example/slow", b"{}", 0.3)
    assert got == []


def test_the_journal_gets_an_entry(tmp_path, monkeypatch):
    """By its native protocol; without journald the error is said."""
    (send,) = ways.channels(load_settings(alert={"journal": True}).alert)
    monkeypatch.setattr(place, "SOCKET", tmp_path / "socket")
    with pytest.raises(AlertError, match="journald"):
        send(MESSAGE)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "socket"))
        send(MESSAGE)
        entry = dict(field.split(b"=", 1) for field in fields(journald.recv(4096)))
    assert entry[b"AUDITSVC_ALERT"] == b"lost"
    assert entry[b"PRIORITY"] == b"2"
    assert entry[b"MESSAGE"] == MESSAGE.line.encode()


@pytest.mark.parametrize(
    "wrong",
    [
        {"exec": ["tell"]},
        {"mail": ["-X/etc/passwd"]},
        {"mail": ["a@b, c@d"]},
        {"webhook": "file:///etc/passwd"},
        {"webhook": "http://user:word@host/"},
        {"on": ["weather"]},
        {"quiet": 0},
    ],
    ids=str,
)
def test_settings_that_would_do_something_else_are_refused(wrong):
    """A mail address is no option of sendmail, a URL no file."""
    with pytest.raises(ConfigError):
        load_settings(alert=wrong)
