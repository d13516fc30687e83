from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0019_quiet_hours'),
    ]

    operations = [
        migrations.AddField(
            model_name='notification',
            name='used_at',
            field=models.DateTimeField(null=True),
        ),
    ]
