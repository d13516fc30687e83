"""How decisions flow: how much was asked, what became of it, how long it took, what is left open.

`report(period, by)` reads it from the record in one snapshot; `documents` and the admin's page show it.
"""

from approvals.reports.builder import report
from approvals.reports.figures import Figures, Report, Row, Slot
from approvals.reports.grouping import By
from approvals.reports.periods import BadPeriod, Period

__all__ = ["BadPeriod", "By", "Figures", "Period", "Report", "Row", "Slot", "report"]
