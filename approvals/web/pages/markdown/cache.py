"""Renders each text once, and few texts at a time, however many people look at them.

Rendering takes processor time, which all threads share. Whoever asks for a text that is being rendered waits
for the same result; AT_ONCE texts are rendered at the same time, and after PATIENCE seconds without a turn a
text is shown unformatted. Results are kept by the hash of the text, in bounded memory and nowhere else, so
retention need not look here.
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
    """Return the text as HTML that is safe to put into a page.

    Blocks for up to PATIENCE and half a second: call it from a thread, never from an event loop.
    """
    return _cache().render(text)


class RenderCache:
    """Rendered texts. Keeps up to `kept_bytes` of HTML, and drops the least recently used first."""

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

    def render(self, text: str) -> str:
        """Return the text's HTML, rendered here or by another thread, or unformatted after `patience`."""
        key = hashlib.sha256(text.encode()).digest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key].decode()
            others = self._under_way.get(key)
            if others is None:
                self._under_way[key] = mine = Future[str]()
        if others is None:
            return self._render_as(key, text, mine)
        try:
            return others.result(self._patience)
        except NotYet:
            return as_plain_text(text, BUSY)

    def _render_as(self, key: bytes, text: str, result: Future[str]) -> str:
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
