from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0023_destinations'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='fetches',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
