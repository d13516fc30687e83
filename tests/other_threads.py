"""What is done meanwhile, in another thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def elsewhere(deed: Callable[..., T], *arguments: object) -> T:
    """Do it in another thread, by a database connection of its own; returns its result."""

    def do() -> T:
        try:
            return deed(*arguments)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do).result()
