"""Rate limits of this process: for each connection, user and address.

They are kept in the memory of one process, bounded, and not shared: a limit must hold while Redis and the
database are away, and several servers allow several times as much. The callers that were quiet for longest
are forgotten first; a forgotten caller has no more than a new one.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TypeVar

from approvals.conf import approval_settings
from approvals.exceptions import RateLimited
from approvals.process import forks

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

# Callers whose allowance is remembered; about 5 MiB.
REMEMBERED = 20_000
# A caller who was quiet may send so many seconds' worth at once.
AT_ONCE = 10.0
# One address may try so many times as many passwords as may be tried on one name: offices share addresses.
NAMES_AT_AN_ADDRESS = 3


class Allowance:
    """A token bucket: `burst` at once, `rate` a second in the long run."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_seen")

    def __init__(self, *, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._clock = clock
        self._seen = clock()

    def take(self, cost: float = 1.0) -> bool:
        """Spend `cost` if that much is left, and return whether it was."""
        self._refill()
        if cost > self._left:
            return False
        self._left -= cost
        return True

    def give_back(self, cost: float = 1.0) -> None:
        """Return `cost` tokens, for instance after a log-in that succeeded."""
        self._left = min(self._burst, self._left + cost)

    def lacking(self, cost: float = 1.0) -> float:
        """Return the seconds until `cost` will be left, if nothing is taken meanwhile."""
        self._refill()
        return max(0.0, cost - self._left) / self._rate

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now


def remember(kept: OrderedDict[K, V], caller: K, value: V, most: int = REMEMBERED) -> None:
    """Keep a value as the one used last; beyond `most`, what was unused for longest is forgotten."""
    kept[caller] = value
    kept.move_to_end(caller)
    if len(kept) > most:
        kept.popitem(last=False)


@dataclass(eq=False, kw_only=True)
class Allowances:
    """An allowance for each caller, usable from any thread. Rate 0: no limit."""

    burst: float
    rate: float
    remembered: int = REMEMBERED
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _of: OrderedDict[Hashable, Allowance] = field(default_factory=OrderedDict, init=False)

    def __len__(self) -> int:
        return len(self._of)

    def take(self, caller: Hashable) -> int:
        """Spend one token of the caller's and return 0; or the seconds after which there will be one."""
        if not self.rate:
            return 0
        with self._lock:
            new = Allowance(burst=self.burst, rate=self.rate, clock=self.clock)
            allowance = self._of.get(caller, new)
            remember(self._of, caller, allowance, self.remembered)
            return 0 if allowance.take() else math.ceil(allowance.lacking()) or 1

    def charge(self, caller: Hashable, what: str) -> None:
        """Spend one token of the caller's; RateLimited, which says `what` is too much, if there is none."""
        if seconds := self.take(caller):
            raise RateLimited(f"{what}; try again in {seconds} s.", retry_after=seconds)

    def give_back(self, caller: Hashable) -> None:
        with self._lock:
            if caller in self._of:
                self._of[caller].give_back()


class Places:
    """How many things each caller has open, `most` at a time; of one event loop. `most` 0: no limit."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        return len(self._taken)

    @contextmanager
    def one(self, caller: Hashable) -> Iterator[bool]:
        """Take one place for as long as the block lasts; False: none was left."""
        if 0 < self.most <= self._taken[caller]:
            yield False
            return
        self._taken[caller] += 1
        try:
            yield True
        finally:
            self._taken[caller] -= 1
            if not self._taken[caller]:
                del self._taken[caller]


def network_of(address: str | None) -> str | None:
    """Return whose allowance an address uses: of IPv6 the /64, all of which one client can have."""
    if address is None or ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


@cache
def of_users() -> Allowances:
    """Return the requests that each user may send, by any session, token or connection."""
    rate = approval_settings().rate_limit
    return Allowances(burst=max(1.0, rate * AT_ONCE), rate=rate)


@cache
def of_addresses() -> Allowances:
    rate = approval_settings().address_rate_limit
    return Allowances(burst=max(1.0, rate * AT_ONCE), rate=rate)


@cache
def of_logins() -> Allowances:
    """Return the wrong passwords that may be tried on each name, a minute."""
    rate = approval_settings().login_rate_limit
    return Allowances(burst=max(1.0, rate), rate=rate / 60)


@cache
def of_login_addresses() -> Allowances:
    """Return the wrong passwords that may be tried from each address, a minute."""
    rate = approval_settings().login_rate_limit * NAMES_AT_AN_ADDRESS
    return Allowances(burst=max(1.0, rate), rate=rate / 60)


@cache
def sockets() -> Places:
    """Return the connections that are open from each address."""
    return Places(approval_settings().sockets_per_address)


def forget() -> None:
    """Forget all callers, and read the settings again."""
    for kept in (of_users, of_addresses, of_logins, of_login_addresses, sockets):
        kept.cache_clear()


forks.register(forget)
