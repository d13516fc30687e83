"""The groups that the README names as roles, made once: what an installation makes of them later is its own.

A group that is there already under such a name is left as it is: its members were chosen for something else.
"""

from typing import Any

from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import migrations
from django.db.models import Q

# Every permission whose codename begins so, of these apps.
READ_EVERYTHING = Q(content_type__app_label__in=("approvals", "orchestration"), codename__startswith="view_")
READ_ACCOUNTS = Q(content_type__app_label="auth", codename__in=("view_user", "view_group")) | Q(
    content_type__app_label="admin", codename="view_logentry"
)
MANAGE = Q(
    content_type__app_label="approvals",
    codename__in=(
        "change_humanrequest",
        "revoke_apitoken",
        "resend_callback",
        "manage_delegation",
        "manage_destination",
    ),
) | Q(content_type__app_label="orchestration", codename="change_run")
MANAGE_ACCOUNTS = Q(
    content_type__app_label="auth", codename__in=("add_user", "change_user", "add_group", "change_group")
)

ROLES = {
    "requester": Q(content_type__app_label="orchestration", codename="add_run"),
    "reviewer": Q(content_type__app_label="approvals", codename="decide_humanrequest"),
    "auditor": READ_EVERYTHING | READ_ACCOUNTS,
    "administrator": READ_EVERYTHING | READ_ACCOUNTS | MANAGE | MANAGE_ACCOUNTS,
}


def make_roles(apps: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    _make_permissions(apps, using)
    groups = apps.get_model("auth", "Group").objects.using(using)
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    for name, granted in ROLES.items():
        group, is_new = groups.get_or_create(name=name)
        if is_new:
            group.permissions.set(permissions.filter(granted))


def _make_permissions(apps: Any, using: str) -> None:
    """Django makes them only when all migrations are done; they are the same then."""
    for label in ("admin", "auth", "approvals", "orchestration"):
        app = apps.get_app_config(label)
        app.models_module = True
        create_contenttypes(app, verbosity=0, using=using, apps=apps)
        create_permissions(app, verbosity=0, using=using, apps=apps)
        app.models_module = None


class Migration(migrations.Migration):
    dependencies = [
        ("orchestration", "0002_interrupted_steps"),
        ("approvals", "0006_who_reads_reports"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [migrations.RunPython(make_roles, migrations.RunPython.noop)]
