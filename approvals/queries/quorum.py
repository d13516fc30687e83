"""The votes on an approval: which count, who is still to vote, and whether enough people may decide it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from approvals.domain.lifecycle import Status, Verdict
from approvals.models import HumanRequest, Response
from approvals.queries import deciders, people_reads, permissions


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
    audience = people_reads.audiences([request])[request.pk]
    people = people_reads.persons(_concerned(given) | audience.user_ids)
    used = {vote.principal_id for vote in given}
    still = [people[user_id] for user_id in audience.user_ids - used if user_id in people]
    return Ballot(
        given=given,
        void=_void(given, people, audience),
        people=tuple(sorted(one.username for one in still if permissions.decides_as(one, one, audience))),
        groups=tuple(sorted(group.name for group in request.assigned_groups.all())),
    )


def votes_on(request_ids: Collection[UUID]) -> dict[UUID, list[Response]]:
    """Return the votes on these approvals, by request, in the order in which they were given."""
    given: defaultdict[UUID, list[Response]] = defaultdict(list)
    votes = Response.objects.filter(request_id__in=request_ids).exclude(verdict="")
    votes = votes.select_related("actor", "on_behalf_of").order_by("given_at", "pk")
    for vote in votes.only("request_id", "actor", "on_behalf_of", "verdict", "given_at"):
        given[vote.request_id].append(vote)
    return given


def standing(request: HumanRequest) -> Standing:
    """Read the standing now. A request that any one reviewer may decide counts as decidable."""
    audience = people_reads.audiences([request])[request.pk]
    if request.required == 1 and not request.four_eyes and not audience.assigned:
        return Standing(required=1, counted=0, void=(), able=1)
    given = list(Response.objects.filter(request_id=request.pk, verdict=Verdict.APPROVE))
    void = _void(given, people_reads.persons(_concerned(given)), audience)
    return Standing(
        required=request.required,
        counted=len(given) - len(void),
        void=tuple(sorted(void)),
        able=deciders.count_deciders(audience) + any(vote.actor_id is None for vote in given),
    )


def voted_out(person: permissions.Person, audiences: Mapping[UUID, permissions.Audience]) -> set[UUID]:
    """Return those of these approvals on which this person has voted, or has no vote left to give."""
    votes = votes_on(audiences.keys())
    return {pk for pk, given in votes.items() if has_voted(person, audiences[pk], given)}


def has_voted(
    person: permissions.Person, audience: permissions.Audience, given: Collection[Response]
) -> bool:
    """Whether this person, who may decide, has voted, or others gave each vote that they could give."""
    if any(vote.actor_id == person.id for vote in given):
        return True
    rights = permissions.rights_to_decide(person, audience)
    ids = {(right.on_behalf_of or person).id for right in rights} or {person.id}
    return ids <= {vote.principal_id for vote in given}


def _concerned(given: Collection[Response]) -> set[int]:
    """Return who has voted, and on whose behalf; programs left out."""
    return {one for vote in given for one in (vote.actor_id, vote.on_behalf_of_id) if one is not None}


def _void(
    given: Collection[Response], people: Mapping[int, permissions.Person], audience: permissions.Audience
) -> frozenset[str]:
    """Return the names of those whose vote does not count, because of who may decide now."""
    return frozenset(
        people[vote.actor_id].username
        for vote in given
        if vote.actor_id is not None
        and vote.principal_id is not None
        and vote.actor_id in people
        and not permissions.decides_as(people[vote.actor_id], people[vote.principal_id], audience)
    )
