"""What a scenario has its processes do."""

from __future__ import annotations


class Role:
    """One part in a scenario. Its deeds are coroutine methods, called from the scenario by their names with
    what JSON can carry. It lives on the player's event loop from `begin` to `end`."""

    async def begin(self) -> None:
        """Called before the first deed."""

    async def end(self) -> None:
        """Called after the last."""
