from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0024_fetches'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='delegation',
            index=models.Index(fields=['made_at', 'id'], name='delegation_made'),
        ),
        migrations.AddIndex(
            model_name='delegation',
            index=models.Index(condition=models.Q(('ended_at__isnull', False)), fields=['ended_at'], name='delegation_ended'),
        ),
    ]
