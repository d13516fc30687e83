"""Exports: the trail, or a part of it, in a file that can be verified without this installation.

An export has whole chains and all seals, and ends with a record of their numbers, by which a file that was
cut short or changed is recognised.
"""

from approvals.trail.exports.formats import FORMATS
from approvals.trail.exports.reader import NotAnExport, open_export
from approvals.trail.exports.writer import Filters, lines

__all__ = ["FORMATS", "Filters", "NotAnExport", "lines", "open_export"]
