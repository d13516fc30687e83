"""The orchestrations and agents that are registered, and the check of their input.

Importing a module registers what it decorates. The modules named `orchestrations` of all installed apps, and
Sayso's own, are imported on the first look. One that can't be imported leaves out what it would register, and
nothing else.
"""

from __future__ import annotations

import inspect
import json
import logging
import pkgutil
import threading
import types
import typing
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

import pydantic
from django.apps import apps
from django.utils.module_loading import module_has_submodule

from approvals.domain.payloads import checked_json
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.process import forks
from orchestration.catalog.isolation import call_for_anybody
from orchestration.catalog.retries import RetryPolicy
from orchestration.catalog.signatures import check_agent, check_orchestration, full_name
from orchestration.exceptions import InvalidInput, UnknownOrchestration, plain_words
from orchestration.plans import InvalidPlan

log = logging.getLogger(__name__)

# What comes with Sayso; imported by name, because these modules stand above this one.
OWN_AGENTS = "orchestration.agents"
OWN_ORCHESTRATIONS = "orchestration.ready_made"
# The module of an app that registers its own.
MODULE = "orchestrations"
LATEST_VERSION = 1_000_000

Function: TypeAlias = Callable[..., Awaitable[Any]]
Check: TypeAlias = Callable[[Mapping[str, Any]], None]
# Name and version of an orchestration.
Kind: TypeAlias = tuple[str, int]
F = TypeVar("F", bound=Function)
Key = TypeVar("Key", str, Kind)
Entry = TypeVar("Entry", "Orchestration", "RegisteredAgent")


@dataclass(frozen=True, kw_only=True)
class Orchestration:
    """A registered orchestration: `function` takes a Run, then its input as keyword arguments."""

    name: str
    version: int = 1
    title: str
    description: str
    function: Function = field(repr=False)
    check: Check | None = field(default=None, repr=False)
    # Names of users and groups, or REVIEWERS; None: the run's owner.
    deciders: Any = None
    four_eyes: bool = False

    def check_input(self, value: object, *, stable: bool = True) -> dict[str, Any]:
        """The input as it will be recorded; InvalidInput names the field and the known names.

        `stable` is that of `checked_json`: what is on record may have numbers that are no longer accepted.
        """
        value = _plain_json({} if value is None else value, stable=stable)
        call_for_anybody(partial(self._check, value))
        return value

    def _check(self, value: dict[str, Any]) -> None:
        arguments = self.arguments(value)
        if self.check is not None:
            try:
                self.check(arguments)
            except InvalidPlan as error:
                raise InvalidInput(f"{error.field}: {error.detail}", field=error.field) from error

    def arguments(self, value: dict[str, Any]) -> dict[str, Any]:
        """The keyword arguments for the function, as the types that its signature names."""
        try:
            model = self._model.model_validate_json(json.dumps(value), strict=True)
        except pydantic.ValidationError as error:
            raise self._refused(error) from None
        # The function's own defaults serve for what was not given.
        fields = type(model).model_fields
        given = {
            info.alias or name: getattr(model, name)
            for name, info in fields.items()
            if name in model.model_fields_set
        }
        more = model.model_extra or {}
        self._refuse_what_is_taken(more)
        return given | more

    def _refuse_what_is_taken(self, more: Mapping[str, Any]) -> None:
        """`**rest` takes any name but that of the function's first parameter, which is the Run."""
        run = next(iter(inspect.signature(self.function).parameters.values()))
        if run.kind is run.POSITIONAL_OR_KEYWORD and run.name in more:
            raise InvalidInput(f"{run.name}: is not a known field", field=run.name)

    @property
    def fields(self) -> dict[str, str]:
        """Name and type of every input field, for error texts and forms."""
        return {
            info.alias or name: _type_name(info.annotation) for name, info in self._model.model_fields.items()
        }

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the input."""
        return self._model.model_json_schema(by_alias=True)

    @cached_property
    def _model(self) -> type[pydantic.BaseModel]:
        return _input_model(self.name, self.function)

    def _refused(self, error: pydantic.ValidationError) -> InvalidInput:
        errors = tuple((_path(one["loc"]), _message(one)) for one in error.errors())
        known = ", ".join(f"{name} ({kind})" for name, kind in self.fields.items()) or "none"
        texts = "; ".join(f"{path}: {message}" for path, message in errors)
        return InvalidInput(
            f"Input of {self.name!r}: {texts}. Known fields: {known}.", field=errors[0][0], errors=errors
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAgent:
    """A registered agent; calling it runs `function(run, action, arguments)`."""

    name: str
    description: str
    function: Function = field(repr=False)
    repetition: RetryPolicy = field(default_factory=RetryPolicy)

    async def __call__(self, run: Any, action: str, arguments: dict[str, Any]) -> Any:
        with self.repetition.as_default():
            return await self.function(run, action, arguments)


def orchestration(
    name: str,
    *,
    version: int = 1,
    title: str = "",
    description: str = "",
    check: Check | None = None,
    deciders: Collection[str] | None = None,
    four_eyes: bool = False,
) -> Callable[[F], F]:
    """Register `async def function(run, *, …)` under `name`. TypeError where no input could be given to it.

    A run keeps the `version` that it began with, and runs are begun with the newest: keep older versions
    registered for as long as any of their runs is open. `check` sees the validated input before anything
    starts, and raises InvalidInput or InvalidPlan.

    `deciders` are names of groups and users, or REVIEWERS: they decide what its runs ask, where the call
    names no `assignees`; omitted: the run's owner. `four_eyes`: whoever started the run may approve none of
    it, where the call does not say otherwise; without `deciders` any reviewer may then. Names are looked up
    when something is asked. Administrators may override both in the admin.
    """
    names = _check_deciders(deciders)
    if not isinstance(four_eyes, bool):
        raise TypeError(f"four_eyes: True or False, not {four_eyes!r}")

    def register(function: F) -> F:
        _check_name(name)
        _check_version(version)
        check_orchestration(function)
        entry = Orchestration(
            name=name,
            version=version,
            title=title or name.replace("_", " ").capitalize(),
            description=description or _first_paragraph(function),
            function=function,
            check=check,
            deciders=names,
            four_eyes=four_eyes,
        )
        _put(_orchestrations, (name, version), entry)
        return function

    return register


def agent(
    name: str, *, description: str = "", retries: int = 0, idempotent: bool = False
) -> Callable[[F], F]:
    """Register `async def function(run, action, arguments)` as the agent `name`.

    `retries` and `idempotent` are what its steps say where they say nothing themselves: see `Run.step`.
    """
    repetition = RetryPolicy(retries=retries, idempotent=idempotent)

    def register(function: F) -> F:
        _check_name(name)
        check_agent(function)
        entry = RegisteredAgent(
            name=name,
            description=description or _first_paragraph(function),
            function=function,
            repetition=repetition,
        )
        _put(_agents, name, entry)
        return function

    return register


def orchestrations() -> Mapping[str, Orchestration]:
    """By name, the newest version of each."""
    _discover()
    return {name: entry for (name, _), entry in sorted(_orchestrations.items())}


def registered_kinds() -> Collection[Kind]:
    """Every version of every orchestration that this process knows: what it may execute."""
    _discover()
    return tuple(_orchestrations)


def not_imported() -> Mapping[str, str]:
    """Modules that could not be imported so far, with the error, in words. Looks, and imports nothing."""
    return dict(_broken)


def kind_name(kind: Kind) -> str:
    """The name, with the version unless it is the first."""
    name, version = kind
    return name if version == 1 else f"{name}, version {version}"


def agents() -> Mapping[str, RegisteredAgent]:
    _discover()
    return dict(sorted(_agents.items()))


def find_orchestration(name: str, version: int | None = None) -> Orchestration:
    """This version, or the newest. UnknownOrchestration names what is known, and what was not imported."""
    known = orchestrations()
    found = known.get(name) if version is None else _orchestrations.get((name, version))
    if found is not None:
        return found
    if name in known:
        versions = ", ".join(
            str(number) for known_name, number in sorted(_orchestrations) if known_name == name
        )
        detail = f"There is no version {version} of orchestration {name!r}. Known versions: {versions}."
    else:
        detail = f"There is no orchestration {name!r}. Known orchestrations: {', '.join(known) or 'none'}."
    slips = "".join(f" {module} could not be imported: {error}." for module, error in _broken.items())
    raise UnknownOrchestration(detail + slips, field="orchestration")


_orchestrations: dict[Kind, Orchestration] = {}
_agents: dict[str, RegisteredAgent] = {}
_broken: dict[str, str] = {}
_discovery = threading.RLock()
_discovered = False

# A child must not be born in the midst of another thread's discovery.
forks.register(_discovery.release, pause=_discovery.acquire, resume=_discovery.release)


def _discover() -> None:
    global _discovered  # noqa: PLW0603 - the catalog is the process's own, like Django's admin site
    with _discovery:
        if _discovered:
            return
        _discovered = True  # before the imports: a module may look into the catalog while it is imported
        try:
            _import_all()
        except BaseException:
            _discovered = False
            raise


def _import_all() -> None:
    import_module(OWN_AGENTS)
    for module in pkgutil.iter_modules(import_module(OWN_ORCHESTRATIONS).__path__):
        import_module(f"{OWN_ORCHESTRATIONS}.{module.name}")
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, MODULE):
            _import_of_app(f"{app.name}.{MODULE}")


def _import_of_app(module: str) -> None:
    """Import it; where that fails nothing of it is known: what it has registered so far may lack the rest."""
    known_orchestrations, known_agents = dict(_orchestrations), dict(_agents)
    try:
        import_module(module)
    except Exception as error:
        _restore(_orchestrations, known_orchestrations)
        _restore(_agents, known_agents)
        _broken[module] = plain_words(error)
        log.exception("orchestrations not imported module=%s", module)


def _restore(entries: dict[Key, Entry], earlier: Mapping[Key, Entry]) -> None:
    for key in entries.keys() - earlier.keys():
        del entries[key]
    entries.update(earlier)


def _put(entries: dict[Key, Entry], key: Key, entry: Entry) -> None:
    earlier = entries.get(key)
    if earlier is not None and full_name(earlier.function) != full_name(entry.function):
        raise ValueError(f"{key!r} is already registered, by {full_name(earlier.function)}")
    entries[key] = entry


def _check_name(name: str) -> None:
    if not isinstance(name, str) or not name.strip() or len(name) > 100:
        raise ValueError("A name has 1 to 100 characters")


def _check_version(version: int) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= LATEST_VERSION:
        raise ValueError(f"version: a whole number from 1 to {LATEST_VERSION:,}, not {version!r}")


def _check_deciders(deciders: Any) -> Any:
    if deciders is None or deciders is REVIEWERS:
        return deciders
    names = () if isinstance(deciders, str) or not isinstance(deciders, Collection) else tuple(deciders)
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ValueError(f"deciders: names of groups and users, in a list, or REVIEWERS, not {deciders!r}")
    return names


def _first_paragraph(function: Function) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


def _input_model(name: str, function: Function) -> type[pydantic.BaseModel]:
    """A model of what follows the Run in the function's signature."""
    parameters = list(inspect.signature(function).parameters.values())[1:]
    hints = typing.get_type_hints(function, localns={"Run": Any}, include_extras=True)
    open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters)
    fields: dict[str, Any] = {
        # Under aliases, because pydantic keeps some names for itself.
        f"field_{one.name}": (hints.get(one.name, Any), _field(one))
        for one in parameters
        if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
    }
    config = pydantic.ConfigDict(extra="allow" if open_ended else "forbid", title=name)
    return pydantic.create_model("Input", __config__=config, **fields)


def _field(parameter: inspect.Parameter) -> Any:
    if parameter.default is parameter.empty:
        return pydantic.Field(alias=parameter.name)
    return pydantic.Field(alias=parameter.name, default=parameter.default)


def _plain_json(value: object, *, stable: bool) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidInput("The input is a JSON object.", field="input")
    try:
        checked_json(value, "input", stable=stable)
    except InvalidRequest as error:
        raise InvalidInput(error.detail, field=error.field) from error
    return value


def _path(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "input"


def _message(error: Any) -> str:
    plain = {"missing": "is required", "extra_forbidden": "is not a known field"}
    text = str(error["msg"])
    return plain.get(error["type"], text[:1].lower() + text[1:])


def _type_name(annotation: Any) -> str:
    """As people write it: without how it is checked."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type_name(arguments[0])
    if origin is typing.Literal:
        return " | ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_name, arguments))
    if annotation is type(None):
        return "None"
    name = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    return f"{_type_name(origin)}[{', '.join(map(_type_name, arguments))}]" if arguments else name
