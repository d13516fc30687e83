"""Who decides for whom, said in the terminal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command

from approvals.management.screen import Misuse, Refused
from approvals.models import Delegation
from tests import factories as make

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]


def run(*arguments: str, **options: Any) -> str:
    output = io.StringIO()
    call_command("delegate", *arguments, stdout=output, stderr=io.StringIO(), **options)
    return output.getvalue()


@pytest.mark.usefixtures("people")
class TestDelegate:
    @pytest.fixture
    def people(self) -> None:
        for name in ("ann", "bob"):
            make.user(name)

    def test_it_is_made_and_ended(self) -> None:
        said = run("ann", "bob", "--until", "2090-01-01T09:00+01:00", "--reason", "On leave", username="ann")
        row = Delegation.objects.get()
        assert said.startswith("bob decides for ann from ")
        assert f"until 2090-01-01T08:00:00Z. To end it: --end {row.pk}" in said
        assert (row.reason, row.made_by.username) == ("On leave", "ann")
        assert json.loads(run("--end", str(row.pk), "--json", username="ann"))["ended_by"] == "ann"
        assert "bob does not decide for ann any more" in run("--end", str(row.pk), username="bob")

    def test_a_day_is_of_this_computers_time_zone(self) -> None:
        run("ann", "bob", "--from", "2090-01-01", "--until", "2090-01-02", username="ann")
        row = Delegation.objects.get()
        assert row.starts_at.astimezone().strftime("%Y-%m-%d %H:%M") == "2090-01-01 00:00"

    def test_others_are_for_administrators(self) -> None:
        with pytest.raises(Refused, match="principal must be you"):
            run("ann", "bob", "--until", "2090-01-01", username="bob")
        make.user("root", is_superuser=True)
        run("ann", "bob", "--until", "2090-01-01", username="root")
        assert Delegation.objects.get().made_by.username == "root"

    @pytest.mark.parametrize(
        ("arguments", "rule"),
        [
            (("ann", "bob"), "until when"),
            (("ann", "--until", "2090-01-01"), "who decides instead"),
            (("ann", "bob", "--until", "soon"), "no moment in ISO 8601"),
            (("ann", "bob", "--end", "x"), "it takes no people"),
        ],
    )
    def test_misuse_says_what_is_missing(self, arguments: tuple[str, ...], rule: str) -> None:
        with pytest.raises(Misuse, match=rule):
            run(*arguments, username="ann")

    def test_an_unknown_one_can_t_be_ended(self) -> None:
        for wrong in ("x", "01996c1e-7c1a-7d53-9d0e-0f6f6d3b8a11"):
            with pytest.raises(Refused, match="There is no delegation"):
                run("--end", wrong, username="ann")
