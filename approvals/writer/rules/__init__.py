"""What each command does to its request, in memory: a module of rules for each group of commands.

Permission is tested before state, state before content. Every rule returns the outcome that is then on
record, or the refusal; none raises for a refused command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from approvals.domain import commands
from approvals.domain.commands import Command, OpenRequest, Result
from approvals.models import HumanRequest
from approvals.writer.batch import Batch
from approvals.writer.rules.changing import reassign, reschedule, view
from approvals.writer.rules.deciding import answer, decide
from approvals.writer.rules.ending import expire, withdraw
from approvals.writer.rules.opening import open_request
from approvals.writer.rules.refusals import unknown
from approvals.writer.rules.removing import forget, purge

_RULES: dict[type[Command], Callable[[Batch, Any, HumanRequest], Result]] = {
    commands.Decision: decide,
    commands.Answer: answer,
    commands.Expire: expire,
    commands.Withdraw: withdraw,
    commands.Reassign: reassign,
    commands.Reschedule: reschedule,
    commands.View: view,
    commands.Purge: purge,
    commands.Forget: forget,
}


def carry_out(batch: Batch, command: Command) -> Result:
    """Apply the command to the batch's rows; return the outcome then on record, or the refusal."""
    if isinstance(command, OpenRequest):
        return open_request(batch, command)
    row = batch.find(command.request_id)
    if row is None:
        return unknown(command.request_id)
    return _RULES[type(command)](batch, command, row)
