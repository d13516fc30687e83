"""How a run was started, when its record last changed, and an index by which its records are read in order."""

import approvals.database.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('orchestration', '0009_lists_of_runs'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='recorded_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='started_from',
            field=approvals.database.fields.JSONText(blank=True, db_default={}, default=dict),
        ),
        migrations.AlterField(
            model_name='steprecord',
            name='run',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='orchestration.run'),
        ),
        migrations.AddIndex(
            model_name='steprecord',
            index=models.Index(fields=['run', 'id'], name='step_of_run'),
        ),
    ]
