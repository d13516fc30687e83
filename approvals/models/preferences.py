"""What people have chosen for their own pages, and when they want to hear nothing.

No request, decision or permission follows from it.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models

from approvals.database.fields import JSONText
from approvals.domain.quiet_hours import LONGEST_ZONE_NAME


class Preference(models.Model):
    """One person's settings; without a row, the defaults hold."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    # Whether a decision opens the next request.
    opens_next = models.BooleanField(default=True)
    # The name of an IANA time zone; "": UTC.
    time_zone = models.CharField(max_length=LONGEST_ZONE_NAME, blank=True, default="", db_default="")
    # Nothing is told between these times on the clock of that zone, and on whole days (0: Monday).
    quiet_from = models.TimeField(null=True)
    quiet_until = models.TimeField(null=True)
    quiet_days = JSONText(default=list, db_default=[])
    # Whether what has its deadline before the quiet hours end is told at once.
    urgent_breaks_quiet = models.BooleanField(default=True, db_default=True)
    # When what happened in a day is told together, on the clock of that zone.
    digest_at = models.TimeField(null=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"preferences of {self.pk}"
