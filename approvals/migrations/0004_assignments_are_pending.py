from django.db import migrations, models


def end_those_of_closed_requests(apps, schema_editor):
    alias = schema_editor.connection.alias
    for name in ('UserAssignment', 'GroupAssignment'):
        rows = apps.get_model('approvals', name)._base_manager.using(alias)
        rows.exclude(request__status='pending').update(pending=False)


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0003_what_is_due_first'),
    ]

    operations = [
        migrations.AddField(
            model_name='userassignment',
            name='pending',
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name='groupassignment',
            name='pending',
            field=models.BooleanField(default=True),
        ),
        migrations.AddIndex(
            model_name='userassignment',
            index=models.Index(condition=models.Q(('pending', True)), fields=['user', 'request'], name='user_assigned_now'),
        ),
        migrations.AddIndex(
            model_name='groupassignment',
            index=models.Index(condition=models.Q(('pending', True)), fields=['group', 'request'], name='group_assigned_now'),
        ),
        migrations.RunPython(end_those_of_closed_requests, migrations.RunPython.noop),
    ]
