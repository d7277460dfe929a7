"""Ends the questions of a page whose client has gone: it was cancelled, or the page was left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from auditsvc.store.read.limits import Stop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response


def with_client(answer: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
    """Have a page made by a thread, and its questions ended when its client goes away."""

    async def watched(request: Request) -> Response:
        stop = request.state.stop = Stop()
        making = asyncio.ensure_future(run_in_threadpool(answer, request))
        leaving = asyncio.ensure_future(_gone(request))
        try:
            await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not making.done():
                await run_in_threadpool(stop.set)
            return await making
        finally:
            leaving.cancel()

    return watched


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
