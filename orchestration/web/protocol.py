"""Messages of a run's WebSocket, in addition to those of approvals.web.live.protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from approvals.web.live.protocol import Json, ServerMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus(ServerMessage):
    """The run as it is now."""

    type: ClassVar[str] = "run_status"
    run: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMessage(ServerMessage):
    """A whole message. It ends the message that this agent's chunks have begun, if any."""

    type: ClassVar[str] = "agent_message"
    agent: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMessageSummary(AgentMessage):
    """The end of a long message whose chunks were all sent; `text` is its beginning."""

    summary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMessageChunk(ServerMessage):
    """Text that was added to the agent's growing message."""

    type: ClassVar[str] = "agent_message_chunk"
    agent: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(ServerMessage):
    """The run has ended, and all its messages have been sent."""

    type: ClassVar[str] = "run_finished"
    run: Json
