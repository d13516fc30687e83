"""Which calls the gate asks about, and what a policy must not say."""

from __future__ import annotations

from pathlib import Path

import pytest
from sayso_client.mcp_policy import BadPolicy, Policy

POLICY = """
default = "pass"
[[rule]]
tool = "read_*"
ask = false
[[rule]]
tool = "refund"
title = "Refund {amount} for {order}"
editable = true
timeout = 60
users = ["ann"]
[[rule]]
tool = "re*"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "policy.toml"


def test_the_first_rule_that_fits_counts(file: Path) -> None:
    file.write_text(POLICY)
    policy = Policy.read(str(file))
    assert policy.rule_for("read_file") is None
    assert policy.rule_for("list") is None
    assert policy.rule_for("Refund") is None
    refund, remove = policy.rule_for("refund"), policy.rule_for("remove")
    assert refund
    assert remove
    assert refund.terms() == {"editable": True, "timeout": 60, "assignees": {"users": ["ann"]}}
    assert remove.terms() == {"editable": False}
    assert refund.title_for("refund", {"amount": "12 \u202e EUR", "order": 2**60}) == (
        f"Refund 12 \\u202e EUR for {2**60}"
    )
    for called in ({"amount": 12}, {}):
        assert refund.title_for("refund", called).startswith("refund(")
    assert remove.title_for("remove", {"name": "a\nb"}) == 'remove(name="a\\nb")'


def test_what_no_rule_names_is_asked_about_unless_the_policy_says_otherwise(file: Path) -> None:
    file.write_text("")
    assert Policy.read(str(file)).rule_for("anything")
    assert Policy().rule_for("anything")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('default = "never"', "default must be ask or pass"),
        ("defualt = 1", "defualt is unknown"),
        ("call_id = 3", "call_id can't be 3"),
        ("[[rule]]\nask = false", "rule 1: tool is missing"),
        ('[[rule]]\ntool = "a"\n[[rule]]\ntool = "b"\naks = false', "rule 2: aks is unknown"),
        ('[[rule]]\ntool = "a"\nask = "no"', "rule 1: ask can't be 'no'"),
        ('[[rule]]\ntool = "a"\ntitle = "{"', "rule 1: title"),
        ('rule = "a"', "rule must be tables"),
        ("rule = [1]", "rule must be tables"),
        ("[", "policy.toml"),
    ],
)
def test_a_policy_that_is_none_is_refused(file: Path, text: str, rule: str) -> None:
    file.write_text(text)
    with pytest.raises(BadPolicy) as refused:
        Policy.read(str(file))
    assert rule in str(refused.value)


def test_a_policy_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadPolicy, match=r"nowhere\.toml"):
        Policy.read("nowhere.toml")
