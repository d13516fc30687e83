"""Claude Agent SDK: people decide the tool calls for which Claude needs permission.

The SDK keeps nothing of a call that waits: an agent that is started again asks anew, under other ids. What
the last process has asked is taken back then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any, TypeAlias, Unpack
from uuid import uuid4

from claude_agent_sdk import PermissionResultAllow, PermissionResultDeny, ToolPermissionContext

from sayso_client.answers import Outcome
from sayso_client.clients import AsyncRequest, AsyncSayso
from sayso_client.errors import SaysoError
from sayso_client.questions import key_of
from sayso_client.tool_calls import Asking, Leftovers, Options, ToolCall

CanUseTool: TypeAlias = Callable[[str, dict[str, Any], ToolPermissionContext], Awaitable[Any]]

# Seconds for taking back what Claude does not wait for any more: its session may be about to end.
_PARTING = 5.0


def can_use_tool(sayso: AsyncSayso, *, run: str, **options: Unpack[Options]) -> CanUseTool:
    """Return what `ClaudeAgentOptions(can_use_tool=…)` takes: a call waits until people have decided it.

    They may change its input; a reason for a rejection reaches Claude. `run` names this agent: what its last
    process has asked under that name is taken back at the first call, so that two agents that run at once
    need two names. What Claude waits for no longer, since it was interrupted, is taken back, too.
    """
    asking = Asking("claude", run, options)
    leftovers, process, numbers = Leftovers(sayso, asking), uuid4().hex, count(1)

    async def decide(name: str, given: dict[str, Any], context: ToolPermissionContext) -> Any:
        call = ToolCall(id=key_of(process, next(numbers), context.tool_use_id), name=name, arguments=given)
        if not asking.is_asked(call):
            return PermissionResultAllow()
        await leftovers.withdraw()
        terms = asking.approval(call, context.decision_reason or "", True)
        request = await sayso.open_approval(**terms)
        return _result(await _wait(request))

    return decide


async def _wait(request: AsyncRequest) -> Outcome:
    try:
        return await request.wait()
    except asyncio.CancelledError:
        with suppress(SaysoError, TimeoutError):
            async with asyncio.timeout(_PARTING):
                await request.withdraw("The agent does not wait for it any more.")
        raise


def _result(outcome: Outcome) -> Any:
    if not outcome.approved:
        return PermissionResultDeny(message=outcome.reason())
    return PermissionResultAllow(updated_input=outcome.arguments if outcome.edited else None)
