"""Exports: the trail, or a part of it, in a file that can be verified without this installation.

An export has whole chains and all seals, and ends with a record of their numbers, by which a file that was
cut short or changed is recognised.
"""

from __future__ import annotations

from approvals.trail.exports.formats import FORMATS, request_of
from approvals.trail.exports.reader import Export, NotAnExport, open_export
from approvals.trail.exports.records import End, EntryRecord, Header, NoRecord, Record
from approvals.trail.exports.selection import Filters
from approvals.trail.exports.writer import lines

__all__ = [
    "FORMATS",
    "End",
    "EntryRecord",
    "Export",
    "Filters",
    "Header",
    "NoRecord",
    "NotAnExport",
    "Record",
    "lines",
    "open_export",
    "request_of",
]
