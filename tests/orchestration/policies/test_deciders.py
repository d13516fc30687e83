"""Who decides what a run asks: its call, an administrator's override, its orchestration, its owner."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from approvals import deciding, gate, queries
from approvals.database.clock import database_now
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.domain.payloads import read_canonical
from approvals.exceptions import NotPermitted
from approvals.models import AuditEntry, HumanRequest
from approvals.trail import verification
from orchestration import OWNER, REVIEWERS, OrchestrationManager, Run, checks, orchestration
from orchestration.models import DecidersOverride
from orchestration.models import Run as RunRow
from orchestration.policies.deciders import resolve_terms
from orchestration.runtime import Runtime
from tests import factories
from tests.effort import SHARED_FIXTURES, effort
from tests.marks import both_databases
from tests.orchestration.conftest import Processes
from tests.orchestration.watching import asked, finished
from tests.tampering import as_a_superuser_might

pytestmark = pytest.mark.one_stack

PROGRAM = Actor.program()
OVERRIDES = "/admin/orchestration/decidersoverride/"


@orchestration("deciders_refund", deciders=["finance", "fay"], four_eyes=True)
async def refund(run: Run, *, order: int) -> str:
    await run.approve(f"Refund {order}", arguments={"order": order})
    return str(await run.ask("Why?"))


@orchestration("deciders_none")
async def nobody_named(run: Run) -> None:
    await run.approve("Go on?")


@orchestration("deciders_calls", deciders=["finance"], four_eyes=True)
async def named_in_calls(run: Run) -> None:
    await run.approve("Of any reviewer", assignees=REVIEWERS, key="reviewers")
    await run.approve("Of the owner", assignees=OWNER, four_eyes=False, key="owner")


@orchestration("deciders_four_eyes", four_eyes=True)
async def four_eyes_alone(run: Run) -> None:
    await run.approve("Go on?")


@orchestration(
    "deciders_escalation",
    deciders=["finance"],
    escalation=[{"after": 0.5, "users": ["fay"]}, {"after": 600, "groups": ["finance"], "replace": True}],
)
async def escalated(run: Run) -> None:
    await run.approve("As it says", timeout=1000, key="policy")
    await run.approve("Short", timeout=500, key="short")
    await run.approve("Without a deadline", timeout=None, key="none")
    await run.approve("Of any reviewer", timeout=1000, assignees=REVIEWERS, key="reviewers")
    await run.approve("Nobody", timeout=1000, escalation=[], key="nobody")
    own = [{"after": 10, "users": ["grace"]}]
    await run.ask("Its own?", timeout=1000, escalation=own, key="own")


@pytest.fixture
def finance(stack: Any) -> Group:
    """The group of grace, and of olga, who starts runs; fay is named beside it."""
    factories.user("fay")
    return factories.group("finance", factories.user("grace"))


def named(request: dict[str, Any]) -> tuple[list[str], list[str], bool]:
    return request["assignees"]["users"], request["assignees"]["groups"], request["four_eyes"]


def override(name: str, by: str = "admin", **fields: Any) -> DecidersOverride:
    admin = User.objects.filter(username=by).first() or factories.user(by, is_superuser=True)
    values = {"changed_by": admin, "changed_at": database_now(), **fields}
    return DecidersOverride.objects.update_or_create(orchestration=name, defaults=values)[0]


def opened(request_id: str) -> AuditEntry:
    entry: AuditEntry = AuditEntry.objects.get(request_id=request_id, event="opened")
    return entry


class TestOfAnOrchestration:
    @both_databases
    async def test_its_deciders_decide_and_its_owner_does_not(
        self, runtime: Runtime, owner: User, finance: Group
    ) -> None:
        await in_database(finance.user_set.add, owner)
        run_id = await runtime.manager.astart("deciders_refund", {"order": 812}, owner=owner)
        request = await asked(run_id, "Refund 812")
        assert named(request) == (["fay"], ["finance"], True)
        with pytest.raises(NotPermitted):
            await deciding.adecide(factories.actor(owner), request["id"], "approve")
        grace = await in_database(User.objects.get, username="grace")
        await deciding.adecide(factories.actor(grace), request["id"], "approve")
        question = await asked(run_id, "Why?")
        assert named(question)[:2] == (["fay"], ["finance"])
        await deciding.aanswer(factories.actor(grace), question["id"], "twice")
        assert (await finished(run_id))["result"] == "twice"

    async def test_a_call_may_name_others(self, runtime: Runtime, owner: User, finance: Group) -> None:
        rita = await in_database(factories.reviewer, "rita")
        run_id = await runtime.manager.astart("deciders_calls", owner=owner)
        first = await asked(run_id, "Of any reviewer")
        assert named(first) == ([], [], True)
        await deciding.adecide(factories.actor(rita), first["id"], "approve")
        assert named(await asked(run_id, "Of the owner")) == (["olga"], [], False)

    async def test_its_escalation_is_that_of_all_it_asks_as_far_as_it_fits(
        self, runtime: Runtime, owner: User, finance: Group
    ) -> None:
        run_id = await runtime.manager.astart("deciders_escalation", owner=owner)
        found = {}
        for title in ("As it says", "Short", "Without a deadline", "Of any reviewer", "Nobody", "Its own?"):
            request = await asked(run_id, title)
            found[title] = [
                (step["after"], *step["users"], *step["groups"]) for step in request["escalation"]
            ]
            if title == "Its own?":
                await deciding.aanswer(PROGRAM, request["id"], "yes")
            else:
                await deciding.adecide(PROGRAM, request["id"], "approve")
        assert found == {
            "As it says": [(0.5, "fay"), (600, "finance")],
            "Short": [(0.5, "fay")],
            "Without a deadline": [(600, "finance")],
            "Of any reviewer": [(600, "finance")],
            "Nobody": [],
            "Its own?": [(10, "grace")],
        }
        assert (await finished(run_id))["status"] == "completed"

    async def test_a_name_in_a_step_that_is_nobodys_fails_the_run_and_says_so(
        self, runtime: Runtime, owner: User, finance: Group
    ) -> None:
        await in_database(User.objects.filter(username="fay").update, is_active=False)
        run_id = await runtime.manager.astart("deciders_escalation", owner=owner)
        ended = await finished(run_id)
        assert ended["status"] == "failed"
        assert "escalation[0].users[0]: there is no active user 'fay'" in ended["error"]

    @pytest.mark.parametrize(
        ("escalation", "said"),
        [
            ([{"after": 0.5}], "escalation[0] must name somebody"),
            ([{"after": 0, "users": ["fay"]}], "escalation[0].after must be"),
            ([{"after": 0.5, "users": [7]}], "escalation[0]: users and groups are names, not 7"),
        ],
    )
    def test_a_mistake_in_it_is_refused_when_it_is_registered(self, escalation: Any, said: str) -> None:
        with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
            orchestration("deciders_mistaken", escalation=escalation)

    async def test_four_eyes_alone_are_those_of_any_reviewer(self, runtime: Runtime, owner: User) -> None:
        await in_database(factories.reviewer)
        run_id = await runtime.manager.astart("deciders_four_eyes", owner=owner)
        assert named(await asked(run_id)) == ([], [], True)

    @pytest.mark.parametrize(
        ("exists", "said"),
        [
            ("", "'finance' is no active user and no group"),
            ("both", "'finance' is both a user and a group"),
        ],
    )
    async def test_a_name_that_is_nobodys_fails_the_run_and_says_so(
        self, runtime: Runtime, owner: User, exists: str, said: str
    ) -> None:
        if exists:
            await in_database(factories.user, "finance")
            await in_database(factories.group, "finance")
        run_id = await runtime.manager.astart("deciders_refund", {"order": 812}, owner=owner)
        run = await finished(run_id)
        assert run["status"] == "failed"
        assert f"deciders[0] of orchestration 'deciders_refund': {said}" in run["error"]

    @pytest.mark.parametrize("deciders", [[], "finance", [""], [7], {"finance": 1}.values()])
    def test_what_names_nobody_is_refused_where_it_is_registered(self, deciders: Any) -> None:
        with pytest.raises(ValueError, match="deciders: names"):
            orchestration("deciders_refused", deciders=deciders)


class TestOverride:
    @both_databases
    async def test_it_holds_for_what_is_opened_from_then_on_and_the_trail_names_it(
        self, runtime: Runtime, owner: User
    ) -> None:
        """What is open keeps its deciders."""
        before = await runtime.manager.astart("deciders_none", owner=owner)
        assert named(await asked(before)) == (["olga"], [], False)
        await in_database(factories.group, "ops", await in_database(factories.user, "otto"))
        made = await in_database(override, "deciders_none", deciders=["ops"], four_eyes=True)
        after = await runtime.manager.astart("deciders_none", owner=owner)
        request = await asked(after)
        assert named(request) == ([], ["ops"], True)
        entry = await in_database(opened, request["id"])
        facts = read_canonical(entry.canonical)["facts"]
        at = made.changed_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
        assert facts["override"] == {"orchestration": "deciders_none", "by": made.changed_by_id, "at": at}
        assert (
            "override"
            not in read_canonical((await in_database(opened, (await asked(before))["id"])).canonical)["facts"]
        )
        row = await in_database(HumanRequest.objects.get, pk=request["id"])
        (line,) = await in_database(queries.history, row)
        assert (line.overridden_by, line.actor) == ("admin", None)
        assert (await in_database(verification.verify)).first == ()

    async def test_what_it_says_nothing_about_stays_as_it_was(
        self, runtime: Runtime, owner: User, finance: Group
    ) -> None:
        await in_database(override, "deciders_refund", four_eyes=False)
        run_id = await runtime.manager.astart("deciders_refund", {"order": 1}, owner=owner)
        assert named(await asked(run_id)) == (["fay"], ["finance"], False)
        await in_database(override, "deciders_refund", four_eyes=None, reviewers=True)
        await in_database(factories.reviewer)
        run_id = await runtime.manager.astart("deciders_refund", {"order": 2}, owner=owner)
        assert named(await asked(run_id)) == ([], [], True)

    async def test_what_calls_name_is_theirs(self, runtime: Runtime, owner: User, finance: Group) -> None:
        """And not said to be anybody else's word."""
        rita = await in_database(factories.reviewer, "rita")
        await in_database(override, "deciders_calls", deciders=["fay"])
        run_id = await runtime.manager.astart("deciders_calls", owner=owner)
        first = await asked(run_id, "Of any reviewer")
        assert named(first) == ([], [], True)
        entry = await in_database(opened, first["id"])
        assert "override" not in read_canonical(entry.canonical)["facts"]
        await deciding.adecide(factories.actor(rita), first["id"], "approve")
        assert named(await asked(run_id, "Of the owner")) == (["olga"], [], False)

    async def test_the_ready_made_plan_need_not_be_approved_by_who_starts_it(
        self, runtime: Runtime, owner: User
    ) -> None:
        """Sent back, its owner is asked for other steps all the same."""
        otto = await in_database(factories.user, "otto")
        await in_database(factories.group, "ops", otto, owner)
        await in_database(override, "plan", deciders=["ops"], four_eyes=True)
        steps = [{"agent": "person", "action": "Is it tidy?", "arguments": {}}]
        run_id = await runtime.manager.astart("plan", {"task": "Tidy up", "steps": steps}, owner=owner)
        plan = await asked(run_id, "Plan: Tidy up")
        assert named(plan) == ([], ["ops"], True)
        with pytest.raises(NotPermitted):
            await deciding.adecide(factories.actor(owner), plan["id"], "approve")
        await deciding.adecide(factories.actor(otto), plan["id"], "reject", comment="Not today")
        assert named(await asked(run_id, "Which steps instead? Tidy up"))[:2] == (["olga"], [])


Change = Callable[[], Any]

CHANGES: dict[str, Change] = {
    "an override is made": lambda: override("deciders_refund", deciders=["olga"], four_eyes=False),
    "the code names others": lambda: _registered(deciders=REVIEWERS, four_eyes=False),
    "the code names nobody": lambda: _registered(deciders=None, four_eyes=False),
    "its group is gone": lambda: Group.objects.filter(name="finance").update(name="money"),
}


def _registered(**words: Any) -> None:
    orchestration("deciders_refund", **words)(refund)


@pytest.fixture
def registered_again() -> Any:
    yield
    _registered(deciders=["finance", "fay"], four_eyes=True)


@pytest.mark.usefixtures("registered_again")
@pytest.mark.parametrize(
    ("change", "noted"), [("an override is made", True), *((change, False) for change in CHANGES)]
)
async def test_an_open_request_keeps_its_deciders_and_no_replay_is_a_mismatch(
    process: Processes, owner: User, finance: Group, change: str, noted: bool
) -> None:
    """Also where the process died after it had asked, before it had noted that."""
    first, second, third = await process(), await process(), await process()
    run_id = await OrchestrationManager(first).astart("deciders_refund", {"order": 812}, owner=owner)
    request = await asked(run_id, "Refund 812")
    await first.let_go()
    run = await in_database(RunRow.objects.get, pk=run_id)
    if not noted:
        await in_database(run.steps.all().delete)
    await in_database(CHANGES[change])
    await in_database(RunRow.objects.update, process=None)
    await second.execute([run_id])
    again = await asked(run_id, "Refund 812")
    group = "money" if change == "its group is gone" else "finance"
    assert (again["id"], named(again)) == (request["id"], (["fay"], [group], True))
    grace = factories.actor(await in_database(User.objects.get, username="grace"))
    await deciding.adecide(grace, request["id"], "approve")
    if change == "its group is gone":
        assert (await finished(run_id))["status"] == "failed"  # what it asks next has no deciders
        return
    await asked(run_id, "Why?")
    await second.let_go()
    await in_database(RunRow.objects.update, process=None)
    await third.execute([run_id])  # replays the approval, attaches to the question
    question = await asked(run_id, "Why?")
    answering = {"an override is made": "olga", "the code names nobody": "olga"}.get(change)
    person = await in_database(User.objects.get, username=answering) if answering else None
    if person is None:
        person = await in_database(factories.reviewer)
    await deciding.aanswer(factories.actor(person), question["id"], "twice")
    assert (await finished(run_id))["result"] == "twice"


NAMED = [None, REVIEWERS, ("finance",), ("fay",)]


@pytest.mark.usefixtures("registered_again")
@given(
    code=st.sampled_from(NAMED),
    code_eyes=st.booleans(),
    set_=st.none() | st.tuples(st.sampled_from(NAMED), st.sampled_from([None, True, False])),
    call=st.sampled_from([None, REVIEWERS]),
    call_eyes=st.sampled_from([None, True, False]),
    owned=st.booleans(),
)
@effort(60, allowed=(SHARED_FIXTURES,))
def test_the_nearest_word_holds(
    finance: Group, code: Any, code_eyes: bool, set_: Any, call: Any, call_eyes: bool | None, owned: bool
) -> None:
    """A call's, else the override's, else the code's, else it is the owner's; and the trail is told of the
    override exactly where it holds."""
    _registered(deciders=code, four_eyes=code_eyes)
    owner, fay = User.objects.get(username="grace"), User.objects.get(username="fay")
    DecidersOverride.objects.all().delete()
    by_admin, admin_eyes = set_ or (None, None)
    if set_ is not None:
        words: dict[str, Any] = {"reviewers": True} if by_admin is REVIEWERS else {"deciders": by_admin or ()}
        override("deciders_refund", four_eyes=admin_eyes, **words)
    terms: dict[str, Any] = {} if call is None else {"assignees": call}
    terms |= {"named_four_eyes": False} if call_eyes is None else {"four_eyes": call_eyes}
    now = resolve_terms(("deciders_refund", 1), owner if owned else None, terms)

    inherited_eyes = code_eyes if admin_eyes is None else admin_eyes
    assert now["four_eyes"] == (inherited_eyes if call_eyes is None else call_eyes)
    names = code if by_admin is None else by_admin
    if call is not None or names is REVIEWERS:
        expected: Any = REVIEWERS
    elif names is None:
        mine = owned and not (call_eyes is None and inherited_eyes)
        expected = [owner] if mine else REVIEWERS
    else:
        expected = [finance] if names == ("finance",) else [fay.pk]
    assert now["assignees"] == expected
    holds = (call is None and by_admin is not None) or (call_eyes is None and admin_eyes is not None)
    assert ("override" in now) == holds


class TestInTheAdmin:
    @pytest.fixture
    def admin(self, stack: Any) -> Client:
        administrators = Group.objects.get(name="administrator")
        client = Client()
        client.force_login(factories.user("adam", is_staff=True, groups=(administrators,)))
        return client

    def test_an_administrator_sets_it_and_is_recorded(self, admin: Client, finance: Group) -> None:
        form = {"orchestration": "plan", "deciders": "finance\r\n\r\n grace\nfinance", "four_eyes": "true"}
        answer = admin.post(f"{OVERRIDES}add/", form)
        assert answer.status_code == 302, answer.content.decode()
        made = DecidersOverride.objects.get(orchestration="plan")
        assert (made.deciders, made.four_eyes, made.changed_by.username) == (
            ["finance", "grace"],
            True,
            "adam",
        )
        client = Client()
        client.force_login(factories.user("root", is_superuser=True, is_staff=True))
        client.post(
            f"{OVERRIDES}{made.pk}/change/",
            {"orchestration": "plan", "deciders": "", "reviewers": "on", "four_eyes": "unknown"},
        )
        changed = DecidersOverride.objects.get()
        assert (changed.names, changed.four_eyes, changed.changed_by.username) == (REVIEWERS, None, "root")
        assert changed.changed_at > made.changed_at
        assert "As the orchestration says" in client.get(f"{OVERRIDES}{made.pk}/change/").content.decode()
        page = admin.get(OVERRIDES).content.decode()
        assert "any reviewer" in page
        assert "grace" not in admin.get(f"{OVERRIDES}{made.pk}/change/").content.decode()

    @pytest.mark.parametrize(
        ("form", "said"),
        [
            ({"orchestration": "plan", "deciders": "finanze"}, "is no active user and no group"),
            ({"orchestration": "plan", "deciders": "", "four_eyes": "unknown"}, "Say who decides"),
            ({"orchestration": "plan", "deciders": "finance", "reviewers": "on"}, "Choose any reviewer"),
            ({"orchestration": "no such", "deciders": "finance"}, "Select a valid choice"),
        ],
    )
    def test_what_can_not_be_meant_is_refused(
        self, admin: Client, finance: Group, form: dict[str, str], said: str
    ) -> None:
        page = admin.post(f"{OVERRIDES}add/", form).content.decode()
        assert said in page
        assert not DecidersOverride.objects.exists()

    def test_auditors_read_it_and_others_do_not(self, stack: Any) -> None:
        made = override("plan", reviewers=True)
        for role, status in (("auditor", 200), ("reviewer", 403)):
            client = Client()
            group = Group.objects.get(name=role)
            client.force_login(factories.user(is_staff=True, groups=(group,)))
            assert client.get(f"{OVERRIDES}{made.pk}/change/").status_code == status
            refused = client.post(f"{OVERRIDES}{made.pk}/change/", {"orchestration": "plan", "deciders": ""})
            assert refused.status_code == 403


def test_a_check_names_deciders_that_are_not_there(stack: Any) -> None:
    """None in a database without accounts, such as that of a test run."""
    assert list(checks.check_deciders(databases=["default"])) == []
    factories.user()
    factories.group("finance")
    override("plan", deciders=["ops"])

    def ids() -> set[str]:
        found = list(checks.check_deciders(databases=["default"]))
        assert {one.id for one in found} <= {"sayso.W110"}
        return {one.msg for one in found if "deciders_calls" not in one.msg}

    assert ids() == {
        "Deciders of orchestration deciders_refund: 'fay' is no active user and no group.",
        "Deciders of orchestration plan, as set in the admin: 'ops' is no active user and no group.",
        "Orchestration deciders_escalation: escalation[0].users[0]: there is no active user 'fay'.",
    }
    assert list(checks.check_deciders()) == []
    factories.user("fay")
    factories.group("ops")
    assert ids() == set()


def test_an_override_that_is_taken_off_the_trail_is_found(stack: Any) -> None:
    """By whose word others decide is hashed with the entry."""
    factories.group("finance", factories.user("grace"))
    said = {"orchestration": "refund", "by": 7, "at": "2026-11-29T10:00:00.000000Z"}
    request_id = gate.open_approval("Refund?", override=said)
    entry = opened(request_id)
    with as_a_superuser_might():
        text = entry.canonical.replace('"by":7', '"by":8')
        AuditEntry.writing.filter(pk=entry.pk).update(canonical=text)
    assert not verification.verify().holds
