"""Each text is rendered once, a few of them at a time, however many look at it.

A rendering takes a thread's time, and all threads share one processor. So whoever looks at a text that is
being rendered waits for that; only AT_ONCE texts are rendered at once, and who waits longer than PATIENCE for
a place gets the text as it was written. It is kept by the hash of the text, in memory alone and bounded:
nothing is there for retention to find.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from functools import cache

from approvals.process import forks
from approvals.web.pages.markdown.formatting import BUSY, as_plain_text, format_text

AT_ONCE = 2
PATIENCE = 2.0
KEPT_BYTES = 8 * 2**20


def render(text: str) -> str:
    """The text as HTML that is safe to put into a page.

    From a thread, never from an event loop: it may take half a second, and may wait for PATIENCE.
    """
    return _cache().of(text)


class RenderCache:
    """`kept_bytes` counts the HTML that is kept; what was looked at least recently goes first."""

    def __init__(
        self,
        render_one: Callable[[str], str] = format_text,
        *,
        at_once: int = AT_ONCE,
        patience: float = PATIENCE,
        kept_bytes: int = KEPT_BYTES,
    ) -> None:
        self._render_one = render_one
        self._places = threading.BoundedSemaphore(at_once)
        self._patience = patience
        self._room = kept_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self._under_way: dict[bytes, Future[str]] = {}

    def of(self, text: str) -> str:
        key = hashlib.sha256(text.encode()).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key].decode()
            others = self._under_way.get(key)
            if others is None:
                self._under_way[key] = mine = Future[str]()
        if others is None:
            return self._render(key, text, mine)
        try:
            return others.result(self._patience)
        except NotYet:
            return as_plain_text(text, BUSY)

    def _render(self, key: bytes, text: str, result: Future[str]) -> str:
        html = None
        try:
            if self._places.acquire(timeout=self._patience):
                try:
                    html = self._render_one(text)
                finally:
                    self._places.release()
        finally:
            shown = as_plain_text(text, BUSY) if html is None else html
            with self._lock:
                del self._under_way[key]
                if html is not None:
                    self._keep(key, html.encode())
            result.set_result(shown)
        return shown

    def _keep(self, key: bytes, html: bytes) -> None:
        self._kept[key] = html
        self._room -= len(html)
        while self._room < 0:
            _, oldest = self._kept.popitem(last=False)
            self._room += len(oldest)


@cache
def _cache() -> RenderCache:
    return RenderCache()


forks.register(_cache.cache_clear)
