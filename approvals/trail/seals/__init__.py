"""Seals: signatures over the trail, kept elsewhere too, so that not even its owner can rewrite it unnoticed.

Each covers all entries since the seal before it, and that seal's hash; so the newest vouches for all.
"""

from __future__ import annotations

from approvals.trail.seals.records import Digest, NoSeal, SealRecord, as_line, find_fault, from_line, parse
from approvals.trail.seals.sealing import NotSealed, last_seal, make, read_seals, wait_until_settled

__all__ = [
    "Digest",
    "NoSeal",
    "NotSealed",
    "SealRecord",
    "as_line",
    "find_fault",
    "from_line",
    "last_seal",
    "make",
    "parse",
    "read_seals",
    "wait_until_settled",
]
