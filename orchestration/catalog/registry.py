"""Register orchestrations and agents, and find them by name.

Importing a module registers what it decorates. The modules named `orchestrations` of all installed apps, and
Sayso's own, are imported on the first look-up. A module that can't be imported leaves out what it would
register, and nothing else.
"""

from __future__ import annotations

import inspect
import logging
import pkgutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, TypeAlias, TypeVar

from django.apps import apps
from django.utils.module_loading import module_has_submodule

from approvals.domain.escalation import Step, check_steps
from approvals.domain.questions import REVIEWERS
from approvals.exceptions import InvalidRequest
from approvals.process import forks
from orchestration.catalog.entries import Check, Orchestration, RegisteredAgent
from orchestration.catalog.retries import RetryPolicy
from orchestration.catalog.signatures import Function, check_agent, check_orchestration, full_name
from orchestration.catalog.titles import check_title
from orchestration.exceptions import UnknownOrchestration, plain_words

log = logging.getLogger(__name__)

# What comes with Sayso; imported by name, because these modules stand above this one.
OWN_AGENTS = "orchestration.agents"
OWN_ORCHESTRATIONS = "orchestration.ready_made"
# The module of an app that registers its own.
MODULE = "orchestrations"
LATEST_VERSION = 1_000_000

# Name and version of an orchestration.
Kind: TypeAlias = tuple[str, int]
F = TypeVar("F", bound=Function)
Key = TypeVar("Key", str, Kind)
Entry = TypeVar("Entry", Orchestration, RegisteredAgent)


def orchestration(
    name: str,
    *,
    version: int = 1,
    title: str = "",
    description: str = "",
    check: Check | None = None,
    deciders: Collection[str] | None = None,
    four_eyes: bool = False,
    escalation: Sequence[Mapping[str, Any]] | None = None,
) -> Callable[[F], F]:
    """Register `async def function(run, *, …)` under `name`.

    New runs use the newest `version`; a run keeps the version that it began with, so keep older versions
    registered while any of their runs is open. `title` tells runs apart: "Refund {order}" has a field of the
    input in it; omitted, a run is called by the name and the first text or number of its input. `check` gets
    the validated input before anything starts, and raises InvalidInput or InvalidPlan.

    `deciders` are names of groups and users, or REVIEWERS: they decide what its runs ask, unless a call names
    `assignees`. Omitted: the run's owner. With `four_eyes`, whoever started the run can't approve anything in
    it, unless a call says otherwise; without `deciders` any reviewer can then. Names are looked up when
    something is asked. Administrators can override both in the admin.

    `escalation`: who decides what its runs ask as well, or instead, if nobody has after a while, unless a
    call says so itself; as the term of requests, with names of users and groups. A request without a deadline
    leaves out shares of the time, each leaves out what would be due after its deadline, and one that any
    reviewer may decide has nobody added.

    Raises TypeError for a function whose signature can't take input by name, and ValueError for a title with
    a field that the function does not take.
    """
    names, steps = _check_deciders(deciders), _check_escalation(escalation)
    if not isinstance(four_eyes, bool):
        raise TypeError(f"four_eyes: True or False, not {four_eyes!r}")

    def register(function: F) -> F:
        _check_name(name)
        _check_version(version)
        check_orchestration(function)
        check_title(title, function)
        entry = Orchestration(
            name=name,
            version=version,
            title=title,
            description=description or _first_paragraph(function),
            function=function,
            check=check,
            deciders=names,
            four_eyes=four_eyes,
            escalation=steps,
        )
        _add(_orchestrations, (name, version), entry)
        return function

    return register


def agent(
    name: str, *, description: str = "", retries: int = 0, idempotent: bool = False
) -> Callable[[F], F]:
    """Register `async def function(run, action, arguments)` as the agent `name`.

    `retries` and `idempotent` are the defaults for the agent's steps; see `Run.step`.
    """
    retry_policy = RetryPolicy(retries=retries, idempotent=idempotent)

    def register(function: F) -> F:
        _check_name(name)
        check_agent(function)
        entry = RegisteredAgent(
            name=name,
            description=description or _first_paragraph(function),
            function=function,
            retry_policy=retry_policy,
        )
        _add(_agents, name, entry)
        return function

    return register


def orchestrations() -> Mapping[str, Orchestration]:
    """Return all registered orchestrations by name, each in its newest version."""
    _discover()
    return {name: entry for (name, _), entry in sorted(_orchestrations.items())}


def registered_kinds() -> Collection[Kind]:
    """Return name and version of everything that this process can execute."""
    _discover()
    return tuple(_orchestrations)


def app_of(entry: Orchestration) -> str | None:
    """Return the name of the installed app that an orchestration comes from; None if it is of no app."""
    app = apps.get_containing_app_config(entry.function.__module__)
    return None if app is None else app.name


def not_imported() -> Mapping[str, str]:
    """Return the modules that could not be imported so far, each with its error. Imports nothing itself."""
    return dict(_broken)


def kind_name(kind: Kind) -> str:
    """Return the orchestration's name, with its version unless that is 1."""
    name, version = kind
    return name if version == 1 else f"{name}, version {version}"


def agents() -> Mapping[str, RegisteredAgent]:
    """Return all registered agents by name."""
    _discover()
    return dict(sorted(_agents.items()))


def find_orchestration(name: str, version: int | None = None) -> Orchestration:
    """Return this version of the orchestration; without `version`, the newest.

    Raises UnknownOrchestration, which names those that are known and the modules that could not be imported.
    """
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
_discovered = threading.Event()

# No fork while another thread imports: the child would have half a registry.
forks.register(_discovery.release, pause=_discovery.acquire, resume=_discovery.release)


def _discover() -> None:
    with _discovery:
        if _discovered.is_set():
            return
        _discovered.set()  # before the imports: a module may look into the catalog while it is imported
        try:
            _import_all()
        except BaseException:
            _discovered.clear()
            raise


def _import_all() -> None:
    import_module(OWN_AGENTS)
    for module in pkgutil.iter_modules(import_module(OWN_ORCHESTRATIONS).__path__):
        import_module(f"{OWN_ORCHESTRATIONS}.{module.name}")
    for app in apps.get_app_configs():
        if app.module is not None and module_has_submodule(app.module, MODULE):
            _import_of_app(f"{app.name}.{MODULE}")


def _import_of_app(module: str) -> None:
    """Import the module; if that fails, undo what it has registered so far, and note the error."""
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


def _add(entries: dict[Key, Entry], key: Key, entry: Entry) -> None:
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


def _check_escalation(escalation: Any) -> Sequence[Step]:
    try:
        steps = check_steps(() if escalation is None else escalation)
    except InvalidRequest as error:
        raise ValueError(error.detail) from None
    for at, step in enumerate(steps):
        for name in (*step["users"], *step["groups"]):
            if not isinstance(name, str) or not name.strip():
                raise ValueError(f"escalation[{at}]: users and groups are names, not {name!r}")
    return tuple(steps)


def _first_paragraph(function: Function) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
