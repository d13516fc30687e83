"""The one writer: carries out a batch of commands in one transaction.

The transaction locks the rows in id order; then, in a later statement, reads the database's clock; then tests
state and deadline, and writes. A row that had to wait for its lock is thus judged at the moment it was got,
and a late decision can't win. The rules (approvals.writer.rules) run over rows in memory (`batch`), so that
the number of statements does not grow with the number of commands.

Nothing here raises for a refused command: a refusal is on the trail too, and raising would roll that back.
Called by approvals.writer.queue only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import transaction

from approvals.database.pipeline import commit, together
from approvals.database.transactions import begun_inside
from approvals.domain import commands as asked
from approvals.domain.commands import Command, OpenRequest, Result
from approvals.models import HumanRequest
from approvals.process import failpoints, hints
from approvals.writer import callbacks, closing_listeners
from approvals.writer.batch import Batch
from approvals.writer.rules import changing, commenting, deciding, removing
from approvals.writer.rules.escalating import escalate
from approvals.writer.rules.opening import open_request
from approvals.writer.rules.refusals import unknown

_RULES: dict[type[Command], Callable[[Batch, Any, HumanRequest], Result]] = {
    asked.Decision: deciding.decide,
    asked.Answer: deciding.answer,
    asked.Expire: deciding.expire,
    asked.Withdraw: deciding.withdraw,
    asked.Reassign: changing.reassign,
    asked.Escalate: escalate,
    asked.Comment: commenting.comment,
    asked.Reschedule: changing.reschedule,
    asked.View: changing.view,
    asked.Misuse: changing.misuse,
    asked.Purge: removing.purge,
    asked.Forget: removing.forget,
}


def execute(commands: Sequence[Command]) -> list[Result]:
    """Carry out commands of any kinds in order, in one transaction; one result for each, in order.

    Once it returns, accepted and refused alike are committed and the hint is on its way.
    """
    with begun_inside():
        batch = Batch(commands)
        results = [carry_out(batch, command) for command in commands]
        with together():
            batch.write()
            commit()
        if batch.closed:
            transaction.on_commit(partial(failpoints.reach, "decided"), robust=True)
            closed = [each for each in batch.changed if each in batch.closed]  # in the order of the commands
            transaction.on_commit(partial(closing_listeners.tell, closed, batch.outcome), robust=True)
        if batch.changed:
            transaction.on_commit(partial(hints.send, "requests", list(batch.changed)), robust=True)
        if batch.callbacks:
            transaction.on_commit(partial(hints.send, callbacks.TOPIC, batch.callbacks), robust=True)
    batch.figures.publish(results)
    return results


def carry_out(batch: Batch, command: Command) -> Result:
    """Apply the command to the batch's rows; return the outcome then on record, or the refusal."""
    if isinstance(command, OpenRequest):
        return open_request(batch, command)
    row = batch.find(command.request_id)
    if row is None:
        return unknown(command.request_id)
    return _RULES[type(command)](batch, command, row)
