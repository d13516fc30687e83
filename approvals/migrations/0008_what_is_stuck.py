from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("approvals", "0007_retention"),
    ]

    operations = [
        migrations.AlterField(
            model_name="auditentry",
            name="event",
            field=models.CharField(
                choices=[
                    ("opened", "Opened"),
                    ("viewed", "Viewed"),
                    ("decided", "Decided"),
                    ("answered", "Answered"),
                    ("refused", "Refused"),
                    ("timed_out", "timed out"),
                    ("withdrawn", "Withdrawn"),
                    ("reassigned", "Reassigned"),
                    ("rescheduled", "Rescheduled"),
                    ("stuck", "Stuck"),
                    ("purged", "Purged"),
                ],
                max_length=16,
            ),
        ),
    ]
