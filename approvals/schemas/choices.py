"""Options to pick one or several from."""

from __future__ import annotations

from approvals.exceptions import ApprovalError, InvalidAnswer, InvalidRequest
from approvals.payloads import FlawError, checked_text
from approvals.schemas.words import brief

COUNT_LIMIT = 200
LENGTH_LIMIT = 200


def check_choices(choices: object, multiple: object, field: str = "choices") -> list[str]:
    """The choices as a list: 1 to 200 different lines of text, none empty."""
    if not isinstance(multiple, bool):
        raise FlawError("must be true or false").as_error("multiple", InvalidRequest)
    if not isinstance(choices, list | tuple) or not 1 <= len(choices) <= COUNT_LIMIT:
        raise FlawError(f"must be a list of 1 to {COUNT_LIMIT} choices").as_error(field, InvalidRequest)
    checked: dict[str, None] = {}
    for index, choice in enumerate(choices):
        text = checked_text(
            choice, f"{field}[{index}]", max_length=LENGTH_LIMIT, required=True, one_line=True
        )
        if text in checked:
            raise FlawError(f"repeats {brief(text)}", [index]).as_error(field, InvalidRequest)
        checked[text] = None
    return list(checked)


def check_choice(
    choices: list[str],
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


def _one(choices: list[str], answer: object) -> str:
    if not isinstance(answer, str):
        raise FlawError("must be one of the choices")
    if answer not in choices:
        raise FlawError(f"must be one of the choices, and {brief(answer)} is not")
    return str.__str__(answer)


def _several(choices: list[str], answer: object) -> list[str]:
    if not isinstance(answer, list | tuple):
        raise FlawError("must be a list of choices")
    picked: set[str] = set()
    for index, one in enumerate(answer):
        choice = _picked(choices, one, index)
        if choice in picked:
            raise FlawError(f"repeats {brief(choice)}", [index])
        picked.add(choice)
    return [choice for choice in choices if choice in picked]


def _picked(choices: list[str], answer: object, index: int) -> str:
    try:
        return _one(choices, answer)
    except FlawError as flaw:
        raise FlawError(flaw.rule, [index]) from None
