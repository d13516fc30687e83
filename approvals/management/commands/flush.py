"""Django's `flush`, which the trail refuses, except in tests: there its triggers are lifted meanwhile.

Django's TransactionTestCase, and pytest-django with it, empty the database by this command.
"""

from __future__ import annotations

from typing import Any

from django.core.management.commands import flush
from django.db import connections

from approvals.database import triggers


class Command(flush.Command):
    def handle(self, **options: Any) -> None:
        if not triggers.in_tests():
            super().handle(**options)
            return
        with triggers.lifted_in_tests(connections[options["database"]]):
            super().handle(**options)
