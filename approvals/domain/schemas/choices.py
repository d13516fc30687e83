"""Choices to pick one or several from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from approvals.domain.lookalikes import check_distinct
from approvals.domain.payloads import FlawError, check_text, spot
from approvals.domain.schemas.messages import abbreviate
from approvals.exceptions import ApprovalError, InvalidAnswer, InvalidRequest

COUNT_LIMIT = 200
LENGTH_LIMIT = 200

Choices: TypeAlias = list[str] | dict[str, str]
"""Values, or values with what people read instead of each."""


def labels_of(choices: Choices) -> dict[str, str]:
    """Return the label of each choice, in the order of the choices; its own text where it has none."""
    return dict(choices) if isinstance(choices, Mapping) else {choice: choice for choice in choices}


def check_choices(choices: object, multiple: object, field: str = "choices") -> Choices:
    """Return a checked copy of the choices: a list of values, or a dict of values with labels.

    1 to 200 lines of text, none empty, that look different from each other. So do the labels, for who answers
    sees nothing else. Raises InvalidRequest.
    """
    if not isinstance(multiple, bool):
        raise FlawError("must be true or false").as_error("multiple", InvalidRequest)
    if not isinstance(choices, list | tuple | Mapping) or not 1 <= len(choices) <= COUNT_LIMIT:
        raise FlawError(f"must be a list of 1 to {COUNT_LIMIT} choices").as_error(field, InvalidRequest)
    values = _check_texts([([index], choice) for index, choice in enumerate(choices)], field)
    if not isinstance(choices, Mapping):
        return values
    labels = _check_texts([([value], choices[value]) for value in choices], field)
    return dict(zip(values, labels, strict=True))


def _check_texts(texts: list[tuple[list[str | int], object]], field: str) -> list[str]:
    """Return the texts, checked one by one and beside each other. The paths name them in errors."""
    checked: list[str] = []
    for path, value in texts:
        text = check_text(
            value, spot(field, path), max_length=LENGTH_LIMIT, required=True, one_line=True, seen=True
        )
        if text in checked:
            raise FlawError(f"repeats {abbreviate(text)}", path).as_error(field, InvalidRequest)
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
    """Return what was picked. Raises `error`.

    Several come in the order in which they were offered, so that equal picks are equal answers. Picking none
    of several is an answer too: the empty list.
    """
    try:
        return _check_several(choices, answer) if multiple else _check_one(choices, answer)
    except FlawError as flaw:
        raise flaw.as_error(field, error) from None


def _check_one(choices: Choices, answer: object, path: tuple[int, ...] = ()) -> str:
    if not isinstance(answer, str):
        raise FlawError("must be one of the choices", path)
    if answer not in choices:
        raise FlawError(f"must be one of the choices, and {abbreviate(answer)} is not", path)
    return str.__str__(answer)


def _check_several(choices: Choices, answer: object) -> list[str]:
    if not isinstance(answer, list | tuple):
        raise FlawError("must be a list of choices")
    picked: set[str] = set()
    for index, one in enumerate(answer):
        choice = _check_one(choices, one, (index,))
        if choice in picked:
            raise FlawError(f"repeats {abbreviate(choice)}", [index])
        picked.add(choice)
    return [choice for choice in choices if choice in picked]
