"""Routers that other apps add to the HTTP API: named when Django starts, imported with the API's URLs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedRouter:
    """A router by its dotted path, and the class of errors that its views raise as refusals."""

    router: str
    refuses: str
    tag: str


_added: list[AddedRouter] = []


def add_router(router: str, *, refuses: str, tag: str) -> None:
    """Add a router to the API. Call it in the `ready` of an app."""
    _added.append(AddedRouter(router=router, refuses=refuses, tag=tag))


def added_routers() -> tuple[AddedRouter, ...]:
    """Return the routers of all apps but this one."""
    return tuple(_added)
