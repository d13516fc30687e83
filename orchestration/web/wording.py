"""Words about a run: how it was started, why it ended as it did."""

from __future__ import annotations

from approvals.domain.commands import Channel
from orchestration.models import Run

REASONS = {
    "rejected": "A person rejected it.",
    "responded": "A person gave a text instead of approving.",
    "timed_out": "Nobody answered in time.",
    "withdrawn": "The request was withdrawn.",
    "step_failed": "A step failed.",
    "interrupted": "A step was interrupted, and nobody knows whether it was done.",
    "replay_mismatch": "The program has changed since the run began, so it could not go on.",
    "needs_key": "The program made two calls at once without keys of their own.",
    "cancelled_itself": "The program cancelled itself.",
    "invalid": "Its result is not JSON.",
    "error": "The program raised an error.",
}

CHANNELS = {
    Channel.PAGE: "on this site",
    Channel.ADMIN: "in the admin",
    Channel.API: "over the API",
    Channel.COMMAND: "in a terminal",
    Channel.WEBSOCKET: "over a socket",
}


def start_in_words(run: Run, token: str = "") -> str:
    """Say who started the run, and how: `olga, over the API with the token billing`."""
    channel = run.started_from.get("channel", "")
    owner = run.owner.get_username() if run.owner else ""
    if channel in CHANNELS:
        how = CHANNELS[Channel(channel)]
        return f"{owner or 'a program'}, {how}{f' with the token {token}' if token else ''}"
    if channel == "":
        return owner or "a program"
    return f"a program, for {owner}" if owner else "a program"


def error_of(run: Run, *, sees_requests: bool) -> str:
    """Return the error; empty if the reader may not see all requests of the run, which it may quote."""
    return run.error if sees_requests else ""
