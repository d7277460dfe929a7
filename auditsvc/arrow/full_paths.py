"""The full paths of files: what the view `paths` makes of a name and of the call's folder.

A name that begins at the root is its path. Of others the view is asked, but mostly for one of each
folder alone: its answer ends with the name, and what stands before that stands before the other
names too. Where an answer does not, or a name is a folder's own (`.`), each is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from auditsvc.arrow.calls import FOLDER
from auditsvc.arrow.groups import Groups

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditsvc.arrow.paths import Paths

    _Ask = Callable[[pa.Array], pa.Array]

_ROOT: Final = "/"
_HERE: Final = "./"
_ALONE: Final = pa.array([None, "", ".", _HERE], pa.string())
"""Names that are no end of their paths."""


class FullPaths:
    """The paths of some rows of `path`."""

    def __init__(self, rows: Paths) -> None:
        self._rows = rows
        self._name: pa.Array = rows["name"]

    def all(self) -> pa.Array:
        """Give the path of each row."""
        is_full = _true(pc.starts_with(self._name, _ROOT))
        is_alone = pc.is_in(self._name, value_set=_ALONE)
        is_named = pc.invert(pc.or_(is_full, is_alone))
        found = self._put(self._name, is_alone, self._each)
        return self._put(found, is_named, self._by_folder)

    def _put(self, found: pa.Array, is_asked: pa.Array, ask: _Ask) -> pa.Array:
        places = pc.indices_nonzero(is_asked).cast(pa.int64())
        return pc.replace_with_mask(found, is_asked, ask(places)) if len(places) else found

    def _of_call(self, places: pa.Array) -> list[pa.Array]:
        """Give what a path is made of beside the file."""
        calls = self._rows.calls
        cwd = calls.of_contexts("c.cwd", pa.int64())
        call = self._rows["call"].take(places)
        return [pc.take(each, call) for each in (cwd, *calls.told(FOLDER))]

    def _each(self, places: pa.Array) -> pa.Array:
        """Give the paths at some places, asked once for those that are alike."""
        keys = [self._rows["file"].take(places), *self._of_call(places)]
        groups = Groups(keys, len(places))
        return pc.take(self._rows.asked(places.take(groups.firsts)), groups.kinds)

    def _by_folder(self, places: pa.Array) -> pa.Array:
        """Give the paths of names that are the ends of theirs."""
        name = self._name.take(places)
        is_here = pc.starts_with(name, _HERE)
        end = pc.if_else(is_here, pc.utf8_slice_codeunits(name, len(_HERE)), name)
        nametype = self._rows["nametype"].take(places)
        groups = Groups([is_here, nametype, *self._of_call(places)], len(places))
        asked = self._rows.asked(places.take(groups.firsts)).to_pylist()
        ends = end.take(groups.firsts).to_pylist()
        if not all(path is None or path.endswith(of) for path, of in zip(asked, ends, strict=True)):
            return self._each(places)
        folders = [path and path[: -len(of)] for path, of in zip(asked, ends, strict=True)]
        folder = pc.take(pa.array(folders, pa.string()), groups.kinds)
        return pc.binary_join_element_wise(folder, end, "")


def _true(column: pa.Array) -> pa.Array:
    return pc.fill_null(column, False)
