"""Keys and copies of seals as command options name them, and posting a seal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.conf import approval_settings
from approvals.delivery.webhooks.messages import USER_AGENT, Message
from approvals.delivery.webhooks.posting import WebhookCarrier
from approvals.delivery.webhooks.targets import check_target
from approvals.exceptions import InvalidRequest
from approvals.management.screen import Misuse, Refused, raise_as_misuse
from approvals.trail import seals
from approvals.trail.seals import SealRecord, copies, keys


def load_signing_key(option: str | None) -> Ed25519PrivateKey:
    """Load the private key of --key or SAYSO_SEAL_KEY; `Misuse` if there is none."""
    named = option or approval_settings().seal_key
    if not named:
        raise Misuse(
            "There is no key to sign with: give --key FILE or set SAYSO_SEAL_KEY. A new one is made by"
            " `manage.py audit_seal --new-key FILE`."
        )
    with raise_as_misuse(keys.UnusableKey):
        return keys.load_private_key(Path(named))


def load_trusted_keys(options: Sequence[str]) -> frozenset[str]:
    """Load the public keys of --public-key, or else that of SAYSO_SEAL_KEY if it can be read."""
    if options:
        with raise_as_misuse(keys.UnusableKey):
            return frozenset(keys.load_public_key(Path(option)) for option in options)
    own = approval_settings().seal_key
    try:
        return frozenset({keys.load_public_key(Path(own))} if own else ())
    except keys.UnusableKey:
        return frozenset()


def read_copies(option: str | None) -> dict[int, SealRecord]:
    """Read the seals of this file, by number; `Misuse` if it has none."""
    if option is None:
        return {}
    with raise_as_misuse(copies.UnusableCopies):
        return {seal.number: seal for seal in copies.read(Path(option))}


def check_copies_path(option: str) -> Path:
    """Check, before anything is sealed, that copies can be kept there."""
    path = Path(option)
    if not path.parent.is_dir():
        raise Misuse(f"There is no directory {str(path.parent)!r}.")
    if path.exists():
        read_copies(option)
    return path


def check_url(option: str) -> str:
    """Check that a seal may be posted to this URL; `Misuse` names the rule."""
    try:
        check_target(option)
    except InvalidRequest as error:
        raise Misuse(f"--url: {error.detail}") from error
    return option


def update_copies(path: Path) -> int:
    """Append the missing seals to this file; return how many."""
    recorded = (
        seals.parse(row.canonical, hash_=row.hash, signature=row.signature) for row in seals.read_seals()
    )
    try:
        return copies.bring_up_to_date(path, recorded)
    except seals.NoSeal:
        raise Refused(
            f"A seal on record is no longer valid: see audit_verify. {path} was left as it was."
        ) from None
    except copies.OtherSeals as error:
        raise Refused(f"{error} One of them was rewritten; the file was left as it was.") from error
    except OSError as error:
        raise Refused(f"The seal is on record, but {path} can't be written: {error.strerror}.") from error


def send(url: str, seal: SealRecord) -> None:
    """Post the seal, by the rules for posting outcomes; `Refused` says what went wrong."""
    headers = {"Content-Type": "application/json", "User-Agent": USER_AGENT, "Accept": "*/*"}
    posting = WebhookCarrier()
    try:
        body = f"{seals.as_line(seal)}\n".encode()
        answer = asyncio.run(posting.post(url, Message(headers=headers, body=body)))
    finally:
        posting.close()
    if answer.error:
        raise Refused(
            f"Seal {seal.number} is on record, but could not be sent: {answer.error} The next call sends the"
            " newest seal, which vouches for this one."
        )
