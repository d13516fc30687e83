"""Indexes for the list of runs: newest first, all or of one owner, and those that have ended by their state."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orchestration", "0008_write_trial"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="run",
            name="run_of_owner",
        ),
        migrations.RemoveIndex(
            model_name="run",
            name="run_created",
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["owner", "-created_at", "-id"], name="run_of_owner"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["-created_at", "-id"], name="run_created"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["owner", "status", "-created_at", "-id"],
                name="run_ended_of_owner",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", False)),
                fields=["status", "-created_at", "-id"],
                name="run_ended",
            ),
        ),
    ]
