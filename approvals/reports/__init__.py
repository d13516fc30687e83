"""Reports: how much was asked, how it ended, how long decisions took, and what is still open.

`report(period, by)` builds one from the record in one snapshot; `documents` and the admin's page show it.
"""

from approvals.reports.builder import report
from approvals.reports.figures import Figures, Report, Row
from approvals.reports.grouping import By
from approvals.reports.periods import BadPeriod, Period

__all__ = ["BadPeriod", "By", "Figures", "Period", "Report", "Row", "report"]
