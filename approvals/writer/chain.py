"""The trail: entries chained per request, appended inside the caller's transaction.

Each entry's hash is the SHA-256 of its canonical text (RFC 8785), which names the hash before it; the request
row, locked by whoever appends, holds the head, so concurrency costs nothing and can't fork a chain. What was
shown and said is kept beside the entry, which holds only its salted hash: it can be purged, not rewritten.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias
from uuid import UUID

from django.db.models import Count

from approvals.database import bulk
from approvals.domain.accounts import on_record
from approvals.domain.commands import Actor
from approvals.domain.payloads import canonical, canonical_plain, digest
from approvals.domain.request_terms import Place, terms_in
from approvals.models import AuditEntry, Event, HumanRequest, ShownContent

FORMAT = 5
REFUSALS_PER_MINUTE = 5
SALT_BYTES = 16

_POLICY = terms_in(Place.POLICY)

# What a removal was about, in its facts: all that a request asked and came to, or one person's words.
REQUEST = "request"
PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry that is about to be written; `content` is what the actor was shown or said.

    `policy` is what decides about the request at that moment, see `policy_of`. `facts` are what else this
    event makes certain for ever, such as `facts_of_asking`: names are ASCII, and numbers whole.
    """

    request: HumanRequest
    event: Event
    actor: Actor
    content: dict[str, Any]
    policy: dict[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)
    outcome: str = ""
    allowed_by: str = ""
    on_behalf_of_id: int | None = None


# The columns of an entry, and of the content that it vouches for.
Link: TypeAlias = dict[str, Any]


def link_drafts(drafts: Sequence[Draft], now: datetime) -> list[Link]:
    """Chain the drafts in order and move their requests' heads, in memory.

    The caller holds the requests' row locks and saves the heads. `now` is the database's clock.
    """
    host_now, salts = as_text(datetime.now(UTC)), _salts(len(drafts))
    return [_link(draft, now, host_now, salt) for draft, salt in zip(drafts, salts, strict=True)]


def append(links: Sequence[Link]) -> None:
    """Write the entries and their contents, in the caller's transaction, together whatever their number."""
    bulk.insert_pairs(AuditEntry, ShownContent, links, link="entry", by=("request", "sequence"))


def within_limits(drafts: Iterable[Draft], now: datetime) -> list[Draft]:
    """Return the drafts without refusals beyond those that one actor may add to one request in a minute.

    A refused actor who keeps trying must not be able to grow the trail without bound.
    """
    drafts = list(drafts)
    refused = {draft.request.pk for draft in drafts if draft.event is Event.REFUSED}
    if not refused:
        return drafts
    counts = Counter[tuple[UUID, int | None]]()
    recent = AuditEntry.objects.filter(
        request_id__in=refused, event=Event.REFUSED, recorded_at__gte=now - timedelta(minutes=1)
    )
    for request_id, actor_id, number in recent.values_list("request_id", "actor_id").annotate(
        number=Count("pk")
    ):
        counts[request_id, actor_id] = number
    return [draft for draft in drafts if draft.event is not Event.REFUSED or _counted(counts, draft)]


def viewers(request_ids: Collection[UUID]) -> set[tuple[UUID, int | None]]:
    """Who has already been recorded as having looked at which of these requests."""
    return set(_recorded(request_ids, "actor_id", Event.VIEWED))


def rescheduled(request_ids: Collection[UUID]) -> set[UUID]:
    """Which of these requests have had their deadline replaced."""
    return {request_id for request_id, _ in _recorded(request_ids, "event", Event.RESCHEDULED)}


def handed_on(request_ids: Collection[UUID]) -> dict[UUID, int | None]:
    """Who was the last to hand on which of these requests."""
    return dict(_recorded(request_ids, "actor_id", Event.REASSIGNED))


def stuck(request_ids: Collection[UUID]) -> set[UUID]:
    """Those of these requests whose trail says that they are stuck, and nothing since that others decide."""
    last = dict(_recorded(request_ids, "event", Event.STUCK, Event.REASSIGNED, Event.ESCALATED))
    return {request_id for request_id, event in last.items() if event == Event.STUCK}


def _recorded(request_ids: Collection[UUID], column: str, *events: Event) -> list[tuple[UUID, Any]]:
    """Return request and column of each of their entries of these events, in the order of each trail."""
    if not request_ids:
        return []
    entries = AuditEntry.objects.filter(request_id__in=request_ids, event__in=events)
    return list(entries.order_by("sequence").values_list("request_id", column))


def content_hash(salt: str, content: str) -> str:
    """SHA-256 over the salt and the canonical content, as lower-case hexadecimal."""
    return digest(f"{salt}{content}")


def policy_of(request: HumanRequest) -> dict[str, Any]:
    """Return what decides about the request, such as how many must approve; and by when."""
    policy = {term.name: term.to_row(getattr(request, term.name)) for term in _POLICY}
    return policy | {"deadline": None if request.deadline is None else as_text(request.deadline)}


def facts_of_asking(
    request: HumanRequest,
    user_ids: Iterable[int],
    group_ids: Iterable[int],
    override: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what of a request stays on its first entry for ever: its key, people, origin and round.

    `override` says by whose word others decide than the asker named. What may be long is there as its
    SHA-256. It stays when what was asked is removed.
    """
    return {
        "key": request.key,
        "key_scope": request.key_scope,
        "round": request.round,
        "fingerprint": request.fingerprint,
        "requester": on_record(request.requester_id),
        "origin": digest(canonical(request.origin)),
        "assignees": hash_of_assignees(user_ids, group_ids),
        **({} if override is None else {"override": dict(override)}),
    }


def hash_of_assignees(user_ids: Iterable[int], group_ids: Iterable[int]) -> str:
    """Return the SHA-256 that entries have in place of the users and groups who were named to decide."""
    named = {"users": sorted({*map(on_record, user_ids)}), "groups": sorted(set(group_ids))}
    return digest(canonical_plain(named))


def hash_of_rest(*, multiple: bool, callback_url: str) -> str:
    """Return the SHA-256 of what a removal has left of the question in its row."""
    return digest(canonical({"multiple": multiple, "callback_url": callback_url}))


def canonical_entry(entry: Mapping[str, Any], beside: Mapping[str, Any]) -> str:
    """Every column that identifies the entry, and what stands `beside` them, in canonical JSON (RFC 8785).

    `entry` has the columns by name, as `vars` of an AuditEntry does. What has no column is taken from
    `beside`: the host's clock, since format 3 the request's kind and policy, since format 4 the facts.
    """
    named = columns_of(entry) | {"host_clock": beside["host_clock"]}
    if entry["format"] > 2:
        named["kind"], named["policy"] = beside["kind"], beside["policy"]
    if entry["format"] > 3:
        named["facts"] = beside["facts"]
    return canonical_plain(named)


# What an entry's text has beside its columns.
BESIDE = frozenset({"host_clock", "kind", "policy", "facts"})


def columns_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that identify the entry, named and written as in its text.

    Format 1 knew no tokens: one that was added to such an entry later is a difference.
    """
    named = {
        "format": entry["format"],
        "request": str(entry["request_id"]),
        "sequence": entry["sequence"],
        "event": str(entry["event"]),
        "outcome": entry["outcome"],
        "actor": on_record(entry["actor_id"]),
        "on_behalf_of": on_record(entry["on_behalf_of_id"]),
        "channel": str(entry["channel"]),
        "address": entry["address"],
        "user_agent": entry["user_agent"],
        "allowed_by": entry["allowed_by"],
        "recorded_at": as_text(entry["recorded_at"]),
        "content": entry["content_hash"],
        "previous": entry["previous_hash"],
    }
    if entry["format"] > 1 or entry["token_id"] is not None:
        named["token"] = None if entry["token_id"] is None else str(entry["token_id"])
    return named


@lru_cache(maxsize=1024)  # a batch writes the same moments many times
def as_text(moment: datetime) -> str:
    """Write a moment as entries and seals have it: UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _salts(number: int) -> list[str]:
    """Return so many secrets of 128 bits, of which the operating system is asked once."""
    text = secrets.token_hex(SALT_BYTES * number)
    return [text[start : start + 2 * SALT_BYTES] for start in range(0, len(text), 2 * SALT_BYTES)]


def _link(draft: Draft, now: datetime, host_now: str, salt: str) -> Link:
    request, actor = draft.request, draft.actor
    content = canonical(draft.content)
    request.trail_length += 1
    entry: dict[str, Any] = {
        "request_id": request.pk,
        "sequence": request.trail_length,
        "event": draft.event.value,
        "outcome": draft.outcome,
        "actor_id": actor.user_id,
        "on_behalf_of_id": draft.on_behalf_of_id,
        "channel": actor.channel.value,
        "token_id": actor.token_id,
        "address": _address(actor.address),
        "user_agent": _printable(actor.user_agent)[:400],
        "allowed_by": draft.allowed_by,
        "recorded_at": now,
        "content_hash": content_hash(salt, content),
        "salt": salt,
        "content": content,
        "previous_hash": request.trail_head,
        "format": FORMAT,
    }
    beside = {
        "host_clock": host_now,
        "kind": str(request.kind),
        "policy": draft.policy,
        "facts": dict(draft.facts),
    }
    entry["canonical"] = canonical_entry(entry, beside)
    entry["hash"] = request.trail_head = digest(entry["canonical"])
    return entry


@lru_cache(maxsize=1024)
def _address(text: str | None) -> str | None:
    """As both databases give it back, or the hash would not hold: without zone, IPv4 as such."""
    try:
        address = ipaddress.ip_address((text or "").partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _printable(text: str) -> str:
    """Replace what PostgreSQL refuses: what a peer says of itself must not keep its act off the record."""
    return text.encode(errors="replace").decode().replace("\0", "?")


def _counted(counts: Counter[tuple[UUID, int | None]], draft: Draft) -> bool:
    who = (draft.request.pk, draft.actor.user_id)
    counts[who] += 1
    return counts[who] <= REFUSALS_PER_MINUTE
