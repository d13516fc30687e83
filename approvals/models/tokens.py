"""API tokens, with which programs act as a user."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q

from approvals.database.fields import JSONText, new_id
from approvals.models.record import OnRecord


class ApiToken(OnRecord):
    """A token with which a program acts as its user. Of the secret only SHA-256 and `prefix` are stored."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    secret_hash = models.CharField(max_length=64, unique=True)
    scopes = JSONText(default=list)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="api_tokens_revoked"
    )

    class Meta:
        verbose_name = "API token"
        permissions = [("revoke_apitoken", "Can revoke API tokens")]
        indexes = [
            models.Index(name="token_revoked", fields=["revoked_at"], condition=Q(revoked_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
