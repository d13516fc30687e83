"""The votes on an approval: which count, who is still to vote, and whether enough people may decide it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from approvals.domain.lifecycle import Status, Verdict
from approvals.models import HumanRequest, Response
from approvals.queries import deciders, permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How many approvals a request needs and has.

    `void` names those whose approval does not count, because they may not decide any more. `able` is how many
    may decide, including those whose approval counts.
    """

    required: int
    counted: int
    void: tuple[str, ...]
    able: int

    @property
    def missing(self) -> int:
        return max(self.required - self.counted, 0)

    @property
    def stuck(self) -> bool:
        """Whether fewer people may decide than must: it has to be reassigned or withdrawn."""
        return self.able < self.required


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """Who has voted on an approval, and who of those who are named is still to.

    `void` has the names of voters who may not decide any more. `people` and `groups` are empty once it is
    closed; somebody of a group may be among those who have voted.
    """

    given: list[Response]
    void: frozenset[str]
    people: tuple[str, ...]
    groups: tuple[str, ...]


def ballot(request: HumanRequest) -> Ballot:
    """Read the ballot now; the request comes with its people."""
    given = votes_on([request.pk])[request.pk]
    if request.status != Status.PENDING:
        return Ballot(given=given, void=frozenset(), people=(), groups=())
    audience = permissions.audiences([request])[request.pk]
    voters = {vote.actor_id for vote in given if vote.actor_id is not None}
    people = permissions.persons(voters | audience.user_ids)
    able = {user_id for user_id, person in people.items() if permissions.may_decide(person, audience)}
    return Ballot(
        given=given,
        void=frozenset(people[user_id].username for user_id in people.keys() & voters - able),
        people=tuple(sorted(people[user_id].username for user_id in able & audience.user_ids - voters)),
        groups=tuple(sorted(group.name for group in request.assigned_groups.all())),
    )


def votes_on(request_ids: Collection[UUID]) -> dict[UUID, list[Response]]:
    """Return the votes on these approvals, by request, in the order in which they were given."""
    given: defaultdict[UUID, list[Response]] = defaultdict(list)
    votes = Response.objects.filter(request_id__in=request_ids).exclude(verdict="").select_related("actor")
    for vote in votes.only("request_id", "actor", "verdict", "given_at").order_by("given_at", "pk"):
        given[vote.request_id].append(vote)
    return given


def standing(request: HumanRequest) -> Standing:
    """Read the standing now. A request that any one reviewer may decide counts as decidable."""
    audience = permissions.audiences([request])[request.pk]
    if request.required == 1 and not request.four_eyes and not audience.assigned:
        return Standing(required=1, counted=0, void=(), able=1)
    given = Response.objects.filter(request_id=request.pk, verdict=Verdict.APPROVE)
    approvers = list(given.values_list("actor_id", flat=True))
    people = permissions.persons({one for one in approvers if one is not None})
    void = [person.username for person in people.values() if not permissions.may_decide(person, audience)]
    return Standing(
        required=request.required,
        counted=len(approvers) - len(void),
        void=tuple(sorted(void)),
        able=deciders.count_deciders(audience) + (None in approvers),
    )
