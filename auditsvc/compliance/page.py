"""The report as one HTML page that an auditor can file. Pure.

It needs nothing from elsewhere and runs no script: the policy in its head forbids
both. It is for screens of any width, light and dark, and for paper. All that came
from outside (rules, keys, names, paths) is escaped, and control bytes are made visible.
"""

from __future__ import annotations

import re
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from auditsvc.compliance.model import IN_FORCE, State, moment
from auditsvc.host.terminal import visible
from auditsvc.rule import printing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.compliance.model import Asked, Finding, Judged, Report, Seen, Share

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"

_LOOKS: Final = {
    State.LOADED: ("good", "\u2713 loaded"),
    State.COVERED: ("good", "\u2713 covered"),
    State.PARTLY: ("fair", "\u25d0 partly"),
    State.HIDDEN: ("bad", "\u2717 hidden"),
    State.MISSING: ("bad", "\u2717 missing"),
    State.ABSENT: ("none", "\u2013 not on this host"),
    State.NO_RULE: ("fair", "\u25cb no rule"),
    State.SETTING: ("none", "\u2013 a setting"),
    State.UNKNOWN: ("fair", "? not known"),
}
_NAMED: Final = 12  # controls that the verdict names
_SHORT: Final = 32  # letters of a name that need not be broken
_QUOTED: Final = re.compile("`([^`]+)`")
_MEANING: Final = {
    State.LOADED: "The kernel has all its rules, and they are asked.",
    State.COVERED: "A broader rule logs the same calls, under its own key.",
    State.PARTLY: "Some of its rules are in force, some are not.",
    State.HIDDEN: "A rule that says never stands before its rules and takes their calls out.",
    State.MISSING: "The kernel has neither its rules nor broader ones.",
    State.ABSENT: "What its rules watch is not installed.",
    State.NO_RULE: "The sets leave it to a rule that only this site can write.",
    State.SETTING: "It asks for a setting of the kernel, which is told beside it.",
    State.UNKNOWN: "The kernel could not be asked.",
}


def page(report: Report) -> str:
    """Write the whole page."""
    title = f"Audit control report: {report.host}"
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_text(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_text(title)}</title>",
        f"<style>\n{_style()}</style>",
        "</head>",
        "<body>",
        *_head(report),
        "<main>",
        *_overview(report),
        *_details(report),
        *_legend(report),
        "</main>",
        *_foot(report),
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


@cache
def _style() -> str:
    return (files("auditsvc.compliance") / "page.css").read_text(encoding="utf-8")


def _text(value: str) -> str:
    return escape(visible(value), quote=True)


def _prose(text: str) -> str:
    """Escape a text in which `words` of a program stand between backticks."""
    return _QUOTED.sub(r"<code>\1</code>", _text(text))


def _code(value: str) -> str:
    return f"<code><bdi>{_text(value)}</bdi></code>"


def _time(second: int) -> str:
    text = moment(second)
    shown = text.replace("T", " ").replace("Z", " UTC")
    return f'<time datetime="{text}">{shown}</time>'


def _state(state: State) -> str:
    look, words = _LOOKS[state]
    return f'<span class="state {look}">{words}</span>'


# -- head ---------------------------------------------------------------------------


def _head(report: Report) -> Iterable[str]:
    yield "<header>"
    yield '<p class="kind">Audit control report</p>'
    yield f"<h1>{_text(report.host)}</h1>"
    yield f'<p class="soft">Made {_time(report.made)}</p>'
    yield from _verdict(report)
    yield from _figures(report)
    yield from _facts(report)
    yield "</header>"


def _verdict(report: Report) -> Iterable[str]:
    if report.kernel is None:
        look, words = "fair", "Whether the controls are in force is not known."
    elif report.proven:
        look, words = "good", "Every control that asks for rules has them in force."
    elif report.open:
        whole = len(report.controls)
        look, words = "bad", f"{len(report.open)} of {whole} controls are not wholly in force."
    else:
        look, words = "bad", "The rules are there, and audit is off."
    yield f'<div class="verdict {look}"><strong>{words}</strong>'
    if report.kernel is not None and report.open:
        yield f"<p>{_links(report)}</p>"
    yield from (f"<p>{_prose(line)}</p>" for line in report.remarks)
    yield "</div>"


def _links(report: Report) -> str:
    """Name the first controls that are open, each a link to its rules."""
    places = {each.control.name: place for place, each in enumerate(report.controls)}
    shown = [_link(places[each.control.name], each.control.name) for each in report.open[:_NAMED]]
    more = len(report.open) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _link(place: int, name: str) -> str:
    short = ' class="short"' if len(name) <= _SHORT else ""
    return f'<a href="#c{place}"{short}>{_text(name)}</a>'


def _figures(report: Report) -> Iterable[str]:
    in_force = sum(each.state in IN_FORCE for each in report.controls)
    asking = sum(bool(each.findings) for each in report.controls)
    rules = [each for judged in report.controls for each in judged.findings]
    loaded = sum(each.state in IN_FORCE for each in rules)
    seen = sum(1 for each in report.controls if each.seen is not None and each.seen.count)
    known = report.kernel is not None
    figures = [
        (f"{in_force} of {asking}" if known else "not known", "controls with rules are in force"),
        (f"{loaded} of {len(rules)}" if known else "not known", "rules are in force"),
        (_tasks(report), _unknown_tasks(report.share)),
        (
            "not known" if "store" in report.unknown else f"{seen} of {len(report.controls)}",
            f"controls had events in {_days(report)}",
        ),
    ]
    yield '<ul class="figures">'
    yield from (f"<li><b>{_text(n)}</b> <span>{_text(of)}</span></li>" for n, of in figures)
    yield "</ul>"


def _tasks(report: Report) -> str:
    return "not known" if report.share is None else str(report.share)


def _unknown_tasks(share: Share | None) -> str:
    if share is None or not share.unknown:
        return "tasks are covered"
    return f"tasks are covered, of {share.unknown:,} it is not known"


def _days(report: Report) -> str:
    return "the last day" if report.days == 1 else f"the last {report.days} days"


def _facts(report: Report) -> Iterable[str]:
    yield '<dl class="facts">'
    facts = [
        ("Host", _text(report.host)),
        ("Kernel", _text(report.release)),
        ("Store", _text(report.store)),
        ("Made by", _text(f"auditsvc {report.version}")),
    ]
    facts += [
        (
            f"Rule set {_text(each.name)}",
            f'{_code(each.path)}<span class="why">SHA-256 {_code(each.sha256)}</span>',
        )
        for each in report.sources
    ]
    yield from (f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    yield "</dl>"


# -- control by control -------------------------------------------------------------


def _frameworks(report: Report) -> dict[str, list[tuple[int, Judged]]]:
    found: dict[str, list[tuple[int, Judged]]] = {}
    for place, judged in enumerate(report.controls):
        found.setdefault(judged.control.framework, []).append((place, judged))
    return found


def _name(framework: str) -> str:
    return framework or "Rules that name no control"


def _overview(report: Report) -> Iterable[str]:
    covered = _tasks(report)
    columns = ("Control", "About", "Rules", "In the kernel", "Tasks covered", "Events", "Last seen")
    for framework, members in _frameworks(report).items():
        yield f"<section><h2>{_text(_name(framework))}</h2>"
        yield '<table role="table">'
        yield f"<caption>{_text(_name(framework))}: each control and what became of it</caption>"
        yield '<thead role="rowgroup"><tr role="row">'
        for column in columns:
            number = ' class="number"' if column in ("Rules", "Events") else ""
            yield f'<th scope="col" role="columnheader"{number}>{column}</th>'
        yield "</tr></thead>"
        yield '<tbody role="rowgroup">'
        for place, judged in members:
            yield _row(place, judged, covered if judged.findings else "\u2013")
        yield "</tbody></table></section>"


def _row(place: int, judged: Judged, covered: str) -> str:
    control, seen = judged.control, judged.seen
    kernel = _state(judged.state) + "".join(_setting(each) for each in judged.settings)
    cells = [
        ("About", "", _text(control.title)),
        ("Rules", "number", str(len(judged.findings))),
        ("In the kernel", "", kernel),
        ("Tasks covered", "", _text(covered)),
        ("Events", "number", _events(judged, seen)),
        ("Last seen", "", _last(judged, seen)),
    ]
    link = _link(place, control.id)
    row = f'<tr role="row"><th scope="row" role="rowheader">{link}</th>'
    for of, look, content in cells:
        cls = f' class="{look}"' if look else ""
        row += f'<td role="cell" data-of="{of}"{cls}><div>{content}</div></td>'
    return row + "</tr>"


def _setting(asked: Asked) -> str:
    setting = asked.setting
    name = setting.name.replace("_", " ")
    if asked.now is None:
        now = "not known"
    elif asked.met:
        now = f"is {asked.now}: set"
    else:
        now = f"is {asked.now}: not set"
    return f'<span class="why">{_text(name)} {setting.value} asked, {_text(now)}</span>'


def _events(judged: Judged, seen: Seen | None) -> str:
    if not judged.findings:
        return "\u2013"
    return "not known" if seen is None else f"{seen.count:,}"


def _last(judged: Judged, seen: Seen | None) -> str:
    if not judged.findings:
        return "\u2013"
    if seen is None:
        return "not known"
    return "never" if seen.last is None else _time(seen.last)


def _details(report: Report) -> Iterable[str]:
    yield "<section><h2>Rules in full</h2>"
    for place, judged in enumerate(report.controls):
        control = judged.control
        yield f'<article id="c{place}"><header>'
        yield f"<h3>{_text(control.name)}</h3><span>{_text(control.title)}</span>"
        yield f"{_state(judged.state)}</header>"
        if control.note:
            yield f'<p class="soft">{_prose(control.note)}</p>'
        if judged.seen is not None and judged.findings:
            yield from _counted(judged.seen)
        yield from (f"<p>{_setting(each)}</p>" for each in judged.settings)
        if judged.findings:
            yield "<ul>"
            yield from (_rule(each, judged.state) for each in judged.findings)
            yield "</ul>"
        yield "</article>"
    yield "</section>"


def _counted(seen: Seen) -> Iterable[str]:
    how = "by key" if seen.by == "key" else "by key, and by what the calls were"
    line = f"{seen.count:,} events, counted {how}."
    if seen.uncounted:
        line += f" The rows do not tell the calls of {seen.uncounted} rules: they are not counted."
    yield f'<p class="soft">{_text(line)}</p>'


def _rule(finding: Finding, state: State) -> str:
    """Write one rule; its state only where it is not the control's."""
    where = f"{finding.line.filename.rpartition('/')[2]}:{finding.line.number}"
    more = []
    if finding.by is not None:
        verb = "taken out by" if finding.state is State.HIDDEN else "logged by"
        more.append(f"{verb} {_code(printing.text(finding.by))}")
    if finding.lacking is not None:
        more.append(f"{_code(finding.lacking)} is not there")
    more += [f"but for what {_code(printing.text(each))} takes out" for each in finding.exceptions]
    why = "".join(f'<span class="why">{each}</span>' for each in more)
    own = "" if finding.state is state else f"{_state(finding.state)} "
    line = f'<span class="line">{own}{_text(where)}</span>'
    return f'<li><div class="rule">{_code(printing.text(finding.rule))}{line}</div>{why}</li>'


def _legend(report: Report) -> Iterable[str]:
    yield "<section><h2>What the words mean</h2>"
    yield '<ul class="legend">'
    yield from (f"<li>{_state(state)} {_MEANING[state]}</li>" for state in report.tally())
    yield "</ul>"
    yield (
        f"<p>Events are those of this host in {_days(report)}. \u201cTasks covered\u201d is of the"
        " whole host: a rule logs a call only of a task that the kernel audits.</p></section>"
    )


def _foot(report: Report) -> Iterable[str]:
    names = ", ".join(each.name for each in report.sources)
    yield "<footer>"
    yield (
        f"<p>auditsvc {_text(report.version)} made this of {_text(names)}, {_time(report.made)}."
        " It says what the machine said then; whether that meets a framework is for an auditor"
        " to judge.</p>"
    )
    yield "</footer>"
