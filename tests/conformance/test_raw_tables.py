"""Who asks in words of SQL is not answered from the store's own tables by a slip."""

from __future__ import annotations

import os
import subprocess

import pytest
from fixtures import commands
from fixtures.commands import AUDITSVC
from fixtures.logs import load, opening

import auditsvc
from auditsvc.errors import QueryError
from auditsvc.store.read.raw_tables import DELIBERATE

SLIP = "SELECT count(*) AS n FROM syscall"


@pytest.mark.one_database
def test_a_slip_is_refused_with_the_name_of_the_view(url, tmp_path):
    """By the command, the shell and the library; the query that says so is answered."""
    load(url, opening(1))
    environment = os.environ | {"AUDITSVC_STORE": url, "AUDITSVC_RUNTIME_DIRECTORY": str(tmp_path)}
    environment |= {"HOME": str(tmp_path)}
    done = commands.run("query", SLIP, environment=environment, text=True)
    assert done.returncode == 1
    assert "the view is `syscalls`" in done.stderr
    meant = commands.run("query", f"{DELIBERATE} {SLIP}", environment=environment, text=True)
    assert meant.stdout.split() == ["n", "1"]
    shell = subprocess.run(
        [AUDITSVC, "shell"],
        input=f"{SLIP};\n",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the view is `syscalls`" in shell.stderr
    with auditsvc.open_store(url) as store:
        with pytest.raises(QueryError, match="is a table of the store"):
            store.query(SLIP)
        assert list(store.query(f"{SLIP} {DELIBERATE}")) == [(1,)]
