"""What a run's connection is told beside the messages of approvals.web.live.protocol."""

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
    """A whole message. It ends the one that this agent's chunks have begun, if there is one."""

    type: ClassVar[str] = "agent_message"
    agent: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMessageSummary(AgentMessage):
    """The end of a long message, all of which its chunks have told; `text` is how it begins."""

    summary: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentMessageChunk(ServerMessage):
    """What was added to the message that this agent is speaking."""

    type: ClassVar[str] = "agent_message_chunk"
    agent: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(ServerMessage):
    """The run has ended, and everything that was said in it has been sent."""

    type: ClassVar[str] = "run_finished"
    run: Json
