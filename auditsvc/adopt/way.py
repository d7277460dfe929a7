"""What both directions of a change-over share: what they work with, and how they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditsvc.adopt.moment import Moment, between

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.adopt.managers import Manager
    from auditsvc.adopt.progress import Progress
    from auditsvc.config import Settings


class Way:
    """One change-over, to our service or back."""

    def __init__(self, settings: Settings, state: Progress, say: Callable[[str], None]) -> None:
        """`state`: how far it is; `say` is given what was done, a line each."""
        self._settings = settings
        self._state = state
        self._say = say
        self._moment = Moment(settings, state, say)

    def _settle(self, manager: Manager, *, ours: bool) -> None:
        """End the copy, load it, and see to the next boot; `_verdict` comes after it."""
        self._moment.end()
        self._moment.store()
        for each in manager.settle(ours=ours):
            self._say(each)

    def _verdict(self) -> bool:
        """Say, and give, whether no record was lost; with that it is done.

        Who is killed before it was said is asked to run it again, and told then.
        """
        self._say(f"{self._moment.verdict()} ({between(self._state)})")
        self._state.done = True
        self._moment.save()
        return not self._state.problems
