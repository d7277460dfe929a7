"""The report: states, tallies, and the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest

from auditsvc.compliance.as_json import as_json
from auditsvc.compliance.judge import by_calls, joined, judge, keys
from auditsvc.compliance.model import ControlState, KernelState, Report, Seen, Share, Source
from auditsvc.compliance.page import page
from auditsvc.rule import parse, printing
from auditsvc.ruleset.controls import controls

SET = """\
#: FRAME 10 | Two rules
-w /etc/shadow -p wa -k shadow
-a always,exit -S getppid -F uid=7 -k parent

#: FRAME 9 | A setting
#= -e 2
#= -b 64

#: FRAME 11 | For the site

#: OTHER A | Never
-a never,exit -S getpid
"""
SHADOW = "-w /etc/shadow -p wa -k shadow"
PARENT = "-a always,exit -S getppid -F uid=7 -k parent"
NEVER = "-a never,exit -S getpid"


def kernel(*texts: str, **settings: int) -> KernelState:
    """Give a kernel that has these rules."""
    rules = tuple(parse(text)[0].command.rule for text in texts)
    return KernelState(rules, {"enabled": 1, "backlog_limit": 8192} | settings)


def judged(*texts: str, lacking=lambda _: None, **settings: int):
    """Judge the set's controls, by their ids."""
    known = kernel(*texts, **settings)
    return {each.id: judge(each, known, lacking) for each in controls(SET)}


def report(*texts: str, text: str = SET, known: KernelState | None = None, **more) -> Report:
    """Make a whole report."""
    found = known or kernel(*texts)
    values = {
        "made": 1_750_000_000,
        "host": "box",
        "release": "Linux 6",
        "version": "1",
        "store": "sqlite:////x",
        "days": 30,
        "sources": (Source("set", "/etc/set.rules", "00" * 32),),
        "kernel": found,
    }
    told = tuple(judge(each, values["kernel"], lambda _: None) for each in joined(controls(text)))
    return Report(**(values | {"controls": told} | more))


def test_states():
    """Rules that are there are loaded; of a control that has some, it is partly."""
    found = judged(SHADOW, PARENT, NEVER)
    assert found["10"].state is ControlState.LOADED
    assert [each.state for each in found["10"].findings] == [ControlState.LOADED] * 2
    assert found["A"].state is ControlState.LOADED
    assert judged(SHADOW)["10"].state is ControlState.PARTLY
    assert judged()["10"].state is ControlState.MISSING
    assert judged()["A"].state is ControlState.MISSING
    assert found["9"].state is ControlState.SETTING
    assert found["11"].state is ControlState.NO_RULE


def test_covered_by_a_broader_rule():
    """A broader rule covers, whether ours is loaded behind it or not, and its calls are counted."""
    every = "-a always,exit -S all -k every"
    for texts in ((every,), (every, SHADOW, PARENT)):
        found = judged(*texts)["10"]
        assert found.state is ControlState.COVERED
        assert {printing.text(each.by) for each in found.findings} == {
            "-a always,exit -S all -F key=every"
        }
        assert [each.loaded for each in found.findings] == [len(texts) > 1] * 2
        assert len(by_calls(found)) == 2
    behind = judged(SHADOW, PARENT, every)["10"]
    assert behind.state is ControlState.LOADED
    assert by_calls(behind) == ()


def test_hidden_by_a_never():
    """A never that takes all calls hides; one that takes some is an exception."""
    hidden = judged("-a never,exit -S all", SHADOW, PARENT)["10"]
    assert hidden.state is ControlState.HIDDEN
    assert all(each.loaded for each in hidden.findings)
    some = judged("-a never,exit -F uid=7", SHADOW, PARENT)["10"]
    assert [each.state for each in some.findings] == [ControlState.LOADED, ControlState.HIDDEN]
    assert [len(each.exceptions) for each in some.findings] == [1, 0]
    after = judged(SHADOW, PARENT, "-a never,exit -S all")["10"]
    assert after.state is ControlState.LOADED


def test_never_rules_are_not_covered_by_always():
    """A rule that takes calls out is there itself or not at all."""
    assert judged("-a always,exit -S all")["A"].state is ControlState.MISSING


def test_absent():
    """What the host has not is no failure, alone or beside rules that are loaded."""
    alone = judged(lacking=lambda _: "/usr/x")["10"]
    assert alone.state is ControlState.ABSENT
    assert alone.findings[0].lacking == "/usr/x"
    assert judged(SHADOW, lacking=lambda _: "/usr/x")["10"].state is ControlState.LOADED


def test_settings():
    """A setting is met when the kernel has it so, or stricter."""
    one, other = judged()["9"].settings
    assert (one.setting.name, one.now, one.met) == ("enabled", 1, False)
    assert (other.now, other.met) == (8192, True)
    assert judged(enabled=2)["9"].settings[0].met is True


def test_proven():
    """Everything in force, audit on: proven; a control without a rule, or audit off: not."""
    whole = SET.replace("#: FRAME 11 | For the site\n", "")
    assert report(SHADOW, PARENT, NEVER, text=whole).proven
    assert not report(SHADOW, PARENT, NEVER).proven
    off = report(text=whole, known=kernel(SHADOW, PARENT, NEVER, enabled=0))
    assert not off.proven
    assert off.warnings == [
        (
            "Audit is off: no rule is applied. `auditsvc run` switches it on, or `auditsvc on`"
            " after `auditsvc off`."
        )
    ]
    blind = report(text=whole, known=kernel(SHADOW, PARENT, NEVER, "-a never,task"))
    assert blind.warnings == ["Tasks that start now are not audited: `-a never,task` is loaded."]
    assert [each.control.id for each in report(SHADOW).open] == ["10", "11", "A"]


def test_unknown_kernel():
    """Without a kernel every rule is not known, nothing is proven, and nothing fails."""
    told = tuple(judge(each, None, lambda _: None) for each in controls(SET))
    made = report(controls=told, kernel=None, unknown={"kernel": "refused"})
    assert made.tally() == {
        ControlState.NO_RULE: 1,
        ControlState.SETTING: 1,
        ControlState.UNKNOWN: 2,
    }
    assert not made.proven
    assert as_json(made)["controls"][1]["settings"][0]["now"] is None
    assert "Unknown (kernel): refused" in page(made)


def test_joined():
    """What a second file adds to a control is joined; ids are ordered as numbers."""
    own = "#: FRAME 11 | For the site\n# Ours.\n-w /srv -p wa -k cards\n"
    found = joined([*controls(SET), *controls(own, "own.rules")])
    assert [each.name for each in found] == ["FRAME 9", "FRAME 10", "FRAME 11", "OTHER A"]
    assert [printing.text(rule) for rule in found[2].rules] == ["-w /srv -p wa -k cards"]
    assert found[2].note == "Ours."
    assert keys(found[1]) == ("shadow", "parent")


def test_json():
    """JSON has each control with its rules, states and counts; times are UTC."""
    made = report(SHADOW, share=Share(9, 0, 1))
    seen = judge(made.controls[1].control, made.kernel, lambda _: None)
    counted = seen.__class__(
        seen.control, seen.state, seen.findings, seen.settings, Seen(3, 1_750_000_000)
    )
    value = as_json(report(SHADOW, controls=(counted,), share=Share(9, 0, 1)))
    assert value["made"] == "2025-06-15T15:06:40Z"
    assert value["covered"] == {"covered": 9, "not_covered": 0, "unknown": 1}
    (control,) = value["controls"]
    assert control["state"] == "partly"
    assert (control["events"], control["last_seen"]) == (3, "2025-06-15T15:06:40Z")
    assert [rule["state"] for rule in control["rules"]] == ["loaded", "missing"]
    assert control["rules"][0]["where"] == "<rules>:2"


class Tags(HTMLParser):
    """What tags a page has, and whether they are closed as they were opened."""

    VOID = frozenset({"meta", "link", "img", "br", "hr"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the last one."""
        assert self.open.pop() == tag


def tags(text: str) -> list[tuple[str, dict[str, str | None]]]:
    """Parse a page; every tag must be closed in its order."""
    parser = Tags()
    parser.feed(text)
    assert parser.open == []
    return parser.found


HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m\u202e"


def test_hostile_text_is_shown():
    """Keys, paths, titles, notes and host names are text on the page, whatever they hold."""
    text = (
        "#: <b>FRAME</b> \"'><img/src=x> | <i>title</i>\n# <u>note</u> `<s>`\n"
        "-a always,exit -S getppid -k <script>alert(1)</script>\"'&\n"
    )
    made = report(
        text=text,
        host=HOSTILE,
        store=HOSTILE,
        release=HOSTILE,
        unknown={"store": HOSTILE},
        sources=(Source(HOSTILE, HOSTILE, HOSTILE),),
    )
    written = page(made)
    names = {tag for tag, _ in tags(written)}
    assert not names & {"script", "img", "b" if "<b>FRAME" in written else "img", "i", "u", "s"}
    assert "\x1b" not in written
    assert "\u202e" not in written
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in written


def test_nothing_from_elsewhere():
    """No attribute of the page loads or runs anything; links stay within it."""
    found = tags(page(report(SHADOW)))
    for tag, attributes in found:
        assert tag not in ("link", "script", "img", "iframe", "object", "embed", "base", "form")
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        if "href" in attributes:
            assert attributes["href"].startswith("#c")
    style = (files("auditsvc.compliance") / "page.css").read_text()
    assert not re.search(r"url\(|@import|expression|</", style)


def test_page_for_everybody():
    """The page says its language, has headings in order, and headers that say for what."""
    found = tags(page(report(SHADOW, PARENT)))
    assert ("html", {"lang": "en"}) in found
    levels = [int(tag[1]) for tag, _ in found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    headers = [attributes for tag, attributes in found if tag == "th"]
    assert headers
    assert all(each.get("scope") in ("col", "row") for each in headers)
    ids = [attributes["id"] for _, attributes in found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {attributes["href"][1:] for tag, attributes in found if tag == "a"}
    assert targets == set(ids)
    assert [tag for tag, _ in found].count("main") == 1


def colours(style: str, block: str) -> dict[str, str]:
    """Read the colours of the rule that follows `block`."""
    body = style.split(block, 1)[1].split("}", 1)[0]
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", body))


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "block", [":root {", "(prefers-color-scheme: dark) {", "@media print {"], ids=str
)
def test_contrast(block):
    """Every text has a contrast of at least 4.5 on every ground that it stands on (WCAG AA)."""
    style = (files("auditsvc.compliance") / "page.css").read_text()
    found = colours(style, block)
    assert len(found) == 15
    grounds = [found["page"], found["sheet"], found["code"]]
    pairs = [(found[ink], ground) for ink in ("ink", "soft", "accent") for ground in grounds]
    pairs += [(found[look], found[f"{look}-back"]) for look in ("good", "fair", "bad", "none")]
    assert min(contrast(*pair) for pair in pairs) >= 4.5


def test_the_page_has_a_bar_of_the_states():
    """A share for each state that occurs, as large as its number of controls."""
    made = report(SHADOW, PARENT)
    shares = re.findall(r'<span class="(\w+)" style="flex-grow:(\d+)"></span>', page(made))
    assert [int(count) for _, count in shares] == list(made.tally().values())
    assert sum(int(count) for _, count in shares) == len(made.controls)
