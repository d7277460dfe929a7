"""The words of `story`'s sentences are whole: no verb is left with a preposition and no object."""

from __future__ import annotations

import pytest

from auditsvc.tables import verbs
from auditsvc.tables.verbs import CALLS, OPERATIONS, SAID, TYPES, UNNAMED

ACTIONS = {verb.action for table in (CALLS, TYPES, OPERATIONS) for verb in table.values()}
OPEN = {"of", "to", "from", "in", "on", "with", "for", "as", "about", "at"}
"""What a sentence cannot end with."""


def test_words_are_of_verbs_that_there_are():
    """A verb that is renamed would lose its words unseen."""
    assert (set(SAID) | set(UNNAMED)) - ACTIONS == set()


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_a_sentence_without_an_object_is_whole(action):
    """Neither "read identity of" nor "started audit:" says anything."""
    said = SAID.get(action, action.replace("-", " "))
    ends_open = said.endswith(":") or said.split()[-1] in OPEN
    assert not ends_open or action in UNNAMED, said


def test_our_own_notes_are_no_change_of_configuration():
    """The service writes them as DAEMON_CONFIG records by the hundred."""
    assert not any("chang" in OPERATIONS[op].action for op in ("coverage", "name", "cgroup"))
    assert verbs.TYPES["DAEMON_CONFIG"].action == "changed-auditd-configuration"
