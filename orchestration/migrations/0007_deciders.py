"""Who decides for an orchestration, as administrators set it. The groups that are roles get their part of it."""

from typing import Any

import django.db.models.deletion
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import migrations, models

import approvals.database.fields

VIEW = ("view_decidersoverride",)
MANAGE = ("add_decidersoverride", "change_decidersoverride", "delete_decidersoverride")
ROLES = {"auditor": VIEW, "administrator": VIEW + MANAGE}


def grant(apps: Any, schema_editor: Any) -> None:
    """To groups that still do what these are for: a group of that name may be the installation's own."""
    using = schema_editor.connection.alias
    app = apps.get_app_config("orchestration")
    # Django makes them only when all migrations are done; they are the same then.
    app.models_module = True
    create_contenttypes(app, verbosity=0, using=using, apps=apps)
    create_permissions(app, verbosity=0, using=using, apps=apps)
    app.models_module = None
    groups = apps.get_model("auth", "Group").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for name, codenames in ROLES.items():
        granted = permissions.filter(content_type__app_label="orchestration", codename__in=codenames)
        held = "change_humanrequest" if name == "administrator" else "view_auditentry"
        for group in groups.filter(name=name, permissions__codename=held):
            group.permissions.add(*granted)


class Migration(migrations.Migration):
    dependencies = [
        ("orchestration", "0006_versions_sleeps_resumption"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="DecidersOverride",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("orchestration", models.CharField(max_length=100, unique=True)),
                ("deciders", approvals.database.fields.JSONText(blank=True, default=list)),
                (
                    "reviewers",
                    models.BooleanField(
                        default=False,
                        help_text="Whoever has the permission to decide what is assigned to nobody.",
                        verbose_name="any reviewer",
                    ),
                ),
                (
                    "four_eyes",
                    models.BooleanField(
                        blank=True,
                        help_text="Whether whoever started the run may not decide.",
                        null=True,
                    ),
                ),
                ("changed_at", models.DateTimeField()),
                (
                    "changed_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "verbose_name": "override of deciders",
                "verbose_name_plural": "overrides of deciders",
            },
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
