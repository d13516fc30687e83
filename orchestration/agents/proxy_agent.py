"""ProxyAgent: an agent that stands for people. Other agents ask it, and it asks people."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group

from approvals.domain.lifecycle import DEFAULT_ANSWER
from approvals.gate import OMITTED, TITLE_LIMIT
from orchestration.exceptions import InvalidInput, TimedOut
from orchestration.policies.deciders import find_people
from orchestration.runs.run import Run


class ProxyAgent:
    """Asks people on behalf of the agents of one run.

        proxy = ProxyAgent(run, agent="writer", timeout=3600)
        tone = await proxy.ask("Which tone shall the letter have?", choices=["formal", "friendly"])

    `assignees` omitted: as for `Run.ask`. `timeout` is in seconds; omitted: the installation's default, None:
    no deadline.
    """

    name = "person"

    def __init__(
        self,
        run: Run,
        *,
        agent: str = "",
        assignees: Collection[Any] | None = None,
        timeout: float | timedelta | None = OMITTED,
    ) -> None:
        self._run = run
        self._agent = agent
        self._assignees = assignees
        self._timeout = timeout

    async def ask(
        self,
        question: str,
        *,
        details: str = "",
        choices: Collection[str] | Mapping[str, str] | None = None,
        multiple: bool = False,
        schema: dict[str, Any] | None = None,
        timeout: float | timedelta | None = OMITTED,  # noqa: ASYNC109 - the person's, not this call's
        key: str | None = None,
    ) -> str:
        """Ask, and return the answer as text or JSON; the default text if nobody answers in time."""
        try:
            answer = await self._run.ask(
                title_of(question),
                details=self._details(question, details),
                choices=choices,
                multiple=multiple,
                schema=schema,
                assignees=self._assignees,
                timeout=self._timeout if timeout is OMITTED else timeout,
                key=key,
            )
        except TimedOut:
            answer = DEFAULT_ANSWER
        return answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)

    def _details(self, question: str, details: str) -> str:
        whole = question if title_of(question) != question else ""
        asker = f"Asked on behalf of the agent `{self._agent}`." if self._agent else ""
        return "\n\n".join(part for part in (whole, details, asker) if part)


def title_of(text: str) -> str:
    """Make a request's title of a text: one line, shortened if it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LIMIT else f"{line[: TITLE_LIMIT - 1].rstrip()}…"


async def people_named(run: Run, names: list[str] | None, field: str) -> list[Any] | None:
    """Look up the users and groups with these names, as assignees, in a step; None for None.

    Raises StepFailed, which names the first that is unknown.
    """
    if names is None:
        return None
    ids = await run.step("look up assignees", _ids, names, field, idempotent=True)
    return [*ids["users"], *(Group(pk=pk) for pk in ids["groups"])]


def _ids(names: list[str], field: str) -> dict[str, list[int]]:
    users, groups, unknown = find_people(names)
    for one in unknown:
        where = f"{field}[{one.index}]"
        raise InvalidInput(f"{where}: {one}.", field=where)
    return {"users": users, "groups": groups}
