"""Who may see, decide, withdraw or reassign a request, by what people_reads has read afresh. Pure.

Who sees: the requester, the assignees (by name or by group), and holders of `view_humanrequest`; a request
that is assigned to nobody is also seen by holders of `decide_humanrequest`. Who decides: if people or groups
are named, only the active ones of these, not even superusers; otherwise holders of `decide_humanrequest`.
With four eyes, never the requester, nor anybody who has reassigned the request.

While somebody is away, whom they have named decides for them: sees and decides what they may decide by rights
of their own. So standing for somebody does not reach further than one, and four eyes keep out both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from approvals.domain.accounts import on_record

DECIDE = "decide_humanrequest"
SEE_ALL = "view_humanrequest"
MANAGE = "change_humanrequest"
ASK_WITHOUT_LIMIT = "ask_without_limit"

# Between what allows something, as the trail has it, and the id of the account that is stood for.
ON_BEHALF = ", on behalf of "


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user as stored now; `permissions` are those of the codenames above that they hold.

    `principals` are the active people for whom they decide now, in the order of their ids, with their own
    rights alone.
    """

    id: int
    username: str
    active: bool
    superuser: bool
    group_ids: frozenset[int]
    permissions: frozenset[str]
    principals: tuple[Person, ...] = ()

    def holds(self, codename: str) -> bool:
        """Whether the person is active and has this permission; a superuser has all."""
        return self.active and (self.superuser or codename in self.permissions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """What allows somebody to decide, as the trail records it, and on whose behalf; None: on their own."""

    by: str
    on_behalf_of: Person | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Audience:
    """The people of a request: who asked, who is named to decide, and who has reassigned it.

    `reassigned_by` is read only for requests with four eyes.
    """

    requester_id: int | None = None
    user_ids: frozenset[int] = field(default_factory=frozenset)
    group_ids: frozenset[int] = field(default_factory=frozenset)
    four_eyes: bool = False
    reassigned_by: frozenset[int] = field(default_factory=frozenset)

    @property
    def assigned(self) -> bool:
        return bool(self.user_ids or self.group_ids)

    @property
    def barred(self) -> frozenset[int | None]:
        """Who may not decide because of four eyes."""
        return self.reassigned_by | {self.requester_id} if self.four_eyes else frozenset()

    def with_assignees(
        self, by: int | None, user_ids: Collection[int], group_ids: Collection[int]
    ) -> Audience:
        """Return the audience after `by` (None: a program) has reassigned the request to these people."""
        return replace(
            self,
            user_ids=frozenset(user_ids),
            group_ids=frozenset(group_ids),
            reassigned_by=self.reassigned_by if by is None else self.reassigned_by | {by},
        )


def may_see(person: Person, audience: Audience) -> bool:
    """Whether this person may see the request."""
    return sees_by(person, audience) is not None


def sees_by(person: Person, audience: Audience) -> str | None:
    """Return what lets this person see the request, as the trail records it; None: nothing does."""
    if not person.active:
        return None
    if person.id == audience.requester_id:
        return "requester"
    if _is_assigned(person, audience):
        return "assigned"
    if person.holds(SEE_ALL):
        return f"permission {SEE_ALL}"
    return _in_charge_by(person, audience) or _sees_for_others_by(person, audience)


def _sees_for_others_by(person: Person, audience: Audience) -> str | None:
    for principal in person.principals:
        # Not what the principal asked; who has reassigned it does not matter to who sees it.
        asked = audience.four_eyes and principal.id == audience.requester_id
        if (by := _in_charge_by(principal, audience)) and not asked:
            return _on_behalf(by, principal)
    return None


def may_decide(person: Person, audience: Audience) -> bool:
    """Whether this person may decide the request, by permission alone."""
    return decides_by(person, audience) is not None


def decides_by(person: Person, audience: Audience) -> str | None:
    """Return what allows this person to decide, as the trail records it; None: nothing does."""
    return next((right.by for right in rights_to_decide(person, audience)), None)


def rights_to_decide(person: Person, audience: Audience) -> Iterator[Right]:
    """Yield each right by which this person may decide: their own first, then those of each principal."""
    if decides_as(person, person, audience):
        yield Right(by=_in_charge_by(person, audience) or "")
    for principal in person.principals:
        if decides_as(person, principal, audience):
            by = _on_behalf(_in_charge_by(principal, audience) or "", principal)
            yield Right(by=by, on_behalf_of=principal)


def decides_as(person: Person, principal: Person, audience: Audience) -> bool:
    """Whether the principal's own rights let this person decide, who may be the same, and stands for them."""
    free = person.active and person.id not in audience.barred and principal.id not in audience.barred
    return free and _in_charge_by(principal, audience) is not None


def _in_charge_by(person: Person, audience: Audience) -> str | None:
    """Return what makes the request this person's own to decide, though four eyes may keep them from it."""
    if not person.active:
        return None
    if person.id in audience.user_ids:
        return "assigned"
    shared = person.group_ids & audience.group_ids
    if shared:
        return f"assigned group {min(shared)}"
    if not audience.assigned and person.holds(DECIDE):
        return f"permission {DECIDE}"
    return None


def _on_behalf(by: str, principal: Person) -> str:
    return f"{by}{ON_BEHALF}{on_record(principal.id)}"


def withdraws_by(person: Person, audience: Audience) -> str | None:
    """Return what allows this person to withdraw the request: asking it, or managing requests."""
    if person.active and person.id == audience.requester_id:
        return "requester"
    return f"permission {MANAGE}" if person.holds(MANAGE) else None


def reassigns_by(person: Person, audience: Audience) -> str | None:
    """Return what allows this person to reassign the request: being assigned, or managing requests."""
    if _is_assigned(person, audience):
        return "assigned"
    return f"permission {MANAGE}" if person.holds(MANAGE) else None


def purges_by(person: Person, audience: Audience) -> str | None:
    """Return what allows this person to purge the request: managing requests."""
    return f"permission {MANAGE}" if person.holds(MANAGE) else None


def _is_assigned(person: Person, audience: Audience) -> bool:
    named = person.id in audience.user_ids or bool(person.group_ids & audience.group_ids)
    return person.active and named
