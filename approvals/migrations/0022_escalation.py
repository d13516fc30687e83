import approvals.database.fields
from django.db import migrations, models


def hear_of_escalations(apps, schema_editor):
    """Whoever hears of what is handed to them hears of what comes to them by an escalation, too."""
    destinations = apps.get_model("approvals", "Destination").objects.using(schema_editor.connection.alias)
    for row in destinations.iterator():
        if "reassigned" in row.events and "escalated" not in row.events:
            row.events = [*row.events, "escalated"]
            row.save(update_fields=["events"])


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0021_delegations'),
    ]

    operations = [
        migrations.AddField(
            model_name='humanrequest',
            name='confidential',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='humanrequest',
            name='escalated',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='humanrequest',
            name='escalates_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='humanrequest',
            name='escalation',
            field=approvals.database.fields.JSONText(db_default=[], default=list),
        ),
        migrations.AddField(
            model_name='humanrequest',
            name='remind',
            field=approvals.database.fields.JSONText(db_default=0.8, default=0.8),
        ),
        migrations.AlterField(
            model_name='auditentry',
            name='event',
            field=models.CharField(choices=[('opened', 'Opened'), ('viewed', 'Viewed'), ('decided', 'Decided'), ('answered', 'Answered'), ('refused', 'Refused'), ('timed_out', 'timed out'), ('withdrawn', 'Withdrawn'), ('reassigned', 'Reassigned'), ('escalated', 'Escalated'), ('commented', 'Commented'), ('questioned', 'Questioned'), ('rescheduled', 'Rescheduled'), ('stuck', 'Stuck'), ('purged', 'Purged')], max_length=16),
        ),
        migrations.AlterField(
            model_name='notification',
            name='event',
            field=models.CharField(choices=[('opened', 'a request for you'), ('reminder', 'a reminder before the deadline'), ('reassigned', 'a request that was handed to you'), ('escalated', 'a request that came to you because nobody had decided it'), ('question', 'a question about what you asked'), ('reply', 'a reply to your question'), ('closed', 'the outcome of what you asked')], max_length=16),
        ),
        migrations.AddIndex(
            model_name='humanrequest',
            index=models.Index(condition=models.Q(('escalates_at__isnull', False), ('status', 'pending')), fields=['escalates_at', 'id'], name='request_escalates'),
        ),
        migrations.RunPython(hear_of_escalations, migrations.RunPython.noop),
    ]
