from django.db import migrations, models


class Migration(migrations.Migration):
    """Who lets go of a run is told whether a server goes on with it."""

    dependencies = [("orchestration", "0005_statistics_of_the_queue")]
    operations = [
        migrations.AddField("process", "serves", models.BooleanField(default=True, db_default=True)),
    ]
