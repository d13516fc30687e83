"""Which calls of tools people are asked about, and how: the policy of `sayso-mcp gate`, a TOML file.

default = "ask"            # what no rule names: "ask" or "pass"
[[rule]]                   # the first that fits counts
tool = "read_*"
ask = false
[[rule]]
tool = "refund"
title = "Refund {amount} for order {order}"
editable = true
timeout = 3600
users = ["ann"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from string import Formatter
from typing import Any, Self

from sayso_client.errors import SaysoError
from sayso_client.questions import title_of, title_of_call, visible

# By which Claude Code names a call.
CALL_ID = "claudecode/toolUseId"
DEFAULTS = {"ask": True, "pass": False}


class BadPolicy(SaysoError):
    """The file is no policy; the text names the place and the rule."""

    code = "bad_policy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds for tools whose name fits the pattern `tool`. `title` may name arguments in braces."""

    tool: str
    ask: bool = True
    title: str = ""
    details: str = ""
    editable: bool = False
    timeout: float | None = None
    severity: str = ""
    users: Sequence[str] = ()
    groups: Sequence[str] = ()

    def title_for(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """Return the title of this call: the rule's, if the call has all the arguments that it names."""
        try:
            title = title_of(visible(self.title.format_map(arguments)))
        except (KeyError, IndexError, ValueError, AttributeError, TypeError):
            title = ""
        return title or title_of_call(tool, arguments)

    def terms(self) -> dict[str, Any]:
        """Return what the rule says about the question, beside its title."""
        said: dict[str, Any] = {name: getattr(self, name) for name in ("details", "timeout", "severity")}
        said["assignees"] = {name: named for name in ("users", "groups") if (named := getattr(self, name))}
        return {"editable": self.editable, **{name: value for name, value in said.items() if value}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules in order. `call_id` is the member of a call's `_meta` by which its client names the call."""

    rules: Sequence[Rule] = ()
    default: Rule | None = Rule(tool="*")
    call_id: str = CALL_ID

    @classmethod
    def read(cls, path: str) -> Self:
        """Read the file; BadPolicy says what is wrong with it."""
        try:
            said = tomllib.loads(Path(path).read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise BadPolicy(f"{path}: {error}") from error
        rules = said.pop("rule", [])
        if not isinstance(rules, list) or not all(isinstance(each, dict) for each in rules):
            raise BadPolicy(f"{path}: rule must be tables: [[rule]].")
        _check(said, {"default": str, "call_id": str}, path)
        if said.get("default", "ask") not in DEFAULTS:
            raise BadPolicy(f"{path}: default must be ask or pass.")
        return cls(
            rules=[_rule(each, f"{path}: rule {number}") for number, each in enumerate(rules, 1)],
            default=Rule(tool="*") if DEFAULTS[said.get("default", "ask")] else None,
            call_id=said.get("call_id", CALL_ID),
        )

    def rule_for(self, tool: str) -> Rule | None:
        """Return the rule by which people are asked about the tool; None: it passes."""
        rule = next((each for each in self.rules if fnmatchcase(tool, each.tool)), self.default)
        return rule if rule is not None and rule.ask else None


_KINDS: Mapping[str, Any] = {
    "tool": str,
    "ask": bool,
    "title": str,
    "details": str,
    "editable": bool,
    "timeout": (int, float),
    "severity": str,
    "users": list,
    "groups": list,
}


def _rule(said: Mapping[str, Any], place: str) -> Rule:
    _check(said, _KINDS, place)
    if not said.get("tool"):
        raise BadPolicy(f"{place}: tool is missing: the pattern of the names that it is for.")
    try:
        list(Formatter().parse(said.get("title", "")))
    except ValueError as error:
        raise BadPolicy(f"{place}: title: {error}.") from error
    return Rule(**said)


def _check(said: Mapping[str, Any], kinds: Mapping[str, Any], place: str) -> None:
    for name, value in said.items():
        if name not in kinds:
            raise BadPolicy(f"{place}: {name} is unknown; there are {', '.join(kinds)}.")
        if not isinstance(value, kinds[name]):
            raise BadPolicy(f"{place}: {name} can't be {value!r}.")
