"""A path as a store's URL: any file name comes back as it is, and what is no path is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditsvc.errors import ConfigError, StoreError
from auditsvc.store import open_store
from auditsvc.store.databases import file_url, parse_url, place_of, shown_url, sqlite_file

ODD = (
    "a?b.db",
    "a?mode=ro",
    "a#b.db",
    "a%20b.db",
    "a%3Fb.db",
    "a b.db",
    "a+b&c=d.db",
    "a@b:c.db",
    "file:a.db",
    "file:a?mode=memory",
    "sqlite:a.db",
    ":memory:",
    "a\nb.db",
    "\u00e9.db",
    os.fsdecode(b"\xff.db"),
)


@pytest.mark.parametrize("name", ODD)
def test_a_path_is_a_path(name):
    """Whatever its name is, also in what is shown, and in the messages."""
    path = Path("/folder") / name
    url = file_url(path)
    assert sqlite_file(url) == path
    assert place_of(url) == str(path)
    assert sqlite_file(shown_url(url)) == path


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_any_name_comes_back(name):
    """The bytes of a name need be no text."""
    path = Path("/folder") / os.fsdecode(name)
    assert sqlite_file(file_url(path)) == path


@pytest.mark.parametrize("name", [os.fsdecode(b"\xff.db"), "\u00e9.db", "a b.db"])
def test_a_name_may_stand_in_the_url_as_it_is(name):
    """As it was typed, whatever its bytes are."""
    url = f"sqlite:////folder/{name}"
    assert sqlite_file(url) == Path("/folder") / name
    assert sqlite_file(shown_url(url)) == Path("/folder") / name


def test_a_folder_is_no_store(tmp_path):
    """And that is no matter of rights."""
    with pytest.raises(StoreError, match="Is a directory; name a file in it"):
        open_store(file_url(tmp_path), create=False)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite:////tmp/a?b.db", "takes no options; a ? in the path is written %3F"),
        ("sqlite:////tmp/a.db?mode=ro", "takes no options"),
        ("sqlite://tmp/a.db", "has no host; give sqlite:////PATH"),
        ("sqlite:////tmp/a%00.db", "NUL byte"),
        ("sqlite:////", "names a folder; give sqlite:////PATH"),
        ("sqlite:///.", "names a folder"),
        ("/tmp/a.db", "cannot be read; give sqlite:////PATH"),
        ("file:/tmp/a.db", "cannot be read"),
    ],
)
def test_what_is_no_path_is_refused(url, says):
    """And not taken for another one: `a?b.db` was `a`, `//tmp/a.db` was `a.db` right here."""
    with pytest.raises(ConfigError) as caught:
        parse_url(url)
    assert says in str(caught.value)
