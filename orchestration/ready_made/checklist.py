"""The orchestration `checklist`: people confirm items one after the other, as for a release."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from approvals.domain.lifecycle import Outcome
from orchestration.agents.proxy_agent import people_named, title_of
from orchestration.catalog import orchestration
from orchestration.exceptions import Rejected, Withdrawn, because
from orchestration.plans import StepState
from orchestration.runs.run import Run

AGAIN, SKIP, STOP = "Ask again", "Skip it", "Stop here"
SKIPPED = "skipped"


class Item(BaseModel):
    """What to confirm. `assignees` are names of users and groups; None: who decides for the orchestration."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    title: Annotated[str, Field(min_length=1, max_length=200)]
    details: str = ""
    assignees: list[str] | None = None
    required: Annotated[int, Field(ge=1)] = 1
    four_eyes: bool = False


def _as_item(value: Any) -> Any:
    return {"title": value} if isinstance(value, str) else value


Items = Annotated[list[Annotated[Item, BeforeValidator(_as_item)]], Field(min_length=1, max_length=200)]


@orchestration("checklist")
async def checklist(
    run: Run,
    *,
    title: str,
    items: Items,
    timeout: float | None = None,  # noqa: ASYNC109 - the people's, not this call's
) -> str:
    """Walk people through a checklist; each item waits until somebody confirms it.

    A confirmation can have a note. If an item is rejected, or not confirmed within `timeout` seconds, those
    who decide for the orchestration (the run's owner, unless an administrator says otherwise) choose: ask
    again, skip the item, or stop. Who confirmed what is on record.

    Input: `{"title": "Release 2.4", "items": ["Tests are green", {"title": "Backup is restorable",
    "details": "Restore last night's into `staging`.", "assignees": ["ops"], "four_eyes": true}]}`
    """
    assignees = [
        await people_named(run, item.assignees, f"items[{index}].assignees")
        for index, item in enumerate(items)
    ]
    await run.show_plan([{"title": item.title} for item in items])
    notes = []
    for index, item in enumerate(items):
        confirm = partial(
            run.approve,
            title_of(f"{title}: {item.title}"),
            arguments={"checklist": title, "number": index + 1, "item": item.title},
            details=item.details,
            assignees=assignees[index],
            required=item.required,
            four_eyes=item.four_eyes or None,
            timeout=timeout,
        )
        notes.append(await _confirm_item(run, index, item, confirm))
    return _report(title, items, notes)


async def _confirm_item(run: Run, index: int, item: Item, confirm: Callable[[], Awaitable[Outcome]]) -> str:
    """Ask until the item is confirmed or skipped; return the note for the report."""
    while True:
        await run.mark_step(index, StepState.WAITING)
        try:
            confirmed = await confirm()
        except Withdrawn:
            raise
        except Rejected as rejected:
            how = await run.ask(
                title_of(f"How to go on? {item.title}"),
                details=f"Not confirmed. {rejected.detail}",
                choices=[AGAIN, SKIP, STOP],
                default=STOP,
            )
            if how == STOP:
                await run.mark_step(index, StepState.REJECTED, rejected.detail)
                for later in range(index + 1, len(run.plan)):
                    await run.mark_step(later, StepState.SKIPPED)
                raise
            if how == SKIP:
                await run.mark_step(index, StepState.SKIPPED, rejected.detail)
                return SKIPPED
        else:
            note = f"confirmed{because(confirmed)}"
            await run.mark_step(index, StepState.COMPLETED, note)
            return note


def _report(title: str, items: Items, notes: list[str]) -> str:
    skipped = notes.count(SKIPPED)
    lines = [f"{title}: {len(items) - skipped} confirmed, {skipped} skipped."]
    lines += [
        f"{number}. {item.title}: {note}"
        for number, (item, note) in enumerate(zip(items, notes, strict=True), 1)
    ]
    return "\n".join(lines)
