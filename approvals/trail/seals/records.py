"""The content of a seal in canonical form (RFC 8785), its signature and verification; no database."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import AfterValidator, Field, Strict, TypeAdapter

from approvals.domain.payloads import canonical
from approvals.domain.payloads import digest as digest_of
from approvals.trail.seals.keys import as_hex, has_signed
from approvals.writer.chain import as_text

FORMAT = 1


class NoSeal(ValueError):
    """This text is not a seal."""


def _encodable(text: str) -> str:
    """Fail for half of a surrogate pair, which JSON can escape."""
    text.encode()
    return text


Text = Annotated[str, Strict(), AfterValidator(_encodable)]
Number = Annotated[int, Strict()]


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRecord:
    """A seal; all but `host_clock` are the columns of its row, aliases are the names in its text.

    The entries are those with ids from `first_entry` to `last_entry`; `chains` is how many trails began among
    them. `digest` is the SHA-256 of a line for each entry: its id, a space, its hash and a line feed, in the
    order of request ids and, of a request, of sequence. `previous_hash` is the hash of the seal before it.
    """

    number: Annotated[Number, Field(alias="seal")]
    first_entry: Annotated[Number, Field(alias="first")]
    last_entry: Annotated[Number, Field(alias="last")]
    entries: Number
    chains: Number
    digest: Annotated[Text, Field(alias="sha256")]
    previous_hash: Annotated[Text, Field(alias="previous")]
    sealed_at: Text
    host_clock: Text
    public_key: Annotated[Text, Field(alias="key")]
    canonical: Text
    hash: Text
    signature: Text


_SEAL = TypeAdapter(SealRecord)


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
            "first": before.last_entry + 1 if before else 1,
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
    return parse(text, hash_=digest_of(text), signature=key.sign(text.encode()).hex())


def parse(text: str, *, hash_: str, signature: str) -> SealRecord:
    """Parse a seal; NoSeal if the text is none. `find_fault` verifies it."""
    proof = {"canonical": text, "hash": hash_, "signature": signature}
    try:
        return _SEAL.validate_python({**json.loads(text), **proof})
    except (ValueError, TypeError, RecursionError) as error:
        raise NoSeal("This is not a seal.") from error


def find_fault(seal: SealRecord, before: SealRecord | None, trusted: frozenset[str] = frozenset()) -> str:
    """Return what is wrong with a seal that follows `before`; "" if nothing is.

    `trusted` are the public keys that it may be signed with; if there are none, the one that it names.
    """
    if seal.number != (before.number + 1 if before else 1):
        return f"Seal {before.number + 1 if before else 1} is missing."
    if digest_of(seal.canonical) != seal.hash:
        return "Its text does not hash to its hash."
    if (seal.previous_hash, seal.first_entry) != (
        (before.hash, before.last_entry + 1) if before else ("", 1)
    ):
        return "It was made after another seal than the one before it."
    if trusted and seal.public_key not in trusted:
        return f"It was signed with another key: {seal.public_key}."
    if not has_signed(seal.public_key, seal.signature, seal.canonical):
        return "Its signature is not that of its text."
    return ""


def as_fields(seal: SealRecord) -> dict[str, str]:
    """Return the members of the JSON that is kept of a seal, in files and elsewhere."""
    return {"record": "seal", "canonical": seal.canonical, "hash": seal.hash, "signature": seal.signature}


def as_line(seal: SealRecord) -> str:
    """Format a seal as one line of JSON, for files and receivers."""
    return canonical(as_fields(seal))


def from_line(line: str) -> SealRecord:
    """Parse a seal from such a line; NoSeal if it is none."""
    try:
        said = json.loads(line)
        if said["record"] == "seal":
            return parse(said["canonical"], hash_=said["hash"], signature=said["signature"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NoSeal("This is not a seal.") from error
    raise NoSeal("This is not a seal.")
