"""The search for an order finds one where there is one, and none where what was told contradicts itself."""

from __future__ import annotations

from approvals.domain.commands import Actor, Command, Decision, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from tests.approvals.properties import wishes
from tests.approvals.properties.model import Reply, World, judge, time_passes
from tests.approvals.properties.orders import Deed, possible_ends

ID = wishes.APPROVALS[0]
QUESTION = OpenRequest(
    request_id=ID,
    actor=Actor.program(),
    kind=Kind.APPROVAL,
    title="Refund",
    on_timeout=Verdict.REJECT,
    timeout=wishes.FAR,
)
ASKED, _ = judge({}, QUESTION)


def decide(who: int, verdict: Verdict) -> Decision:
    return Decision(request_id=ID, actor=wishes.actor(who), verdict=verdict)


def told(world: World, command: Command, began: int, ended: int) -> Deed[str]:
    return Deed(command=command, told=in_short(judge(world, command)[1]), began=began, ended=ended)


def in_short(reply: Reply) -> str:
    return f"{reply.code} {reply.changed} {reply.told and reply.told.status}"


ANN, BOB = decide(1, Verdict.APPROVE), decide(2, Verdict.REJECT)
APPROVED, _ = judge(ASKED, ANN)


def ends(*lines: list[Deed[str]], overdue: bool = False) -> list[str]:
    soon = frozenset({ID} if overdue else ())
    return [end[ID].status for end in possible_ends(ASKED, lines, soon, in_short)]


def test_a_loser_who_learns_of_the_winner_has_an_order() -> None:
    """Whichever of the two was begun first."""
    assert ends([told(ASKED, ANN, 1, 4)], [told(APPROVED, BOB, 0, 3)]) == ["approved"]


def test_two_winners_have_none() -> None:
    assert ends([told(ASKED, ANN, 0, 2)], [told(ASKED, BOB, 1, 3)]) == []


def test_two_losers_have_none() -> None:
    assert ends([told(APPROVED, BOB, 0, 2)], [told(APPROVED, BOB, 1, 3)]) == []


def test_who_had_been_answered_before_another_began_was_first() -> None:
    """Bob was told that Ann has decided, before she began to."""
    assert ends([told(ASKED, ANN, 2, 3)], [told(APPROVED, BOB, 0, 1)]) == []


def test_a_deadline_may_pass_between_any_two_deeds_but_not_before_one_that_was_in_time() -> None:
    late = time_passes(ASKED, ID)
    assert ends([told(late, ANN, 0, 1)], overdue=True) == ["timed_out"]
    assert ends([told(late, ANN, 0, 1)]) == []
    assert set(ends([told(ASKED, ANN, 0, 1)], overdue=True)) == {"approved"}
    assert ends([told(late, ANN, 0, 1)], [told(ASKED, BOB, 2, 3)], overdue=True) == []
