from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0005_seals"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="auditentry",
            options={
                "permissions": [("view_report", "Can read reports on all requests")],
                "verbose_name_plural": "audit entries",
            },
        ),
    ]
