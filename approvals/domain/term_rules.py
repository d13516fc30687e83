"""What may be recorded of each term of a request: the rules that need more than its type and limits. Pure.

Each returns the value as it is recorded, or raises InvalidRequest, which begins with the term's name. It gets
what else the request says, too: checked if it is declared before the term in RequestTerms, else as given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from approvals.domain import schemas
from approvals.domain.lifecycle import (
    DECISIONS,
    DEFAULT_ANSWER,
    RESPOND,
    Severity,
    Verdict,
    usual_decisions,
)
from approvals.domain.lookalikes import check_names, check_offers
from approvals.domain.payloads import check_json, check_text, seconds
from approvals.exceptions import InvalidRequest

TITLE_LIMIT = 200
# Characters of an origin's kind and id over HTTP, and of the id of a run.
ORIGIN_LIMIT = 200
# How many arguments fit on the one line of a list, and how long their names may be there.
HIGHLIGHT_LIMIT = 6
HIGHLIGHT_NAME_LIMIT = 100
# Links beside a request, and characters of the address of one.
LINKS_LIMIT = 20
LINK_LIMIT = 2000
# Pairs of the asker's own, and characters of a name and of a value.
METADATA_LIMIT = 64
METADATA_NAME_LIMIT = 64
METADATA_VALUE_LIMIT = 500
# Characters of the key of a group; its title has those of any title.
GROUP_LIMIT = 200
# The share of its time after which those are reminded who have not decided.
REMIND_AT = 0.8

# Where an origin's link may lead: the web, or a page of this site; never to a script.
_LINK = re.compile(r"https?://|/(?!/)|$")


class _Omitted:
    """Stands for a default that was not given: None is a default like any other."""

    def __repr__(self) -> str:
        return "…"


OMITTED: Any = _Omitted()


def check_title(title: Any, said: Mapping[str, Any]) -> str:
    return check_text(title, "title", max_length=TITLE_LIMIT, required=True, one_line=True, seen=True)


def check_severity(severity: Any, said: Mapping[str, Any]) -> Severity:
    if not isinstance(severity, str) or severity not in set(Severity):
        raise InvalidRequest("severity must be 'normal' or 'high'.", field="severity")
    return Severity(severity)


def check_arguments(arguments: Any, said: Mapping[str, Any]) -> Any:
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict):
        raise InvalidRequest("arguments must be a JSON object.", field="arguments")
    checked = check_json(arguments, "arguments")
    check_names(checked, "arguments")
    return checked


def check_highlight(names: Any, said: Mapping[str, Any]) -> list[str]:
    if not isinstance(names, list):
        raise InvalidRequest("highlight must be a list of names of arguments.", field="highlight")
    if len(names) > HIGHLIGHT_LIMIT:
        raise InvalidRequest(
            f"highlight must have at most {HIGHLIGHT_LIMIT} names, not {len(names):,}.", field="highlight"
        )
    checked: list[str] = []
    for at, given in enumerate(names):
        field = f"highlight[{at}]"
        name = check_text(given, field, max_length=HIGHLIGHT_NAME_LIMIT)
        if name not in said["arguments"]:
            raise InvalidRequest(f"{field} must be a name of arguments, not {json.dumps(name)}.", field=field)
        if name in checked:
            raise InvalidRequest(f"{field} must not name {json.dumps(name)} again.", field=field)
        checked.append(name)
    return checked


def check_editable(editable: Any, said: Mapping[str, Any]) -> Any:
    if not isinstance(editable, bool | dict):
        raise InvalidRequest("editable must be true, false or a JSON Schema.", field="editable")
    if editable is not False and said["required"] > 1:
        # Each would approve other arguments; then nobody has approved the same thing.
        raise InvalidRequest(
            "editable can't be given with required above 1: each would approve something else.",
            field="editable",
        )
    return editable if isinstance(editable, bool) else _check_schema(editable, "editable")


def check_choices(choices: Any, said: Mapping[str, Any]) -> schemas.Choices | None:
    if choices is None:
        return None
    if isinstance(choices, str) or not isinstance(choices, Collection):
        raise InvalidRequest("choices must be a list of texts, or a dict of labels.", field="choices")
    given = choices if isinstance(choices, Mapping) else list(choices)
    return schemas.check_choices(given, said["multiple"], "choices")


def check_multiple(multiple: Any, said: Mapping[str, Any]) -> bool:
    if multiple and said["choices"] is None:
        raise InvalidRequest("multiple needs choices to pick from.", field="multiple")
    return bool(multiple)


def check_answer_schema(schema: Any, said: Mapping[str, Any]) -> Any:
    if schema is None:
        return None
    if said["choices"] is not None:
        raise InvalidRequest("schema can't be given together with choices.", field="schema")
    return _check_schema(schema, "schema")


def _check_schema(schema: Any, name: str) -> Any:
    checked = schemas.check_schema(schema, name)
    check_offers(checked, name)
    return checked


def check_timeout(timeout: Any, said: Mapping[str, Any]) -> float | None:
    return seconds(timeout, "timeout", none_allowed=True, zero_allowed=False)


def check_remind(share: Any, said: Mapping[str, Any]) -> float:
    """Return the share; 0 stands for no reminder, OMITTED for the usual one."""
    if share is OMITTED:
        return REMIND_AT
    number = isinstance(share, int | float) and not isinstance(share, bool)
    if not number or not 0 <= share < 1:
        raise InvalidRequest(
            "remind must be a share of the time, above 0 and below 1; 0 or None: no reminder.", field="remind"
        )
    return float(share) if share else 0


def check_decisions(decisions: Any, said: Mapping[str, Any]) -> list[str]:
    """Return them in their own order."""
    if not isinstance(decisions, list) or sorted(map(str, decisions)) not in (
        sorted(usual_decisions()),
        sorted(DECISIONS),
    ):
        raise InvalidRequest(
            f"decisions must be 'approve' and 'reject', and may be {RESPOND!r} besides.", field="decisions"
        )
    if RESPOND in decisions and said["required"] > 1:
        raise InvalidRequest(
            f"decisions can't have {RESPOND!r} with required above 1: one text would end it.",
            field="decisions",
        )
    return [one for one in DECISIONS if one in decisions]


def check_on_timeout(verdict: Any, said: Mapping[str, Any]) -> Verdict:
    if not isinstance(verdict, str) or verdict not in set(Verdict):
        raise InvalidRequest("on_timeout must be 'approve' or 'reject'.", field="on_timeout")
    return Verdict(verdict)


def check_default(default: Any, said: Mapping[str, Any]) -> Any:
    """Return the answer at the deadline for these choices or this schema; OMITTED stands for no default."""
    choices, schema = said["choices"], said["schema"]
    if default is OMITTED:
        return DEFAULT_ANSWER if choices is None and schema is None else None
    default = check_json(default, "default")
    if default is None:
        return None
    if choices is not None:
        return schemas.check_choice(choices, said["multiple"], default, "default", error=InvalidRequest)
    if schema is not None:
        return schemas.check_against(schema, default, "default", error=InvalidRequest)
    if not isinstance(default, str):
        raise InvalidRequest("default must be text, as the answer will be.", field="default")
    return default


def check_links(links: Any, said: Mapping[str, Any] = {}) -> list[dict[str, str]]:
    """Return links as they are shown, each with a title and a url."""
    if not isinstance(links, list):
        raise InvalidRequest("links must be a list of links, each with title and url.", field="links")
    if len(links) > LINKS_LIMIT:
        rule = f"must have at most {LINKS_LIMIT} links, not {len(links):,}"
        raise InvalidRequest(f"links {rule}.", field="links")
    return [_check_link(link, f"links[{at}]") for at, link in enumerate(links)]


def _check_link(link: Any, field: str) -> dict[str, str]:
    if not isinstance(link, dict) or link.keys() != {"title", "url"}:
        raise InvalidRequest(f"{field} must have title and url, and nothing else.", field=field)
    title = check_text(
        link["title"], f"{field}.title", max_length=TITLE_LIMIT, required=True, one_line=True, seen=True
    )
    url = check_text(link["url"], f"{field}.url", max_length=LINK_LIMIT, required=True, one_line=True)
    if not url.startswith(("https://", "http://")):
        raise InvalidRequest(f"{field}.url must begin with https:// or http://.", field=f"{field}.url")
    return {"title": title, "url": url}


def check_metadata(metadata: Any, said: Mapping[str, Any] = {}) -> dict[str, str]:
    """Return the pairs; what they mean is the asker's own."""
    metadata = {} if metadata is None else metadata
    if not isinstance(metadata, dict):
        raise InvalidRequest("metadata must be an object of texts.", field="metadata")
    if len(metadata) > METADATA_LIMIT:
        rule = f"must have at most {METADATA_LIMIT} pairs, not {len(metadata):,}"
        raise InvalidRequest(f"metadata {rule}.", field="metadata")
    for name, value in metadata.items():
        check_text(name, "metadata", max_length=METADATA_NAME_LIMIT, required=True, one_line=True)
        check_text(value, f"metadata.{name}", max_length=METADATA_VALUE_LIMIT)
    return metadata


def check_group(group: Any, said: Mapping[str, Any] = {}) -> dict[str, str]:
    """Return the group; None stands for none, which is empty on record."""
    if group is None or group == {}:
        return {}
    if not isinstance(group, Mapping) or group.keys() != {"key", "title"}:
        raise InvalidRequest("group must have key and title, and nothing else.", field="group")
    return {
        name: check_text(
            group[name], f"group.{name}", max_length=most, required=True, one_line=True, seen=True
        )
        for name, most in (("key", GROUP_LIMIT), ("title", TITLE_LIMIT))
    }


def check_origin(origin: Any, said: Mapping[str, Any] = {}) -> dict[str, str]:
    """Return the origin; None stands for an empty one."""
    origin = check_json({} if origin is None else origin, "origin")
    if not isinstance(origin, dict) or not all(isinstance(value, str) for value in origin.values()):
        raise InvalidRequest("origin must be an object of texts: kind, id and url.", field="origin")
    if origin.get("kind") == "run" and not origin.get("id"):
        raise InvalidRequest("origin.id must name the run, where its kind is run.", field="origin.id")
    if origin.get("kind") == "run" and len(origin["id"]) > ORIGIN_LIMIT:
        rule = f"must have at most {ORIGIN_LIMIT} characters, where its kind is run"
        raise InvalidRequest(f"origin.id {rule}.", field="origin.id")
    if not _LINK.match(origin.get("url", "")):
        raise InvalidRequest("origin.url must begin with https://, http:// or one /.", field="origin.url")
    return origin
