from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orchestration", "0007_deciders"),
    ]

    operations = [
        migrations.CreateModel(
            name="WriteTrial",
            fields=[
                ("id", models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ("tried_at", models.DateTimeField()),
                ("room", models.TextField()),
            ],
            options={
                "default_permissions": (),
            },
        ),
    ]
