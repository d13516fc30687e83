"""The content of a seal in canonical form (RFC 8785), its signature and verification; no database."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from approvals.domain.payloads import canonical
from approvals.trail.seals.keys import as_hex, has_signed
from approvals.writer.chain import as_text

FORMAT = 1


class NoSeal(ValueError):
    """This text is not a seal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRecord:
    """A seal. `first` and `last` are ids of entries; `chains` is how many trails began among them.

    `digest` is the SHA-256 of a line for each entry: its id, a space, its hash and a line feed, in the order
    of request ids and, of a request, of sequence. `previous` is the hash of the seal before it.
    """

    number: int
    first: int
    last: int
    entries: int
    chains: int
    digest: str
    previous: str
    sealed_at: str
    host_clock: str
    key: str
    canonical: str
    hash: str
    signature: str


class Digest:
    """The hash over the entries of a seal, which are added in the order of seals."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.entries = self.chains = 0

    def add(self, entry_id: int, sequence: int, entry_hash: str) -> None:
        self._hash.update(f"{entry_id} {entry_hash}\n".encode())
        self.entries += 1
        self.chains += sequence == 1

    @property
    def text(self) -> str:
        return self._hash.hexdigest()


def sign(
    key: Ed25519PrivateKey,
    before: SealRecord | None,
    last: int,
    digest: Digest,
    *,
    sealed_at: datetime,
    host_clock: datetime,
) -> SealRecord:
    """Sign the seal after `before`, over the entries in `digest`, up to the entry with the id `last`."""
    text = canonical(
        {
            "format": FORMAT,
            "seal": before.number + 1 if before else 1,
            "first": before.last + 1 if before else 1,
            "last": last,
            "entries": digest.entries,
            "chains": digest.chains,
            "sha256": digest.text,
            "previous": before.hash if before else "",
            "sealed_at": as_text(sealed_at),
            "host_clock": as_text(host_clock),
            "key": as_hex(key.public_key()),
        }
    )
    return parse(
        text, hash_=hashlib.sha256(text.encode()).hexdigest(), signature=key.sign(text.encode()).hex()
    )


def parse(text: str, *, hash_: str, signature: str) -> SealRecord:
    """Parse a seal; NoSeal if the text is none. `find_fault` verifies it."""
    try:
        for each in (text, hash_, signature):
            each.encode()  # fails for half of a surrogate pair, which JSON can escape
        said = json.loads(text)
        return SealRecord(
            number=_number(said, "seal"),
            first=_number(said, "first"),
            last=_number(said, "last"),
            entries=_number(said, "entries"),
            chains=_number(said, "chains"),
            digest=_text(said, "sha256"),
            previous=_text(said, "previous"),
            sealed_at=_text(said, "sealed_at"),
            host_clock=_text(said, "host_clock"),
            key=_text(said, "key"),
            canonical=text,
            hash=hash_,
            signature=signature,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoSeal("This is not a seal.") from error


def find_fault(seal: SealRecord, before: SealRecord | None, trusted: frozenset[str] = frozenset()) -> str:
    """Return what is wrong with a seal that follows `before`; "" if nothing is.

    `trusted` are the public keys that it may be signed with; if there are none, the one that it names.
    """
    if seal.number != (before.number + 1 if before else 1):
        return f"Seal {before.number + 1 if before else 1} is missing."
    if hashlib.sha256(seal.canonical.encode()).hexdigest() != seal.hash:
        return "Its text does not hash to its hash."
    if seal.previous != (before.hash if before else "") or seal.first != (before.last + 1 if before else 1):
        return "It was made after another seal than the one before it."
    if trusted and seal.key not in trusted:
        return f"It was signed with another key: {seal.key}."
    if not has_signed(seal.key, seal.signature, seal.canonical):
        return "Its signature is not that of its text."
    return ""


def as_line(seal: SealRecord) -> str:
    """Format a seal as one line of JSON, for files and receivers."""
    return canonical(
        {"record": "seal", "canonical": seal.canonical, "hash": seal.hash, "signature": seal.signature}
    )


def from_line(line: str) -> SealRecord:
    """Parse a seal from such a line; NoSeal if it is none."""
    try:
        said = json.loads(line)
        if said["record"] != "seal":
            raise NoSeal("This is not a seal.")
        return parse(str(said["canonical"]), hash_=str(said["hash"]), signature=str(said["signature"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoSeal("This is not a seal.") from error


def _number(said: dict[str, Any], name: str) -> int:
    value = said[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise NoSeal(f"{name} of a seal must be a number.")
    return value


def _text(said: dict[str, Any], name: str) -> str:
    value = said[name]
    if not isinstance(value, str):
        raise NoSeal(f"{name} of a seal must be a text.")
    value.encode()
    return value
