"""Sentences that archive and lake have from before revision 0019 are said anew."""

from __future__ import annotations

import duckdb
import pytest

from auditsvc.store.views import sentence

PARTS = [
    ("mia", "root", "failed", "renamed", "/a", "/b", "/usr/bin/mv", "with"),
    ("1000", "1000", "success", "created-directory", "/tmp/dec space", "0777", None, "with"),
    ("1000", None, "in progress", "executed", "/bin/a", "/bin/b", "sh", "by way of"),
    ("system", "0", None, "mounted", None, "/mnt using x", "mount", "on"),
]


def in_old_words(*parts):
    """Give the sentence that programs before revision 0019 said of it."""
    actor, as_user, outcome, action, first, second, how, link = parts
    adverbs = {"success": " successfully", "failed": " unsuccessfully"}
    adverb = (adverbs | {"in progress": " asynchronously"}).get(outcome, "")
    who = f"{actor}, acting as {as_user}," if as_user not in (None, actor) else actor
    end = f" using {how}" if how and action != "executed" else ""
    return f"{who}{adverb} {action}{f' {first}' if first else ''} {link} {second}{end}"


@pytest.mark.one_database
@pytest.mark.parametrize("parts", PARTS)
def test_what_was_kept_in_old_words_is_said_anew(parts):
    """With its word before the second object; what was kept since stays as it is."""
    values = [None if each is None else str(each) for each in parts]
    columns = ", ".join(f"? AS {name}" for name in (*sentence.COLUMNS, "link", "sentence"))
    with duckdb.connect(":memory:") as duck:

        def said(expression, kept):
            sql = f"SELECT {expression} FROM (SELECT {columns})"
            return duck.execute(sql, [*values, kept]).fetchone()[0]

        now = said(sentence.sentence(link="link"), None)
        assert said(sentence.kept(), in_old_words(*parts)) == now
        assert said(sentence.kept(), now) == now
        assert said(sentence.kept(), None) == said(sentence.sentence(), None)
        assert said(sentence.kept(), "something else") == "something else"
