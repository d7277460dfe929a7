"""Carries out a plan in the kernel, and takes it back when the kernel refuses a part.

    before -> changes, one after the other -> done
                        `-- refused -> back to `before`: rules, and their order

The way back is a plan too (rule/plan.py), so it leaves no gap either.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from auditsvc.errors import KernelError, LockedError
from auditsvc.rule import Add, Rule
from auditsvc.ruleset.plan import STAND_IN, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from auditsvc.kernel.control import Control
    from auditsvc.ruleset.plan import Change

    Skip = Callable[[Rule, KernelError], None]


def apply(
    control: Control,
    changes: Sequence[Change],
    skip: Skip | None = None,
    where: Mapping[Rule, str] | None = None,
) -> None:
    """Make the changes in their order; one that somebody else has made meanwhile is no error.

    KernelError when the kernel refuses a rule: all is as before then, or the error says what
    could not be put back. With `skip`, that is told instead and the rest is done; a rule that
    had to move and is refused keeps its stand-in. `where` tells FILE:LINE of rules, for the
    error. LockedError when audit is locked: nothing
    was changed then, or the error says how far it came.
    """
    if not changes:
        return
    before = control.rules()
    refused = False
    for number, change in enumerate(changes):
        if refused and change.verb == "delete" and STAND_IN in change.rule.keys:
            continue
        try:
            _make(control, change)
        except LockedError as error:
            raise _locked(error, number, len(changes)) from error
        except KernelError as error:
            if skip is None or change.verb == "delete":
                added = {each.rule for each in changes[:number] if each.verb != "delete"}
                place = (where or {}).get(change.rule, "")
                raise taken_back(error, restore(control, before, added), place) from error
            skip(change.rule, error)
            refused = refused or change.rule in before


def restore(control: Control, before: Sequence[Rule], added: set[Rule]) -> list[str]:
    """Bring back the rules of `before` in their order, without those that were `added` since.

    Gives a sentence for each that the kernel did not take back; stand-ins stay then.
    """
    back = [Add(rule) for rule in before]
    try:
        changes = plan(back, control.rules(), added.difference(before))
    except KernelError as error:
        return [str(error)]
    left: list[str] = []
    for change in changes:
        if left and change.verb == "delete" and STAND_IN in change.rule.keys:
            continue
        try:
            _make(control, change)
        except LockedError as error:
            return [*left, error.what]
        except KernelError as error:
            left.append(str(error))
    return left


def taken_back(error: KernelError, left: Sequence[str], where: str = "") -> KernelError:
    """Give the error, told with where it is from and what became of the changes before it."""
    outcome = "everything is as it was before"
    if left:
        outcome = f"could not be put back: {'; '.join(left)}"
    what = f"{where}: {error.what}" if where else error.what
    return KernelError(f"{what}; {outcome}", error.hint, error.errno)


def _make(control: Control, change: Change) -> None:
    try:
        if change.verb == "delete":
            control.delete_rule(change.rule)
        else:
            control.add_rule(change.rule, prepend=change.verb == "prepend")
    except KernelError as error:
        done = errno.ENOENT if change.verb == "delete" else errno.EEXIST
        if error.errno != done:
            raise


def _locked(error: LockedError, made: int, count: int) -> LockedError:
    outcome = f"{made} of {count} changes had been made and stay" if made else "nothing was changed"
    return LockedError(f"{error.what}; {outcome}", error.hint, error.errno)
