"""Django's test cases, for code that asks people."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.test import TestCase, TransactionTestCase

from approvals.testing.isolation import isolated


class SaysoTestMixin:
    """Put before any of Django's test cases: `class ApiTests(SaysoTestMixin, LiveServerTestCase)`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if isinstance(made := cls.__dict__.get("setUpTestData"), classmethod):
            cls.setUpTestData = classmethod(_isolated(made.__func__))  # type: ignore[attr-defined]  # TestCase's

    def run(self, result: Any = None) -> Any:
        """Run the test, from `setUp` to its clean-ups, with a writer and a waiting room of its own."""
        with isolated():
            return super().run(result)  # type: ignore[misc]  # a test case's


class SaysoTestCase(SaysoTestMixin, TestCase):
    """Django's TestCase: what the test asks and decides is rolled back with the rest."""


class SaysoTransactionTestCase(SaysoTestMixin, TransactionTestCase):
    """Django's TransactionTestCase: all is committed, and the database emptied afterwards, trail included.

    As with Django's own, what migrations have written is gone then, such as the groups that are roles.
    """


def _isolated(set_up: Any) -> Any:
    @wraps(set_up)
    def set_up_isolated(cls: Any) -> None:
        with isolated():
            set_up(cls)

    return set_up_isolated
