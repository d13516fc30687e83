"""Test code that asks people: Django's test cases, fixtures of pytest, and a person to decide.

    class RefundTests(SaysoTestCase):
        def test_an_approved_refund(self):
            self.client.post("/refunds/", {"order": 812})
            decide(pending()[0], "approve")

For pytest: `pytest_plugins = ["approvals.testing.fixtures"]` in conftest.py. See docs/testing.md.
"""

from approvals.testing.cases import SaysoTestCase, SaysoTestMixin, SaysoTransactionTestCase
from approvals.testing.people import (
    aanswer,
    adecide,
    amove_time,
    answer,
    apending,
    decide,
    move_time,
    pending,
)

__all__ = [
    "SaysoTestCase",
    "SaysoTestMixin",
    "SaysoTransactionTestCase",
    "aanswer",
    "adecide",
    "amove_time",
    "answer",
    "apending",
    "decide",
    "move_time",
    "pending",
]
