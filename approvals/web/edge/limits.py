"""How much may be asked of this process: by one connection, one user, one address.

Everything here is memory of one process, bounded, and never shared: a limit must hold while Redis and the
database are away, and several servers let through as many times as much. What nobody has used for longest is
forgotten first, which gives a caller who is forgotten no more than what a new one has.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache

from approvals.conf import approval_settings
from approvals.exceptions import ApprovalError
from approvals.process import forks

# Callers whose allowance is remembered; about 5 MiB.
REMEMBERED = 20_000
# Who was quiet may ask for so many seconds' worth at once.
AT_ONCE = 10.0
# One address may try so many times as many passwords as may be tried on one name: offices share addresses.
NAMES_AT_AN_ADDRESS = 3


class RateLimited(ApprovalError):
    """The caller asks more than it may. `retry_after`: whole seconds after which it may again."""

    code = "rate_limited"

    def __init__(self, detail: str, *, retry_after: int = 1) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Allowance:
    """A token bucket: `burst` at once, `rate` a second in the long run."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_seen")

    def __init__(self, *, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._clock = clock
        self._seen = clock()

    def take(self, cost: float = 1.0) -> bool:
        """Whether that much was left; if it was, it is spent."""
        self._refill()
        if cost > self._left:
            return False
        self._left -= cost
        return True

    def give_back(self, cost: float = 1.0) -> None:
        """What was taken turned out to cost nothing."""
        self._left = min(self._burst, self._left + cost)

    def lacking(self, cost: float = 1.0) -> float:
        """Seconds until that much will be left, if nothing is taken meanwhile."""
        self._refill()
        return max(0.0, cost - self._left) / self._rate

    def _refill(self) -> None:
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now


class Allowances:
    """An allowance for each caller; from any thread. A rate of nought: as much as everybody likes."""

    def __init__(
        self,
        *,
        burst: float,
        rate: float,
        remembered: int = REMEMBERED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._rate = rate
        self._remembered = remembered
        self._clock = clock
        self._lock = threading.Lock()
        self._of: OrderedDict[Hashable, Allowance] = OrderedDict()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._of)

    def take(self, caller: Hashable) -> int:
        """Spend one of the caller's. Not nought: there was none; it may ask again after so many seconds."""
        if not self._rate:
            return 0
        with self._lock:
            allowance = self._allowance(caller)
            return 0 if allowance.take() else math.ceil(allowance.lacking()) or 1

    def give_back(self, caller: Hashable) -> None:
        """What the caller has spent cost nothing."""
        with self._lock:
            if caller in self._of:
                self._of[caller].give_back()

    def _allowance(self, caller: Hashable) -> Allowance:
        if caller not in self._of:
            self._of[caller] = Allowance(burst=self._burst, rate=self._rate, clock=self._clock)
            if len(self._of) > self._remembered:
                self._of.popitem(last=False)
        self._of.move_to_end(caller)
        return self._of[caller]


class Places:
    """How many things each caller has open; of one event loop. `most` nought: as many as they like."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._taken: Counter[Hashable] = Counter()

    def __len__(self) -> int:
        """How many callers have anything open."""
        return len(self._taken)

    @contextmanager
    def one(self, caller: Hashable) -> Iterator[bool]:
        """One place for as long as this lasts; False: none was left."""
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
    """Whose allowance an address uses. Who has one of IPv6 has as many as they like, of the same /64."""
    if address is None or ":" not in address:
        return address
    return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))


@cache
def of_users() -> Allowances:
    """What each user may ask, by whatever session, token or connection."""
    rate = approval_settings().rate_limit
    return Allowances(burst=max(1.0, rate * AT_ONCE), rate=rate)


@cache
def of_addresses() -> Allowances:
    """What may be asked from each address."""
    rate = approval_settings().address_rate_limit
    return Allowances(burst=max(1.0, rate * AT_ONCE), rate=rate)


@cache
def of_logins() -> Allowances:
    """How many wrong passwords may be tried on one name in a minute."""
    rate = approval_settings().login_rate_limit
    return Allowances(burst=max(1.0, rate), rate=rate / 60)


@cache
def of_login_addresses() -> Allowances:
    """How many wrong passwords may be tried from one address in a minute."""
    rate = approval_settings().login_rate_limit * NAMES_AT_AN_ADDRESS
    return Allowances(burst=max(1.0, rate), rate=rate / 60)


@cache
def sockets() -> Places:
    """The connections open from each address."""
    return Places(approval_settings().sockets_per_address)


def forget() -> None:
    """Begin anew, by the settings as they are now."""
    for kept in (of_users, of_addresses, of_logins, of_login_addresses, sockets):
        kept.cache_clear()


forks.register(forget)
