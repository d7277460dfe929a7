"""Man pages and completion: complete, well formed, and right in the shells themselves."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.logs import load, record
from fixtures.terminal import Terminal

from auditsvc.cli import all_commands
from auditsvc.cli.pages import PAGES, others
from auditsvc.manual.roff import to_man

ROOT = Path(__file__).parents[2]
PEERS = ROOT / "build/peers"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Give the folder with all man pages and scripts."""
    folder = tmp_path_factory.mktemp("manual")
    for name, text in others(ROOT).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_the_pages_are_those_of_the_program(name):
    """Each is what `make pages` writes."""
    assert (ROOT / name).read_text() == PAGES[name]()


def test_every_command_and_option_has_its_place(made):
    """A page for each command, with every option, its value and its meaning."""
    for command in all_commands():
        page = (made / f"man1/{command.name}.1").read_text().replace(r"\-", "-")
        words = " ".join(page.split())
        for parameter in (*command.options, *command.arguments):
            assert rf"\fB{parameter.shown}\fR" in words, (command.name, parameter)
            assert parameter.help, (command.name, parameter)
    names = {each.name for each in (made / "man5").iterdir()}
    names |= {each.name for each in (made / "man7").iterdir()}
    assert names == {"auditsvc.toml.5", "auditsvc-views.7", "auditsvc.rules.7"}


def test_groff_and_man_have_nothing_to_say(made):
    """No warning, and a name line that `apropos` finds."""
    pages = sorted(made.glob("man[157]/*"))
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z", *pages], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    for page in pages:
        name = page.name.rpartition(".")[0]
        assert re.search(rf'\.SH "NAME"\n\.PP\n{name}', page.read_text().replace(r"\-", "-")), page


def test_no_mark_of_markdown_is_left(made):
    """Outside of examples: what is code is bold, also where it goes over the end of a line."""
    for page in made.glob("man[157]/*"):
        text = re.sub(r"(?ms)^\.nf$.*?^\.fi$", "", page.read_text())
        assert re.findall(r"[^\n]*`[^\n]*|[^\n]*\]\([^\n]*", text) == [], page.name


def test_what_roff_interprets_is_protected():
    """Backslashes, quotes, and lines that begin like a request."""
    text = (
        "# x\n\n## A\n\n.hidden `a\\b`\n\n```\n'quoted -x\n```\n\n| A | B |\n|---|---|\n| `c` | |\n"
    )
    page = to_man(text, "x", 1, "1")
    assert r"\&.hidden \fBa\eb\fR" in page
    assert r"\&'quoted \-x" in page
    assert page.endswith(".TP\n\\fBc\\fR\n\\&\n")


CASES = [
    (["se"], {"search"}),
    (["rules", ""], {"check", "diff", "load", "list", "report"}),
    (["--config", "x", "rep"], {"report"}),
    (["search", "-sc", "openat"], {"openat", "openat2"}),
    (["search", "-m", "USER_LOGI"], {"USER_LOGIN"}),
    (["search", "--key", "pci-10.6"], {"pci-10.6.3"}),
    (["search", "-ts", "this-"], {"this-hour", "this-week", "this-month", "this-year"}),
    (["query", "--since", "yes"], {"yesterday"}),
    (["query", "sock"], {"sockaddrs"}),
    (["report", "dai"], {"daily"}),
    (["report", "--by", ""], {"day", "hour", "host", "auid"}),
    (
        ["top", "--by", ""],
        {"exe", "comm", "auid", "uid", "pid", "syscall", "key", "host", "container", "unit"},
    ),
    (["compliance", ""], {"pci", "stig", "nist", "cis", "iso"}),
    (["run", "--rules", "stig"], {"stig-rhel9"}),
    (["rules", "check", "cis"], {"cis-debian", "cis-rhel"}),
    (["rules", "report", "--f"], {"--format"}),
    (["check", "--format", ""], {"table", "json"}),
    (["config", "show", "spool.k"], {"spool.keep_bytes"}),
    (["backup", "/etc/passw"], {"/etc/passwd"}),
]


def bash(folder, words):
    """Complete in bash."""
    script = (
        'source "$0"; COMP_WORDS=(auditsvc "$@"); COMP_CWORD=$#; _auditsvc;'
        ' printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return ["bash", "--norc", "-c", script, folder / "bash/auditsvc", *words], {}


def zsh(folder, words):
    """Complete in zsh; the last step, to show what matches, is its own."""
    program = shutil.which("zsh") or PEERS / "bin/zsh"
    script = (
        f"module_path+=({PEERS}/usr/lib/*/zsh/*(N));"
        'compadd() { shift; print -rl -- "$@" }; _files() { print -rl -- $words[CURRENT]*(N) };'
        'compdef() {:}; source "$1"; shift; words=(auditsvc "$@"); CURRENT=$#words; _auditsvc'
    )
    return [program, "-f", "-c", script, "zsh", folder / "zsh/_auditsvc", *words], {}


def fish(folder, words):
    """Complete in fish."""
    program = shutil.which("fish") or PEERS / "usr/bin/fish"
    libraries = ":".join(map(str, PEERS.glob("usr/lib/*-linux-gnu")))
    script = f"source {folder}/fish/auditsvc.fish; complete -C 'auditsvc {' '.join(words)}'"
    return [program, "-N", "-c", script], {"LD_LIBRARY_PATH": libraries}


@pytest.mark.parametrize("shell", [bash, zsh, fish])
@pytest.mark.parametrize(
    ("words", "expected"),
    CASES,
    ids=lambda value: " ".join(sorted(value) if isinstance(value, set) else value),
)
def test_each_shell_completes(made, shell, words, expected):
    """Verbs, options, fixed values, calls, record types, keys, views, sets, settings, files."""
    arguments, environment = shell(made, words)
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=os.environ | environment, check=False
    )
    assert done.stderr == ""
    given = {line.partition("\t")[0] for line in done.stdout.splitlines()}
    assert {word for word in given if word.startswith(words[-1])} >= expected
    if not words[-1].startswith("/"):
        assert {word for word in given if word.startswith(words[-1])} == expected


def started(shell, folder, home):
    """Give what starts a shell as a person has it, where `auditsvc` shows what it was given."""
    shown = "auditsvc() { printf '<%s>' \"$@\"; }; PS1='> '"
    if shell is bash:
        (home / "rc").write_text(f"{shown}; source {folder}/bash/auditsvc\n")
        return ["bash", "--noprofile", "--rcfile", home / "rc", "-i"], {}
    if shell is zsh:
        functions = f"{PEERS}/usr/share/zsh/functions"
        (home / ".zshrc").write_text(
            f"{shown}; module_path+=({PEERS}/usr/lib/*/zsh/*(N))\n"
            f"fpath=({folder}/zsh $fpath {functions}/*(N/) {functions}/Completion/*(N/))\n"
            "autoload -Uz compinit; compinit -u -D\n"
        )
        return [shutil.which("zsh") or PEERS / "bin/zsh", "-i"], {"ZDOTDIR": str(home)}
    set_up = (
        "function auditsvc; printf '<%s>' $argv; end; function fish_prompt; echo -n '> '; end;"
        f" set fish_greeting; set -p fish_complete_path {folder}/fish;"
        f" set -a fish_function_path {PEERS}/usr/share/fish/functions"
    )
    _, libraries = fish(folder, [])
    program = shutil.which("fish") or PEERS / "usr/bin/fish"
    return [program, "-i", "-C", set_up], libraries | {"HOME": str(home)}


TYPED = [
    ("compl", "<compliance>"),
    ("config show spool.k", "<spool.keep_bytes>"),
    ("search -m USER_LOGIN,USER_AU", "<USER_LOGIN,USER_AUTH>"),
    ("search --message=USER_LOGI", "<--message=USER_LOGIN>"),
    ("query --since=yes", "<--since=yesterday>"),
    ("--config=/x que", "<--config=/x><query>"),
    ("query sock", "<sockaddrs>"),
    ('query "SELECT * FROM sysc', "<SELECT * FROM syscalls>"),
    ("query 'SELECT (SELECT 1 FROM stor", "<SELECT (SELECT 1 FROM story>"),
]


@pytest.mark.parametrize("shell", [bash, zsh, fish])
def test_the_key_completes_what_was_typed(made, tmp_path, shell):
    """In the shell itself, on a terminal: the words that the command then gets."""
    command, environment = started(shell, made, tmp_path)
    with Terminal(*command, environment={"PATH": os.environ["PATH"]} | environment) as terminal:
        terminal.until("> ")
        for line, whole in TYPED:
            terminal.type(f"auditsvc {line}\t\r")
            terminal.until(whole)


def test_bash_completes_a_view_within_a_statement(made):
    """SQL is one word in quotes; what was typed before stays."""
    arguments, _ = bash(made, ["query", "'SELECT * FROM sysc"])
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout == "SELECT * FROM syscalls\n"


def test_bash_completes_the_last_of_a_list(made):
    """Types, and what a report is grouped by, stand with commas between them."""
    for words, expected in (
        (["search", "-m", "USER_LOGIN,USER_AU"], "USER_LOGIN,USER_AUTH\n"),
        (["report", "--by", "host,da"], "host,day\n"),
    ):
        arguments, _ = bash(made, words)
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        assert done.stdout == expected


def test_zsh_completes_the_last_of_a_list(made):
    """The same: zsh leaves what comes before the comma as it is."""
    arguments, environment = zsh(made, ["search", "-m", "USER_LOGIN,USER_AU"])
    arguments[3] = 'compset() { print -r -- "$@" };' + arguments[3]
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=os.environ | environment, check=True
    )
    assert done.stdout.splitlines()[0] == "-P *,"
    assert "USER_AUTH" in done.stdout.splitlines()


def test_keys_of_the_host_s_rules_are_known(made, tmp_path):
    """From rule files, as -k KEY and as -F key=KEY."""
    script = (made / "bash/auditsvc").read_text().replace("/etc/auditsvc/rules.d", str(tmp_path))
    (tmp_path / "bash").mkdir()
    (tmp_path / "bash/auditsvc").write_text(script)
    (tmp_path / "my.rules").write_text("-w /a -k mine-a\n-a always,exit -S open -F key=mine-b\n")
    arguments, _ = bash(tmp_path, ["search", "-k", "mine"])
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mine-a", "mine-b"]


@pytest.mark.parametrize("shell", [bash, zsh, fish])
def test_containers_and_units_of_the_store_are_known(made, tmp_path, shell):
    """A container's name that a shell would run is no word, and is not run."""
    url = f"sqlite:///{tmp_path}/store.db"
    ids = "auid=4294967295 uid=0 ses=4294967295 res=success"
    names = ("web", f"$(touch {tmp_path}/ran)", f"`touch {tmp_path}/ran`", "a b;c", "-x\n-y")
    log = "".join(
        record(
            "DAEMON_CONFIG",
            n,
            f'op=cgroup cgroup="/x" unit=docker-{n}.scope container={n:064x}'
            f" name={name.encode().hex().upper()} pid={100 + n} {ids}",
        )
        for n, name in enumerate(names)
    )
    load(url, log, kind="spool")
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "AUDITSVC_STORE": url}
    for words, expected in (
        (["search", "--container", "w"], {"web"}),
        (["tail", "--unit", "docker-1"], {"docker-1.scope"}),
    ):
        arguments, environment = shell(made, words)
        done = subprocess.run(
            arguments, capture_output=True, text=True, env=os.environ | path | environment,
            check=False,
        )  # fmt: skip
        given = {line.partition("\t")[0] for line in done.stdout.splitlines()}
        assert {word for word in given if word.startswith(words[-1])} == expected, done.stderr
    assert not (tmp_path / "ran").exists()
