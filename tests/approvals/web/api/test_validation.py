"""What is wrong with a field is said in English."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from approvals.web.api.validation import field_error


class Body(BaseModel):
    title: Annotated[str, Field(min_length=1, max_length=3)] = "x"
    name: Annotated[str, Field(min_length=2, max_length=1_000)] = "xy"
    lines: Annotated[list[int], Field(min_length=1)] = [1]
    only: Annotated[list[int], Field(max_length=1)] = [1]


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        ({"title": ""}, "title must have at least 1 character."),
        ({"title": "long"}, "title must have at most 3 characters."),
        ({"name": "x"}, "name must have at least 2 characters."),
        ({"name": "x" * 1_001}, "name must have at most 1,000 characters."),
        ({"lines": []}, "lines must have at least 1 entry."),
        ({"only": [1, 2]}, "only must have at most 1 entry."),
    ],
)
def test_one_is_one_and_several_are_several(said: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Body.model_validate(said)
    (fault,) = caught.value.errors()
    assert field_error({**fault, "loc": ("body", "body", *fault["loc"])})[1] == rule
