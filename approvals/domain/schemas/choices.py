"""Options to pick one or several from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from approvals.domain.lookalikes import check_distinct
from approvals.domain.payloads import FlawError, checked_text, spot
from approvals.domain.schemas.words import brief
from approvals.exceptions import ApprovalError, InvalidAnswer, InvalidRequest

COUNT_LIMIT = 200
LENGTH_LIMIT = 200

Choices: TypeAlias = list[str] | dict[str, str]
"""Values, or values with what people read instead of each."""


def labelled(choices: Choices) -> dict[str, str]:
    """The label of each choice, in the order in which they are offered; its own text where it has none."""
    return dict(choices) if isinstance(choices, Mapping) else {choice: choice for choice in choices}


def check_choices(choices: object, multiple: object, field: str = "choices") -> Choices:
    """The choices as a list: 1 to 200 lines of text, none empty, that look different. As a dict where they
    have labels: those, too, look different, for whoever answers sees nothing else."""
    if not isinstance(multiple, bool):
        raise FlawError("must be true or false").as_error("multiple", InvalidRequest)
    if not isinstance(choices, list | tuple | Mapping) or not 1 <= len(choices) <= COUNT_LIMIT:
        raise FlawError(f"must be a list of 1 to {COUNT_LIMIT} choices").as_error(field, InvalidRequest)
    values = _distinct([([index], choice) for index, choice in enumerate(choices)], field)
    if not isinstance(choices, Mapping):
        return values
    labels = _distinct([([value], choices[value]) for value in choices], field)
    return dict(zip(values, labels, strict=True))


def _distinct(texts: list[tuple[list[str | int], object]], field: str) -> list[str]:
    """The texts, checked, with the path that names each in an error."""
    checked: list[str] = []
    for path, value in texts:
        text = checked_text(
            value, spot(field, path), max_length=LENGTH_LIMIT, required=True, one_line=True, seen=True
        )
        if text in checked:
            raise FlawError(f"repeats {brief(text)}", path).as_error(field, InvalidRequest)
        checked.append(text)
    check_distinct([(path, text) for (path, _), text in zip(texts, checked, strict=True)], field)
    return checked


def check_choice(
    choices: Choices,
    multiple: bool,
    answer: object,
    field: str = "answer",
    error: type[ApprovalError] = InvalidAnswer,
) -> str | list[str]:
    """What was picked. Of several: in the order they were offered, so that equal picks are equal answers.

    Picking none of several is an answer too: the empty list.
    """
    try:
        return _several(choices, answer) if multiple else _one(choices, answer)
    except FlawError as flaw:
        raise flaw.as_error(field, error) from None


def _one(choices: Choices, answer: object) -> str:
    if not isinstance(answer, str):
        raise FlawError("must be one of the choices")
    if answer not in choices:
        raise FlawError(f"must be one of the choices, and {brief(answer)} is not")
    return str.__str__(answer)


def _several(choices: Choices, answer: object) -> list[str]:
    if not isinstance(answer, list | tuple):
        raise FlawError("must be a list of choices")
    picked: set[str] = set()
    for index, one in enumerate(answer):
        choice = _picked(choices, one, index)
        if choice in picked:
            raise FlawError(f"repeats {brief(choice)}", [index])
        picked.add(choice)
    return [choice for choice in choices if choice in picked]


def _picked(choices: Choices, answer: object, index: int) -> str:
    try:
        return _one(choices, answer)
    except FlawError as flaw:
        raise FlawError(flaw.rule, [index]) from None
