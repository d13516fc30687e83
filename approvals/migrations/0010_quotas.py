from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0009_letters"),
        ("auth", "0012_alter_user_first_name_max_length"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="humanrequest",
            options={
                "permissions": [
                    ("decide_humanrequest", "Can decide requests that are assigned to nobody"),
                    ("ask_without_limit", "Can ask over HTTP without limit"),
                ],
                "verbose_name": "request",
            },
        ),
        migrations.AddField(
            model_name="humanrequest",
            name="counted_bytes",
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddIndex(
            model_name="humanrequest",
            index=models.Index(
                condition=models.Q(("counted_bytes__gt", 0), ("status", "pending")),
                fields=["requester", "counted_bytes"],
                name="request_counted",
            ),
        ),
    ]
