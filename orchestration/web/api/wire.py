"""The shapes of runs over HTTP: what comes in, and, for the documentation, what selectors put on the wire."""

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
    "title": "Checklist",
    "owner": "billing",
    "status": "waiting",
    "reason": "",
    "input": {"title": "Release 2.4", "items": ["All tests are green"]},
    "plan": [],
    "result": None,
    "cancelled_by": None,
    "error": "",
    "waiting_for": ["01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11"],
    "created_at": "2026-11-22T09:30:00.120000Z",
    "started_at": "2026-11-22T09:30:00.131000Z",
    "finished_at": None,
}

RunStatusName = Literal["queued", "running", "waiting", "completed", "rejected", "failed", "cancelled"]


class NewRun(Body):
    """A run to start. Sent again under the same `key`, it finds the run that it has started."""

    model_config = with_example(
        {
            "orchestration": "checklist",
            "input": {"title": "Release 2.4", "items": ["All tests are green"]},
            "key": "release-2.4",
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
        description="Your name for this run, on one line: repeating is safe then.",
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
    """One execution of an orchestration, as everybody sees it who may see it."""

    model_config = with_example(RUN_EXAMPLE)

    id: str = Field(json_schema_extra={"format": "uuid"})
    orchestration: str
    version: int = Field(description="The version that it began with, and keeps.")
    title: str
    owner: str | None
    status: RunStatusName
    reason: str = Field(description="Why it ended so: `rejected`, `timed_out`, `step_failed` and others.")
    input: dict[str, Any]
    plan: list[dict[str, Any]] = Field(description="The steps that it proposes or takes, if it has a plan.")
    result: Any
    cancelled_by: str | None = Field(description="Who wants it to end, from the moment of asking.")
    error: str
    waiting_for: list[str] = Field(description="Ids of the requests that it waits for now.")
    created_at: str = Field(json_schema_extra=MOMENT)
    started_at: str | None = Field(json_schema_extra=MOMENT)
    finished_at: str | None = Field(json_schema_extra=MOMENT)


class PageOfRuns(BaseModel):
    """Newest first. `next` is the `cursor` of the following page; null: there is none."""

    runs: list[RunOnTheWire]
    next: str | None
