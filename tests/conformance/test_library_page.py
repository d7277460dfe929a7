"""docs/library.ipynb runs, and prints what stands in it."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_notebook_prints_what_it_shows(monkeypatch):
    """Each cell in turn, in one namespace, in the top folder."""
    monkeypatch.chdir(ROOT)
    cells = json.loads((ROOT / "docs/library.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    for cell in code:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("".join(cell["source"]), "docs/library.ipynb", "exec"), names)
        shown = ["".join(each["text"]) for each in cell["outputs"]]
        assert "".join(shown) == out.getvalue()
