"""Another mail address of a person counts once the code that was sent to it was entered.

So nobody has messages sent to somebody else. The code is made when its letter is sent, and only its keyed
hash is stored. It is short-lived and may be tried a few times; a few codes may be sent in an hour.
"""

from __future__ import annotations

import re
import secrets
from datetime import timedelta

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import F
from django.utils.crypto import constant_time_compare, salted_hmac

from approvals.conf import tells_people
from approvals.database.clock import database_now
from approvals.domain.telling import DestinationKind
from approvals.exceptions import InvalidRequest
from approvals.models import Destination, NewAddress
from approvals.writer import emails, greetings

DIGITS = 8
LIFETIME = timedelta(minutes=30)
TRIES = 5
CODES_AN_HOUR = 5
_SALT = "approvals.new_addresses"

ANOTHER = "have another one sent"


def ask(user_id: int, address: str, label: str, events: list[str]) -> None:
    """Note this encrypted address in place of one that waits for its code, and send it a code.

    InvalidRequest after too many codes.
    """
    with transaction.atomic():
        new = {"address": address, "label": label, "events": events}
        fresh = {"code_hash": "", "expires_at": None, "tries": 0}
        NewAddress.objects.update_or_create(pk=user_id, defaults={**new, **fresh})
        # Under the row's lock, and taken back with what was noted.
        _check_number(user_id, "address")
        _send(user_id)


def send_another(user_id: int) -> None:
    """Send another code, if an address waits for one; InvalidRequest after too many."""
    with transaction.atomic():
        if NewAddress.objects.filter(pk=user_id).select_for_update().exists():
            _check_number(user_id, "code")
            _send(user_id)


def drop(user_id: int) -> None:
    """Forget the address that waits for its code."""
    NewAddress.objects.filter(pk=user_id).delete()


def issue(user_id: int) -> tuple[str, str] | None:
    """Make the code that counts from now on; return the encrypted address and the code, None without one."""
    new = NewAddress.objects.filter(pk=user_id).first()
    if new is None:
        return None
    code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"
    rows = NewAddress.objects.filter(pk=user_id, address=new.address)
    expires_at = database_now() + LIFETIME
    noted = rows.update(code_hash=_hash(new, code), expires_at=expires_at, tries=0)
    return (new.address, code) if noted else issue(user_id)


def confirm(user_id: int, code: str) -> bool:
    """Make the address a destination, if this is its code; else InvalidRequest says why, at `code`.

    False: no address waits, and nothing happens.
    """
    now, given = database_now(), re.sub(r"[\s-]", "", code)
    rows = NewAddress.objects.filter(pk=user_id)
    usable = rows.filter(tries__lt=TRIES, expires_at__gt=now).exclude(code_hash="")
    counted = usable.update(tries=F("tries") + 1)
    new = rows.first()
    if new is None:
        return False
    if not counted:
        raise InvalidRequest(f"code {_why_unusable(new)}.", field="code")
    if not constant_time_compare(_hash(new, given), new.code_hash):
        raise InvalidRequest(f"code {_why_wrong(new)}.", field="code")
    with transaction.atomic():
        # Of two who send the same code at once, one makes the destination.
        confirmed = bool(rows.filter(code_hash=new.code_hash).delete()[0])
        if confirmed:
            added = Destination.objects.create(
                user_id=user_id,
                kind=DestinationKind.EMAIL,
                address=new.address,
                label=new.label,
                events=new.events,
                to_greet=tells_people(),
            )
            greetings.hint(added.pk)
    return confirmed


def _why_unusable(new: NewAddress) -> str:
    if not new.code_hash:
        return "has not been sent yet: try again in a moment"
    if new.tries >= TRIES:
        return f"was entered {TRIES} times, none of them right: {ANOTHER}"
    return f"must be entered within {LIFETIME.seconds // 60} minutes: {ANOTHER}"


def _why_wrong(new: NewAddress) -> str:
    if (left := TRIES - new.tries) < 1:
        return f"must be the last one that was sent; that was the last try: {ANOTHER}"
    return f"must be the last one that was sent; {left} {'try is' if left == 1 else 'tries are'} left"


def _check_number(user_id: int, field: str) -> None:
    if emails.count_since(user_id, emails.ADDRESS_CODE, database_now() - timedelta(hours=1)) >= CODES_AN_HOUR:
        rule = f"no more codes are sent now, {CODES_AN_HOUR} in an hour are the most. Try again later."
        raise InvalidRequest(f"{field}: {rule}", field=field)


def _send(user_id: int) -> None:
    user = get_user_model()._default_manager.get(pk=user_id)
    # Each code is a letter of its own: one that waits was for an address before, or is one of those counted.
    emails.replace(user, emails.ADDRESS_CODE)


def _hash(new: NewAddress, code: str) -> str:
    return salted_hmac(_SALT, f"{new.pk}:{new.address}:{code}", algorithm="sha256").hexdigest()
