"""Schemas of the runs' API: bodies, filters, and, for the documentation, what queries return."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.config import JsonDict

from approvals.web.api.paging import DEFAULT_LIMIT, LIMIT
from approvals.web.api.schemas import Body, Moment, with_example
from approvals.web.api.wire import MOMENT
from orchestration.manager import KEY_LIMIT

RUN_EXAMPLE: JsonDict = {
    "id": "01996c1e-9b2f-7c04-8a51-5d1a4b7f2e90",
    "orchestration": "checklist",
    "version": 1,
    "title": "Checklist: Release 2.4",
    "owner": "billing",
    "status": "waiting",
    "reason": "",
    "input": {"title": "Release 2.4", "items": ["All tests are green"]},
    "plan": [],
    "result": None,
    "resumed_by": None,
    "resumed_at": None,
    "cancelled_by": None,
    "error": "",
    "waiting_for": ["01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11"],
    "created_at": "2026-11-22T09:30:00.120000Z",
    "started_at": "2026-11-22T09:30:00.131000Z",
    "finished_at": None,
}

RunStatusName = Literal["queued", "running", "waiting", "completed", "rejected", "failed", "cancelled"]


class NewRun(Body):
    """A run to start. Sent again with the same `key`, it returns the run that it has started."""

    model_config = with_example(
        {
            "orchestration": "checklist",
            "input": {"title": "Release 2.5", "items": ["All tests are green"]},
            "key": "release-2.5",
        }
    )

    orchestration: str = Field(description="The name under which it is registered.")
    input: dict[str, Any] = Field(
        default_factory=dict, description="What the orchestration takes; checked before anything starts."
    )
    key: str | None = Field(
        default=None,
        min_length=1,
        max_length=KEY_LIMIT,
        description="Your name for this run, on one line. With it, repeating is safe.",
    )


class RunFilters(BaseModel):
    """Which runs to list."""

    status: RunStatusName | None = None
    orchestration: str | None = Field(default=None, description="The name under which it is registered.")
    since: Moment | None = Field(default=None, description="Created at this moment or later.")
    until: Moment | None = Field(default=None, description="Created before this moment.")
    cursor: str | None = Field(default=None, description="The `next` of the page before.")
    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=LIMIT)


class RunOnTheWire(BaseModel):
    """One execution of an orchestration."""

    model_config = with_example(RUN_EXAMPLE)

    id: str = Field(json_schema_extra={"format": "uuid"})
    orchestration: str
    version: int = Field(description="The version that it began with, and keeps.")
    title: str = Field(description="As its orchestration is registered, with fields of the input.")
    owner: str | None
    status: RunStatusName
    reason: str = Field(
        description="Why it ended so: `rejected`, `responded`, `timed_out`, `step_failed` and others."
    )
    input: dict[str, Any]
    plan: list[dict[str, Any]] = Field(description="The steps of its plan, if it has one.")
    result: Any
    resumed_by: str | None = Field(description="Who resumed it last.")
    resumed_at: str | None = Field(json_schema_extra=MOMENT)
    cancelled_by: str | None = Field(description="Who cancelled it; set at once, even if it ends later.")
    error: str
    waiting_for: list[str] = Field(description="Ids of the requests that it waits for now.")
    created_at: str = Field(json_schema_extra=MOMENT)
    started_at: str | None = Field(json_schema_extra=MOMENT)
    finished_at: str | None = Field(json_schema_extra=MOMENT)


class AskedAnew(BaseModel):
    """A question that a resumed run asks again."""

    title: str
    ended: Literal["rejected", "answered instead", "timed out", "withdrawn", "open"] = Field(
        description="How it ended; `open`: the run ended before."
    )


class Step(BaseModel):
    """A step of a run."""

    name: str
    error: str


class ResumptionOnTheWire(BaseModel):
    """What resuming the run would repeat. Steps that are recorded as done are not done again."""

    model_config = with_example(
        {
            "asked_anew": [{"title": "Refund 1,240.00 EUR to ACME", "ended": "rejected"}],
            "tried_again": [{"name": "notify", "error": "Step 'notify' failed: TimeoutError"}],
            "unclear": [],
        }
    )

    asked_anew: list[AskedAnew]
    tried_again: list[Step] = Field(description="Steps that failed.")
    unclear: list[Step] = Field(
        description="Steps that were begun and have no result. A person is asked whether they were done,"
        " unless they may be repeated."
    )


class PageOfRuns(BaseModel):
    """A page of runs, newest first. `next` is the `cursor` of the next page; null: this is the last."""

    runs: list[RunOnTheWire]
    next: str | None
