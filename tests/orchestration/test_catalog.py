"""The catalog: what is registered, and input that is checked before anything starts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration import checks
from orchestration.catalog import (
    agent,
    agents,
    find_orchestration,
    not_imported,
    orchestration,
    orchestrations,
    registered_kinds,
    registry,
)
from orchestration.exceptions import InvalidInput, UnknownOrchestration
from orchestration.plans import InvalidPlan


class Size(Enum):
    SMALL = "small"


@dataclass(frozen=True)
class Line:
    item: str
    pieces: int = 1


@orchestration("catalog_order", description="Orders things")
async def order(
    run: Any,
    *,
    customer: str,
    lines: list[Line],
    limit: Decimal = Decimal(100),
    size: Size | None = None,
    where: Path | None = None,
    kind: Literal["rush", "normal"] = "normal",
    copies: Annotated[int, pydantic.Field(ge=1)] = 1,
) -> None:
    """Not the description."""


@agent("storekeeper")
async def storekeeper(run: Any, action: str, arguments: dict[str, Any]) -> str:
    """Hands things out.

    And takes them back.
    """
    return f"{action} {arguments}"


GOOD = {"customer": "ACME", "lines": [{"item": "rope"}]}


def test_what_is_decorated_can_be_found() -> None:
    """By name, with title and description for people."""
    found = find_orchestration("catalog_order")
    assert (found.label, found.description) == ("Catalog order", "Orders things")
    assert orchestrations()["catalog_order"] is found
    assert agents()["storekeeper"].description == "Hands things out."


async def test_an_agent_is_called_with_action_and_arguments() -> None:
    """A registered agent is an agent of plans."""
    assert await agents()["storekeeper"](None, "Give", {"item": "rope"}) == "Give {'item': 'rope'}"


def test_unknown_names_list_the_known_ones() -> None:
    """Who mistypes a name learns the right ones."""
    with pytest.raises(UnknownOrchestration, match="catalog_order") as refused:
        find_orchestration("catalog_ordr")
    assert refused.value.field == "orchestration"


def test_input_arrives_as_the_types_of_the_signature() -> None:
    """JSON goes in, the signature's types come out; what was left out is left to the function's defaults."""
    given = GOOD | {"limit": "12.50", "size": "small", "where": "/tmp", "kind": "rush"}
    found = find_orchestration("catalog_order")
    assert found.arguments(found.check_input(given)) == {
        "customer": "ACME",
        "lines": [Line("rope")],
        "limit": Decimal("12.50"),
        "size": Size.SMALL,
        "where": Path("/tmp"),
        "kind": "rush",
    }


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("text", "input"),
        ([], "input"),
        ({}, "customer"),
        (GOOD | {"custmer": "x"}, "custmer"),
        (GOOD | {"customer": 12}, "customer"),
        (GOOD | {"copies": "1"}, "copies"),
        (GOOD | {"copies": True}, "copies"),
        (GOOD | {"copies": 0}, "copies"),
        (GOOD | {"lines": [{"item": "rope"}, {"pieces": 2}]}, "lines[1].item"),
        (GOOD | {"limit": "much"}, "limit"),
        (GOOD | {"kind": "slow"}, "kind"),
        (GOOD | {"customer": "A\0"}, "input.customer"),
        (GOOD | {"customer": "\ud800"}, "input.customer"),
        (GOOD | {"limit": float("nan")}, "input.limit"),
        (GOOD | {"limit": 2**60}, "input.limit"),
        (GOOD | {"limit": 1e18}, "input.limit"),
        (GOOD | {"where": Path("/tmp")}, "input.where"),
        (GOOD | {1: 2}, "input"),
    ],
)
def test_input_that_does_not_fit_names_the_field(given: Any, field: str) -> None:
    """Missing, unknown, mistyped and unrecordable input is refused by name."""
    with pytest.raises(InvalidInput) as refused:
        find_orchestration("catalog_order").check_input(given)
    assert refused.value.field == field
    assert refused.value.errors[0][0] == field


def test_refused_input_is_told_the_known_fields() -> None:
    """With their types, and with all that is wrong at once."""
    with pytest.raises(
        InvalidInput, match=r"Known fields: customer \(str\), lines .*, copies \(int\)"
    ) as refused:
        find_orchestration("catalog_order").check_input({"custmer": "x", "lines": []})
    assert dict(refused.value.errors) == {"customer": "is required", "custmer": "is not a known field"}


def test_known_fields_are_named_with_types_as_people_write_them() -> None:
    """Without how they are checked, and without addresses in memory."""
    assert find_orchestration("catalog_order").fields == {
        "customer": "str",
        "lines": "list[Line]",
        "limit": "Decimal",
        "size": "Size | None",
        "where": "Path | None",
        "kind": "'rush' | 'normal'",
        "copies": "int",
    }
    assert find_orchestration("checklist").fields["items"] == "list[Item]"


def test_any_name_may_be_a_field() -> None:
    """Also those that mean something to the library that validates."""

    @orchestration("catalog_odd_names")
    async def odd(run: Any, *, model_config: int, copy: str, schema: str = "") -> None: ...

    found = find_orchestration("catalog_odd_names")
    given = {"model_config": 1, "copy": "x"}
    assert found.arguments(found.check_input(given)) == given


def test_an_open_ended_signature_takes_any_field() -> None:
    """`**rest` says so."""

    @orchestration("catalog_open")
    async def open_ended(run: Any, *, one: int, **rest: Any) -> None: ...

    found = find_orchestration("catalog_open")
    assert found.arguments(found.check_input({"one": 1, "two": [2]})) == {"one": 1, "two": [2]}


def test_a_check_of_its_own_refuses_before_anything_starts() -> None:
    """As `plan` does with unknown agents."""

    def check(arguments: Any) -> None:
        raise InvalidPlan("There is no agent 'x'.", field="steps[0].agent")

    @orchestration("catalog_checked", check=check)
    async def checked(run: Any) -> None: ...

    with pytest.raises(InvalidInput, match="no agent 'x'") as refused:
        find_orchestration("catalog_checked").check_input(None)
    assert refused.value.field == "steps[0].agent"


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), GeneratorExit(), StopIteration()])
def test_a_check_can_fail_and_nothing_else(error: BaseException) -> None:
    """It runs in servers, on whichever of their threads a run is started."""

    def check(arguments: Any) -> None:
        raise error

    @orchestration("catalog_check_exits", check=check)
    async def checked(run: Any) -> None: ...

    found = find_orchestration("catalog_check_exits")
    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match=type(error).__name__):
        threads.submit(found.check_input, None).result()


def test_a_name_belongs_to_one_function() -> None:
    """A second function under the same name is a mistake; the same one, imported again, is not."""

    def make() -> Any:
        async def again(run: Any) -> None: ...

        return again

    orchestration("catalog_twice")(make())
    orchestration("catalog_twice")(make())
    with pytest.raises(ValueError, match="already registered"):
        orchestration("catalog_twice")(order)


def test_versions_are_registered_side_by_side() -> None:
    """Without a version, the newest is meant; the order in which they are registered tells nothing."""

    @orchestration("catalog_versions", version=10)
    async def tenth(run: Any, *, amount: int) -> None: ...

    @orchestration("catalog_versions")
    async def first(run: Any) -> None: ...

    @orchestration("catalog_versions", version=2)
    async def second(run: Any) -> None: ...

    assert find_orchestration("catalog_versions").function is tenth
    assert orchestrations()["catalog_versions"].version == 10
    for version, function in ((1, first), (2, second), (10, tenth)):
        assert find_orchestration("catalog_versions", version).function is function
        assert ("catalog_versions", version) in registered_kinds()
    with pytest.raises(UnknownOrchestration, match=r"no version 3 of .* Known versions: 1, 2, 10\."):
        find_orchestration("catalog_versions", 3)
    with pytest.raises(ValueError, match="already registered"):
        orchestration("catalog_versions", version=2)(order)


@given(st.one_of(st.integers(max_value=0), st.floats(), st.booleans(), st.text(), st.none()))
def test_a_version_is_a_positive_whole_number(version: Any) -> None:
    with pytest.raises(ValueError, match=r"^version: a whole number from 1"):
        orchestration("catalog_version", version=version)(order)
    assert "catalog_version" not in orchestrations()


@pytest.fixture
def broken_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a module that registers something, and then can't be imported."""
    (tmp_path / "catalog_broken.py").write_text(
        "from orchestration import agent, orchestration\n"
        "@orchestration('catalog_half')\nasync def half(run): ...\n"
        "@agent('catalog_half')\nasync def half_agent(run, action, arguments): ...\n"
        "import no_such_library\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "catalog_broken"
    registry._broken.clear()


def test_a_module_that_can_not_be_imported_leaves_out_only_its_own(
    broken_module: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it had registered before it failed may lack the rest. Whoever asks for it is told why."""
    registry._import_of_app(broken_module)
    assert "catalog_half" not in orchestrations()
    assert "catalog_half" not in agents()
    assert "catalog_order" in orchestrations()
    assert not_imported() == {broken_module: "ModuleNotFoundError: No module named 'no_such_library'"}
    with pytest.raises(UnknownOrchestration, match=r"catalog_broken could not be imported: .*_library'"):
        find_orchestration("catalog_half")
    (message,) = checks.check_modules()
    assert (message.id, "no_such_library" in message.msg) == ("sayso.E105", True)
    assert "orchestrations not imported module=catalog_broken" in caplog.text


def test_what_is_registered_must_be_async() -> None:
    """A plain function can't wait."""
    plain: Any = print
    with pytest.raises(TypeError, match="async def"):
        orchestration("catalog_plain")(plain)


def test_what_no_input_could_be_given_to_is_refused() -> None:
    """When it is registered, naming the parameter; not when a run of it fails."""

    async def positional(run: Any, order: int, /, *, amount: str) -> None: ...
    async def typed(run: Any, **amounts: int) -> None: ...
    async def without_run() -> None: ...
    async def run_by_name(*, run: Any) -> None: ...

    impossible: list[tuple[Any, str]] = [
        (positional, "'order' is positional-only"),
        (typed, r"\*\*amounts"),
        (without_run, "first parameter"),
        (run_by_name, "first parameter"),
    ]
    for function, named in impossible:
        with pytest.raises(TypeError, match=named):
            orchestration("catalog_impossible")(function)
    assert "catalog_impossible" not in orchestrations()


def test_an_agent_that_could_not_be_called_is_refused() -> None:
    """Naming the parameter."""

    async def demanding(run: Any, action: str, arguments: dict[str, Any], *, account: str) -> None: ...

    with pytest.raises(TypeError, match="'account'"):
        agent("catalog_demanding")(demanding)
    assert "catalog_demanding" not in agents()


def test_the_name_of_the_run_is_no_field() -> None:
    """Not even where the function takes any."""

    @orchestration("catalog_open_run")
    async def open_run(run: Any, **rest: Any) -> None: ...

    with pytest.raises(InvalidInput, match="run: is not a known field") as refused:
        find_orchestration("catalog_open_run").check_input({"run": 1})
    assert refused.value.field == "run"


KINDS = [
    Parameter.POSITIONAL_ONLY,
    Parameter.POSITIONAL_OR_KEYWORD,
    Parameter.VAR_POSITIONAL,
    Parameter.KEYWORD_ONLY,
    Parameter.VAR_KEYWORD,
]
VALUES = st.integers(0, 9) | st.just("text")


@st.composite
def functions(draw: st.DrawFn) -> Any:
    """Coroutine functions of any signature: a parameter of each kind, or not, typed or not."""
    first = draw(st.sampled_from(KINDS))
    kinds = draw(st.lists(st.sampled_from(KINDS), max_size=4))
    several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    parameters = [Parameter("run", first)] if first not in several or first not in kinds else []
    for name, kind in zip("abcd", kinds, strict=False):
        if kind not in several or kind not in [one.kind for one in parameters]:
            annotation = draw(st.sampled_from([int, str, Any, Parameter.empty]))
            parameters.append(Parameter(name, kind, annotation=annotation))

    async def function(*args: Any, **kwargs: Any) -> None: ...

    parameters.sort(key=lambda one: one.kind)
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {
        one.name: one.annotation for one in parameters if one.annotation is not Parameter.empty
    }
    return function


@given(functions(), st.dictionaries(st.sampled_from("abcde"), VALUES))
def test_whatever_is_registered_can_be_called_with_what_is_accepted(
    function: Any, value: dict[str, Any]
) -> None:
    """Over signatures of every kind: refused when registered, or callable with what passes its check."""
    try:
        orchestration("catalog_any_signature")(function)
    except TypeError:
        return
    found = find_orchestration("catalog_any_signature")
    try:
        arguments = found.arguments(found.check_input(value))
    except InvalidInput:
        return
    assert arguments == value
    bound = inspect.signature(function).bind(object(), **arguments).arguments
    for one in list(inspect.signature(function).parameters.values())[1:]:
        if one.annotation in (int, str) and one.name in bound:
            assert isinstance(bound[one.name], one.annotation), "what has a type is checked"


def test_the_input_has_a_schema() -> None:
    """For forms and API documents."""
    schema = find_orchestration("catalog_order").input_schema
    assert set(schema["required"]) == {"customer", "lines"}
    assert schema["properties"]["copies"]["minimum"] == 1
