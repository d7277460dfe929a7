"""`auditsvc forward`: sends events from the store to the systemd journal."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Any

import structlog
import typer

from auditsvc.cli.log import configure_log
from auditsvc.cli.lowering import lower
from auditsvc.cli.options import FormOption, StoreOption
from auditsvc.cli.recording import recorded
from auditsvc.config import Settings, load_settings
from auditsvc.errors import AuditsvcError
from auditsvc.forward.forwarder import Forwarder
from auditsvc.forward.preview import Preview, preview
from auditsvc.forward.process import Running
from auditsvc.forward.readback import Readback
from auditsvc.forward.self_exclusion import OwnProcesses
from auditsvc.forward.settings import described, selection, unknown_names
from auditsvc.host.processes import end_with_parent
from auditsvc.host.users import Users
from auditsvc.render.output import Form, wants_json, write_json, write_table
from auditsvc.runtime.forward_state import CONSUMER, read_state
from auditsvc.store import open_store
from auditsvc.store.read.feed import Feed

log = structlog.get_logger()


def forward(
    *,
    store: StoreOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what of the last minutes would be sent.")
    ] = False,
    minutes: Annotated[
        float,
        typer.Option("--minutes", help="How far --dry-run looks back.", min=0, metavar="MINUTES"),
    ] = 10.0,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Stop when no event is left to send.")
    ] = False,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Delete the position in the store, for a host that stops forwarding."
        ),
    ] = False,
    form: FormOption = None,
    parent: Annotated[int | None, typer.Option("--parent", hidden=True)] = None,
) -> None:
    """Send the events that the settings [forward] choose to the systemd journal, each once.

    Forwarding begins with the events that arrive after its first start; the store keeps the
    position. --forget deletes it, and the next start begins with what arrives then.
    """
    settings = load_settings(store=store)
    lower(settings)
    if forget:
        _forget(settings)
        return
    if dry_run:
        with recorded(settings, "forward") as access:
            found = preview(settings, time.time() - 60 * minutes)
            access.rows = found.events
            _show(found, settings, form)
        return
    if parent is not None:
        end_with_parent(parent)
    configure_log()
    is_child = parent is not None
    for setting, name, _ in unknown_names(settings.forward):
        log.warning("no event has this name", setting=setting, name=name)
    running = Running(settings.runtime_directory, settings.forward.drain, is_child=is_child)
    try:
        _run(settings, running, until_idle)
    finally:
        running.close()


def _run(settings: Settings, running: Running, until_idle: bool) -> None:
    own = OwnProcesses(settings.host)
    chosen = selection(settings.forward)
    with open_store(settings.store, create=False) as opened:
        log.info("forwarding", store=opened.place, events=described(settings.forward))
        forwarder = Forwarder(
            Feed(opened, CONSUMER),
            lambda: replace(chosen, exclude=own.processes()),
            Readback(),
            running,
            host=settings.host,
            users=Users(),
        )
        forwarder.run(until_idle=until_idle)


def _forget(settings: Settings) -> None:
    running = read_state(settings.runtime_directory)
    if running is not None:
        raise AuditsvcError(
            f"a forwarder runs (pid {running.pid}) and needs its position", "stop it first"
        )
    with open_store(settings.store, create=False) as opened:
        Feed(opened, CONSUMER).unregister()


def _show(found: Preview, settings: Settings, form: Form | None) -> None:
    facts = {
        "chosen": described(settings.forward),
        "events": found.events,
        "seconds": round(found.seconds, 1),
        "events_per_second": round(found.events / found.seconds, 3) if found.seconds else None,
        "complete": found.complete,
        "kinds": dict(found.kinds.most_common()),
        "keys": dict(found.keys.most_common()),
        "programs": dict(found.programs.most_common(20)),
        "samples": found.samples,
    }
    if wants_json(form):
        write_json(facts)
        return
    write_table(("", "", ""), _lines(facts))


def _lines(facts: dict[str, Any]) -> list[tuple[object, object, object]]:
    lines: list[tuple[object, object, object]] = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines += [(name if not at else "", *pair) for at, pair in enumerate(value.items())]
        elif isinstance(value, list):
            lines += [(name if not at else "", "", each) for at, each in enumerate(value)]
        else:
            lines.append((name, value, ""))
    return lines
