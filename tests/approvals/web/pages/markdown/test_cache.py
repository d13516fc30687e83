"""Many who look at expensive texts cost what few do."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as all_of

import pytest

from approvals.web.pages.markdown.cache import RenderCache
from approvals.web.pages.markdown.formatting import BUSY
from tests.patience import patience


class Renderer:
    """Renders when it is told to; counts how many texts it renders, and the most at once."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.texts: list[str] = []
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __call__(self, text: str) -> str:
        with self._lock:
            self.texts.append(text)
            self._now += 1
            self.most = max(self.most, self._now)
        self.begun.release()
        assert self.go.wait(patience())
        with self._lock:
            self._now -= 1
        return f"<p>{text}</p>"


def test_a_text_is_rendered_once_however_many_look_at_it() -> None:
    renderer = Renderer()
    renderings = RenderCache(renderer, patience=patience())
    with ThreadPoolExecutor(30) as viewers:
        views = [viewers.submit(renderings.render, "a") for _ in range(30)]
        assert renderer.begun.acquire(timeout=patience())
        renderer.go.set()
        assert {view.result() for view in views} == {"<p>a</p>"}
    assert renderings.render("a") == "<p>a</p>"
    assert renderer.texts == ["a"]


def test_few_are_rendered_at_once_and_the_others_wait() -> None:
    renderer = Renderer()
    renderings = RenderCache(renderer, at_once=2, patience=patience())
    texts = [str(number) for number in range(20)]
    with ThreadPoolExecutor(20) as viewers:
        views = [viewers.submit(renderings.render, text) for text in texts]
        assert all(renderer.begun.acquire(timeout=patience()) for _ in range(2))
        renderer.go.set()
        assert [view.result() for view in views] == [f"<p>{text}</p>" for text in texts]
    assert renderer.most == 2


def test_who_has_waited_long_enough_gets_the_text_as_written() -> None:
    """It says why, and the next who looks gets it formatted."""
    renderer = Renderer()
    renderings = RenderCache(renderer, at_once=1, patience=0.0)
    with ThreadPoolExecutor(1) as viewers:
        first: Future[str] = viewers.submit(renderings.render, "<a>")
        assert renderer.begun.acquire(timeout=patience())
        for text in ["<b>", "<a>"]:
            busy = renderings.render(text)
            assert BUSY in busy
            assert f"<pre>&lt;{text[1]}&gt;</pre>" in busy
        renderer.go.set()
        all_of([first])
    assert renderings.render("<b>") == "<p><b></p>"


def test_what_is_kept_is_bounded_in_bytes() -> None:
    """What nobody looked at for longest goes first; a text that is larger than all there is, at once."""
    texts: list[str] = []

    def render_one(text: str) -> str:
        texts.append(text)
        return text

    renderings = RenderCache(render_one, kept_bytes=20)
    for text in ["a" * 8, "ä" * 4, "a" * 8, "c" * 8, "a" * 8, "ä" * 4, "d" * 21, "d" * 21]:
        assert renderings.render(text) == text
    assert texts == ["a" * 8, "ä" * 4, "c" * 8, "ä" * 4, "d" * 21, "d" * 21]


def test_a_text_that_cannot_be_rendered_keeps_no_place_and_nobody_waiting() -> None:
    def fail(text: str) -> str:
        raise RuntimeError(text)

    renderings = RenderCache(fail, at_once=1, patience=patience())
    for _ in range(2):
        with pytest.raises(RuntimeError):
            renderings.render("a")
