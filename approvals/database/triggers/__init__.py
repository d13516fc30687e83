"""Triggers that refuse UPDATE, DELETE, TRUNCATE and overwriting INSERT on the trail and its seals.

Row triggers don't stop TRUNCATE, and SQLite's INSERT OR REPLACE passes by UPDATE and DELETE triggers: hence
the statement triggers and the BEFORE INSERT triggers. Table rebuilds drop triggers, so they are installed
after every migration. A database superuser can still get past them; verification detects that.

A trigger of the right name proves nothing: it may be for other events, have a condition, or call a function
that allows everything. So `faults` compares the definitions, and `try_changes` tries a change.
"""

from approvals.database.triggers.checking import NotTried, faults, try_changes
from approvals.database.triggers.installation import TABLE, in_tests, install, lifted_in_tests

__all__ = ["TABLE", "NotTried", "faults", "in_tests", "install", "lifted_in_tests", "try_changes"]
