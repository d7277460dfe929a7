"""Makes the changes of a plan in the kernel, and undoes them when the kernel refuses one.

    before -> changes, one after the other -> done
                        `-- refused -> the rules of `before`, in their order

Undoing follows a plan as well (ruleset/plan.py), so that it leaves no gap either.
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
    """Make the changes in order; a change that somebody else has already made is not an error.

    KernelError when the kernel refuses a rule: the rules are then as before, or the error
    says what could not be restored. With `skip`, it is called for each refused rule and the
    other changes are made; a moved rule that is refused keeps its stand-in. `where` gives
    FILE:LINE of rules, for the error. LockedError when audit is locked: nothing was changed,
    or the error says how many changes were made.
    """
    if not changes:
        return
    before = control.rules()
    loaded_before = frozenset(before)
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
                line = (where or {}).get(change.rule, "")
                raise with_outcome(error, restore(control, before, added), line) from error
            skip(change.rule, error)
            refused = refused or change.rule in loaded_before


def restore(control: Control, before: Sequence[Rule], added: set[Rule]) -> list[str]:
    """Restore the rules of `before` in their order, without those that were `added` since.

    Gives one sentence for each change that the kernel refused; stand-ins stay in that case.
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


def with_outcome(error: KernelError, left: Sequence[str], where: str = "") -> KernelError:
    """Add to an error where the rule comes from and whether earlier changes were undone.

    `left`: a sentence for each change that could not be undone.
    """
    outcome = "everything is as it was before"
    if left:
        outcome = f"could not be restored: {'; '.join(left)}"
    what = f"{where}: {error.what}" if where else error.what
    return KernelError(f"{what}; {outcome}", error.hint, error.errno)


def _make(control: Control, change: Change) -> None:
    try:
        if change.verb == "delete":
            control.delete_rule(change.rule)
        else:
            control.add_rule(change.rule, prepend=change.verb == "prepend")
    except KernelError as error:
        already_made = errno.ENOENT if change.verb == "delete" else errno.EEXIST
        if error.errno != already_made:
            raise


def _locked(error: LockedError, done: int, count: int) -> LockedError:
    outcome = f"{done} of {count} changes were made and stay" if done else "nothing was changed"
    return LockedError(f"{error.what}; {outcome}", error.hint, error.errno)
