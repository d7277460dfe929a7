"""The report as one HTML page that an auditor can keep. Pure.

It is made for
screens of any width, light and dark, and for paper. All text from outside (rules, keys,
names, paths) is escaped, and control characters are made visible.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from auditsvc.compliance.model import IN_FORCE, ControlState, moment
from auditsvc.plural import counted
from auditsvc.render.html import bar, code, document, prose, text
from auditsvc.rule import printing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from auditsvc.compliance.model import Asked, Judged, Report, RuleFinding, Seen, Share

_LABELS: Final = {
    ControlState.LOADED: ("good", "\u2713 loaded"),
    ControlState.COVERED: ("good", "\u2713 covered"),
    ControlState.PARTLY: ("fair", "\u25d0 partly"),
    ControlState.HIDDEN: ("bad", "\u2717 hidden"),
    ControlState.MISSING: ("bad", "\u2717 missing"),
    ControlState.ABSENT: ("none", "\u2013 not on this host"),
    ControlState.NO_RULE: ("fair", "\u25cb no rule"),
    ControlState.SETTING: ("none", "\u2013 a setting"),
    ControlState.UNKNOWN: ("fair", "? not known"),
}
_NAMED: Final = 12  # controls that the summary names
_SHORT: Final = 32  # characters of a name that fits on one line
_MEANING: Final = {
    ControlState.LOADED: "The kernel has all its rules, and they are in force.",
    ControlState.COVERED: "A broader rule logs the same calls, with its own key.",
    ControlState.PARTLY: "Some of its rules are in force, some are not.",
    ControlState.HIDDEN: "An earlier never rule excludes the calls of its rules.",
    ControlState.MISSING: "The kernel has neither its rules nor broader ones.",
    ControlState.ABSENT: "What its rules watch does not exist on this host.",
    ControlState.NO_RULE: "The sets have no rule for it: only this site can write one.",
    ControlState.SETTING: "It requires a setting of the kernel, which is shown with it.",
    ControlState.UNKNOWN: "The kernel could not be asked.",
}


def page(report: Report) -> str:
    """Write the whole page."""
    title = f"Audit control report: {report.host}"
    body = [
        *_head(report),
        "<main>",
        *_overview(report),
        *_details(report),
        *_legend(report),
        "</main>",
        *_foot(report),
    ]
    return document(title, _style(), body)


@cache
def _style() -> str:
    return (files("auditsvc.compliance") / "page.css").read_text(encoding="utf-8")


def _time(second: int) -> str:
    stamp = moment(second)
    shown = stamp.replace("T", " ").replace("Z", " UTC")
    return f'<time datetime="{stamp}">{shown}</time>'


def _state(state: ControlState) -> str:
    look, words = _LABELS[state]
    return f'<span class="state {look}">{words}</span>'


# -- head ---------------------------------------------------------------------------


def _head(report: Report) -> Iterable[str]:
    yield "<header>"
    yield '<p class="kind">Audit control report</p>'
    yield f"<h1>{text(report.host)}</h1>"
    yield f'<p class="soft">Made {_time(report.made)}</p>'
    yield from _verdict(report)
    yield bar((*_LABELS[state], count) for state, count in report.tally().items())
    yield from _figures(report)
    yield from _facts(report)
    yield "</header>"


def _verdict(report: Report) -> Iterable[str]:
    if report.kernel is None:
        look, words = "fair", "Whether the controls are in force is unknown."
    elif report.proven:
        look, words = "good", "The rules of every control are in force."
    elif report.open:
        total = len(report.controls)
        look, words = "bad", f"{len(report.open)} of {total} controls are not fully in force."
    else:
        look, words = "bad", "The rules are loaded, but audit is off."
    yield f'<div class="verdict {look}"><strong>{words}</strong>'
    if report.kernel is not None and report.open:
        yield f"<p>{_links(report)}</p>"
    yield from (f"<p>{prose(line)}</p>" for line in report.remarks)
    yield "</div>"


def _links(report: Report) -> str:
    """Name the first controls that are not in force, each a link to its rules."""
    indexes = {each.control.name: index for index, each in enumerate(report.controls)}
    shown = [_link(indexes[each.control.name], each.control.name) for each in report.open[:_NAMED]]
    more = len(report.open) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _link(index: int, name: str) -> str:
    short = ' class="short"' if len(name) <= _SHORT else ""
    return f'<a href="#c{index}"{short}>{text(name)}</a>'


def _figures(report: Report) -> Iterable[str]:
    in_force = sum(each.state in IN_FORCE for each in report.controls)
    asking = sum(bool(each.findings) for each in report.controls)
    rules = [each for judged in report.controls for each in judged.findings]
    loaded = sum(each.state in IN_FORCE for each in rules)
    seen = sum(1 for each in report.controls if each.seen is not None and each.seen.count)
    known = report.kernel is not None
    figures = [
        (f"{in_force} of {asking}" if known else "unknown", "controls with rules are in force"),
        (f"{loaded} of {len(rules)}" if known else "unknown", "rules are in force"),
        (_tasks(report), _unknown_tasks(report.share)),
        (
            "unknown" if "store" in report.unknown else f"{seen} of {len(report.controls)}",
            f"controls had events in {_days(report)}",
        ),
    ]
    yield '<ul class="figures">'
    yield from (f"<li><b>{text(n)}</b> <span>{text(of)}</span></li>" for n, of in figures)
    yield "</ul>"


def _tasks(report: Report) -> str:
    return "unknown" if report.share is None else str(report.share)


def _unknown_tasks(share: Share | None) -> str:
    if share is None or not share.unknown:
        return "tasks are covered"
    return f"tasks are covered; {share.unknown:,} unknown"


def _days(report: Report) -> str:
    return "the last day" if report.days == 1 else f"the last {report.days} days"


def _facts(report: Report) -> Iterable[str]:
    yield '<dl class="facts">'
    facts = [
        ("Host", text(report.host)),
        ("Kernel", text(report.release)),
        ("Store", text(report.store)),
        ("Made by", text(f"auditsvc {report.version}")),
    ]
    facts += [
        (
            f"Rule set {text(each.name)}",
            f'{code(each.path)}<span class="why">SHA-256 {code(each.sha256)}</span>',
        )
        for each in report.sources
    ]
    yield from (f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts)
    yield "</dl>"


# -- control by control -------------------------------------------------------------


def _frameworks(report: Report) -> dict[str, list[tuple[int, Judged]]]:
    found: dict[str, list[tuple[int, Judged]]] = {}
    for index, judged in enumerate(report.controls):
        found.setdefault(judged.control.framework, []).append((index, judged))
    return found


def _name(framework: str) -> str:
    return framework or "Rules without a control"


def _overview(report: Report) -> Iterable[str]:
    covered = _tasks(report)
    columns = ("Control", "About", "Rules", "In the kernel", "Tasks covered", "Events", "Last seen")
    for framework, members in _frameworks(report).items():
        yield f"<section><h2>{text(_name(framework))}</h2>"
        yield '<table role="table">'
        yield f"<caption>{text(_name(framework))}: each control and its state</caption>"
        yield '<thead role="rowgroup"><tr role="row">'
        for column in columns:
            number = ' class="number"' if column in ("Rules", "Events") else ""
            yield f'<th scope="col" role="columnheader"{number}>{column}</th>'
        yield "</tr></thead>"
        yield '<tbody role="rowgroup">'
        for index, judged in members:
            yield _row(index, judged, covered if judged.findings else "\u2013")
        yield "</tbody></table></section>"


def _row(index: int, judged: Judged, covered: str) -> str:
    control, seen = judged.control, judged.seen
    kernel = _state(judged.state) + "".join(_setting(each) for each in judged.settings)
    cells = [
        ("About", "", text(control.title)),
        ("Rules", "number", str(len(judged.findings))),
        ("In the kernel", "", kernel),
        ("Tasks covered", "", text(covered)),
        ("Events", "number", _events(judged, seen)),
        ("Last seen", "", _last(judged, seen)),
    ]
    link = _link(index, control.id)
    row = f'<tr role="row"><th scope="row" role="rowheader">{link}</th>'
    for of, look, content in cells:
        cls = f' class="{look}"' if look else ""
        row += f'<td role="cell" data-of="{of}"{cls}><div>{content}</div></td>'
    return row + "</tr>"


def _setting(asked: Asked) -> str:
    setting = asked.setting
    name = setting.name.replace("_", " ")
    if asked.now is None:
        now = "unknown"
    elif asked.met:
        now = f"is {asked.now}: set"
    else:
        now = f"is {asked.now}: not set"
    return f'<span class="why">{text(name)} {setting.value} required, {text(now)}</span>'


def _events(judged: Judged, seen: Seen | None) -> str:
    if not judged.findings:
        return "\u2013"
    return "unknown" if seen is None else f"{seen.count:,}"


def _last(judged: Judged, seen: Seen | None) -> str:
    if not judged.findings:
        return "\u2013"
    if seen is None:
        return "unknown"
    return "never" if seen.last is None else _time(seen.last)


def _details(report: Report) -> Iterable[str]:
    yield "<section><h2>Rules in full</h2>"
    for index, judged in enumerate(report.controls):
        control = judged.control
        yield f'<article id="c{index}"><header>'
        yield f"<h3>{text(control.name)}</h3><span>{text(control.title)}</span>"
        yield f"{_state(judged.state)}</header>"
        if control.note:
            yield f'<p class="soft">{prose(control.note)}</p>'
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
    line = f"{seen.count:,} event{'' if seen.count == 1 else 's'}, counted {how}."
    if seen.uncounted:
        line += (
            f" Not counted: {counted(seen.uncounted, 'rule')} with conditions that no row shows."
        )
    yield f'<p class="soft">{text(line)}</p>'


def _rule(finding: RuleFinding, state: ControlState) -> str:
    """Write one rule; its state only if it is not the control's."""
    where = f"{finding.line.filename.rpartition('/')[2]}:{finding.line.number}"
    more = []
    if finding.by is not None:
        verb = "excluded by" if finding.state is ControlState.HIDDEN else "logged by"
        more.append(f"{verb} {code(printing.text(finding.by))}")
    if finding.lacking is not None:
        more.append(f"{code(finding.lacking)} does not exist")
    more += [f"except what {code(printing.text(each))} excludes" for each in finding.exceptions]
    why = "".join(f'<span class="why">{each}</span>' for each in more)
    own = "" if finding.state is state else f"{_state(finding.state)} "
    line = f'<span class="line">{own}{text(where)}</span>'
    return f'<li><div class="rule">{code(printing.text(finding.rule))}{line}</div>{why}</li>'


def _legend(report: Report) -> Iterable[str]:
    yield "<section><h2>Meaning of the states</h2>"
    yield '<ul class="legend">'
    yield from (f"<li>{_state(state)} {_MEANING[state]}</li>" for state in report.tally())
    yield "</ul>"
    yield (
        f"<p>Events are those of this host in {_days(report)}. \u201cTasks covered\u201d counts all"
        " tasks of the host: a rule logs only calls of tasks that the kernel audits.</p></section>"
    )


def _foot(report: Report) -> Iterable[str]:
    names = ", ".join(each.name for each in report.sources)
    yield "<footer>"
    yield (
        f"<p>auditsvc {text(report.version)} made this from {text(names)}, {_time(report.made)}."
        " It shows the state of the machine then; whether that meets a framework is for an auditor"
        " to judge.</p>"
    )
    yield "</footer>"
