"""The typed settings of approvals, from Django's settings.

Each is a key of the dictionary `SAYSO` in Django's settings, or a Django setting of its own with the prefix
`SAYSO_`, which counts more: `SAYSO = {"DEFAULT_TIMEOUT": 60}`, or `SAYSO_DEFAULT_TIMEOUT = 60`. What is in
neither has the default here.

To add one: a field here, a check in checks.py, a row in docs/deployment.md, and a variable in
config/settings.py if the environment is to set it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, cast

from django.conf import UserSettingsHolder, settings

S = TypeVar("S")

# The services that groups write in; not those by which any program or file of a network could be reached.
CHAT_SCHEMES = (
    "discord",
    "gchat",
    "gotifys",
    "matrixs",
    "mmosts",
    "ntfys",
    "rockets",
    "slack",
    "tgram",
    "workflows",
    "wxteams",
    "zulip",
)

_MISSING = object()
# By class: the name of each field, as a key of SAYSO, and as a setting of its own.
_NAMES: dict[type[Any], list[tuple[str, str, str]]] = {}
_IN_MEMORY = "channels.layers.InMemoryChannelLayer"


def settings_class(kind: type[S]) -> type[S]:
    """Register a class of settings, whose names `SAYSO` may have."""
    named = [(each.name, each.name.upper()) for each in fields(cast("Any", kind))]
    _NAMES[kind] = [(name, key, f"SAYSO_{key}") for name, key in named]
    return kind


def channel_layer_is_in_memory() -> bool:
    """Whether hints stay in this process: other processes find changes by the re-check alone."""
    layers: Mapping[str, Any] = getattr(settings, "CHANNEL_LAYERS", {})
    name = _find("CHANNEL_LAYER", "default")
    return bool(layers.get(name, {}).get("BACKEND", _IN_MEMORY) == _IN_MEMORY)


def _recheck_interval() -> float:
    return 2.0 if channel_layer_is_in_memory() else 30.0


def _var() -> Path:
    return Path(getattr(settings, "BASE_DIR", ".")) / "var"


@settings_class
@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalSettings:
    """Settings of approvals. Times are in seconds, unless said otherwise."""

    url: str = ""
    """The installation's address, without a slash at the end; "": no links can be made."""
    default_timeout: float = 300.0
    """How long a request waits that names no `timeout`; the limits are in domain/request_terms.py."""
    approve_on_timeout: str = "single"
    """Which requests a deadline may approve: "single", those that need one approval; "any", all."""
    notify: str = "off"
    """Whether people are told about requests: "on" or "off"."""
    message_detail: str = "summary"
    """What messages say of a request: its "title"; "summary", also the arguments that matter; "full", all."""
    links: str = "login"
    """What a message's link does: "login", lead to the request's page; "personal", decide without log-in."""
    link_hours: float = 24.0
    """Hours after which a personal link is dead, if the request has no earlier deadline."""
    channel_layer: str = "default"
    """The name in CHANNEL_LAYERS of the layer that carries hints."""
    recheck_interval: float = field(default_factory=_recheck_interval)
    database_threads: int = 8
    processes: int = 1
    """How many processes serve this installation, for `manage.py check`."""
    trusted_proxies: tuple[str, ...] = ()
    server_believes: tuple[str, ...] = ()
    """The proxies whose headers the server itself believes, for `manage.py check`."""
    callback_hosts: tuple[str, ...] = ()
    """Hosts that outcomes may be posted to; `*.example.org` is any host below it."""
    callback_networks: tuple[str, ...] = ()
    """Networks that outcomes may be posted to although they are not public."""
    chat_schemes: tuple[str, ...] = CHAT_SCHEMES
    """How addresses of chats may begin; what else the package `apprise` can reach is refused."""
    rate_limit: float = 100.0
    """Requests a second of one user; 0: no limit, as with the four below."""
    address_rate_limit: float = 200.0
    """Requests a second from one address."""
    login_rate_limit: float = 10.0
    """Wrong passwords a minute for one name."""
    sockets_per_user: int = 50
    sockets_per_address: int = 500
    writer_queue: int = 20_000
    """Commands that may wait for the writer; beyond, callers get `Busy`."""
    requests_per_user: int = 1_000
    """Pending requests of one account, asked over HTTP; 0: no limit, as with the bytes."""
    bytes_per_user: int = 64 * 1024 * 1024
    seal_key: str = ""
    """The file of the private key that seals are signed with; "" for none."""
    content_security_policy: str | None = None
    """The policy of Sayso's pages; None: the strictest that they work with; "": none of ours."""
    log_format: str = "auto"
    """The form of log lines, for `manage.py check`: approvals.logs writes them."""
    var: Path = field(default_factory=_var)
    """The folder of files that commands keep; nothing in it is listed or removed by runs."""
    recheck_overlap: float = 60.0
    full_reread_interval: float = 600.0
    hint_timeout: float = 2.0
    hearing_interval: float = 2.0
    """Interval of the listener's own checks, and of the re-check while the listener does not hear."""
    writer_batch: int = 512


def tells_people() -> bool:
    """Whether this installation tells people about requests; each batch of the writer asks."""
    return bool(_find("NOTIFY", "off") == "on")


def own_url() -> str:
    """Return the installation's address, without a slash at the end; each link of a message asks."""
    return str(_find("URL", "")).rstrip("/")


def approval_settings() -> ApprovalSettings:
    """Read the settings as they are now."""
    told = read(ApprovalSettings)
    if "url" in told:
        told["url"] = told["url"].rstrip("/")
    if "var" in told:
        told["var"] = Path(told["var"])
    return ApprovalSettings(**told)


def read(kind: type[Any]) -> dict[str, Any]:
    """Return the fields of a class of settings that Django's settings name, lists as tuples."""
    return dict(_told(kind))


def setting_names() -> set[str]:
    """Return the names of all settings, as they are in `SAYSO`."""
    return {key for names in _NAMES.values() for _, key, _ in names}


def _told(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    together: Mapping[str, Any] = getattr(settings, "SAYSO", {})
    set_alone = _set_names()
    for name, key, alone in _NAMES[kind]:
        value = next((one[alone] for one in set_alone if alone in one), _MISSING)
        if value is _MISSING:
            value = together.get(key, _MISSING)
        if value is not _MISSING:
            yield name, tuple(value) if isinstance(value, list) else value


def _set_names() -> list[Mapping[str, Any]]:
    """Return Django's settings by name, those first that count more.

    This is read for each request: asking Django for a name that is not set costs as much as all of this.
    """
    holder: Any = cast("Any", settings)._wrapped
    found: list[Mapping[str, Any]] = [vars(holder)]
    while isinstance(holder, UserSettingsHolder):
        holder = holder.default_settings
        found.append(vars(holder))
    return found


def _find(key: str, default: Any) -> Any:
    """Return one setting, without reading all of them."""
    alone, together = f"SAYSO_{key}", None
    for names in _set_names():
        if alone in names:
            return names[alone]
        if together is None:
            together = names.get("SAYSO")
    return (together or {}).get(key, default)
