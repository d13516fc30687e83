"""Models as people write them; run as a program it prints what the installed pydantic makes of them.

cd tests/approvals/web/pages/forms; python producers/pydantic_models.py > schemas/pydantic-X.Y.json
"""

import json
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pydantic
from pydantic import AnyUrl, BaseModel, Field, TypeAdapter


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    """Where it goes."""

    street: str
    city: str | None = None


class Node(BaseModel):
    name: str
    children: list["Node"] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str]


class Optionals(BaseModel):
    number: int | None = None
    must_be_said: int | None
    colour: Colour | None = None
    yes: bool | None = None
    address: Address | None = None
    words: list[str] | None = None
    with_default: int | None = 5


class Choices(BaseModel):
    colour: Colour
    level: Level = Level.LOW
    literal: Literal["a", "b", 1]
    only: Literal["x"]
    colours: list[Colour]
    letters: set[Literal["p", "q"]] = Field(default={"p"}, min_length=1)


class Numbers(BaseModel):
    amount: Decimal
    price: Decimal = Field(max_digits=8, decimal_places=2, gt=0)
    digits: Decimal | None = Field(default=None, max_digits=4)
    places: Decimal = Field(default=Decimal("1.5"), decimal_places=3)
    even: int = Field(ge=1, le=9, multiple_of=2)
    share: float = Field(gt=0, lt=1)


class Formats(BaseModel):
    day: date
    at: time
    moment: datetime
    length: timedelta
    uuid: UUID
    url: AnyUrl
    code: str = Field(min_length=2, max_length=20, pattern=r"^[a-z]+$", description="Small letters.")


class Nested(BaseModel):
    billing: Address
    shipping: Annotated[Address, Field(title="Ship to")]
    fallback: Address = Address(street="Main St 1")
    lines: list[Address] = Field(min_length=1, max_length=3)
    tags: list[str]
    pet: Cat | Dog = Field(discriminator="kind")


class Odd(BaseModel):
    """One property for each shape that has no fields of its own."""

    plain: str
    pair: tuple[int, str]
    mapping: dict[str, int]
    anything: Any
    either: int | str
    node: Node


@dataclass
class Item:
    title: str
    done: bool = False
    labels: list[str] = field(default_factory=list)


@dataclass
class Basket:
    owner: str
    items: list[Item]
    limit: float | None = None


MODELS: dict[str, Any] = {
    "optionals": Optionals,
    "choices": Choices,
    "numbers": Numbers,
    "formats": Formats,
    "nested": Nested,
    "odd": Odd,
    "dataclass": Basket,
}


def schemas() -> dict[str, Any]:
    made = {name: TypeAdapter(model).json_schema() for name, model in MODELS.items()}
    return made | {"numbers out": TypeAdapter(Numbers).json_schema(mode="serialization")}


if __name__ == "__main__":
    print(json.dumps({"made by": f"pydantic {pydantic.VERSION}", **schemas()}, indent=1))
