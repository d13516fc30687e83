"""What people have chosen for their own pages. No request, decision or permission follows from it."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class Preference(models.Model):
    """One person's settings; without a row, the defaults hold."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="+"
    )
    # Whether a decision opens the next request.
    opens_next = models.BooleanField(default=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"preferences of {self.pk}"
