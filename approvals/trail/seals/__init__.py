"""Seals: signatures over the trail, kept elsewhere too, so that not even its owner can rewrite it unnoticed.

Each covers all entries since the seal before it, and that seal's hash; so the newest vouches for all.
"""

from approvals.trail.seals.records import NoSeal, SealRecord, as_line, parse
from approvals.trail.seals.sealing import NotSealed, last_seal, make, read_seals

__all__ = ["NoSeal", "NotSealed", "SealRecord", "as_line", "last_seal", "make", "parse", "read_seals"]
