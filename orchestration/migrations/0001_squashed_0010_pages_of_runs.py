"""Makes what the ten migrations that it replaces make of a new database, in a fraction of their time.

It asks of `approvals` no more than they do: a database that has them all is not held up by it.
"""

from importlib import import_module

import approvals.database.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


# The steps that are more than tables: names that begin with a digit have no other way to be imported.
roles = import_module('orchestration.migrations.0003_roles')
statistics = import_module('orchestration.migrations.0005_statistics_of_the_queue')
deciders = import_module('orchestration.migrations.0007_deciders')


class Migration(migrations.Migration):

    replaces = [
        ('orchestration', '0001_initial'),
        ('orchestration', '0002_interrupted_steps'),
        ('orchestration', '0003_roles'),
        ('orchestration', '0004_retention'),
        ('orchestration', '0005_statistics_of_the_queue'),
        ('orchestration', '0006_versions_sleeps_resumption'),
        ('orchestration', '0007_deciders'),
        ('orchestration', '0008_write_trial'),
        ('orchestration', '0009_lists_of_runs'),
        ('orchestration', '0010_pages_of_runs'),
    ]

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ('approvals', '0006_who_reads_reports'),
        ('admin', '0003_logentry_add_action_flag_choices'),
        ('contenttypes', '0002_remove_content_type_name'),
    ]

    operations = [
        migrations.CreateModel(
            name='DecidersOverride',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('orchestration', models.CharField(max_length=100, unique=True)),
                ('deciders', approvals.database.fields.JSONText(blank=True, default=list)),
                ('reviewers', models.BooleanField(default=False, help_text='Whoever has the permission to decide what is assigned to nobody.', verbose_name='any reviewer')),
                ('four_eyes', models.BooleanField(blank=True, help_text='Whether whoever started the run may not decide.', null=True)),
                ('changed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('changed_at', models.DateTimeField()),
            ],
            options={
                'verbose_name': 'override of deciders',
                'verbose_name_plural': 'overrides of deciders',
            },
        ),
        migrations.CreateModel(
            name='Process',
            fields=[
                ('id', models.UUIDField(default=approvals.database.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('started_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField()),
                ('released_at', models.DateTimeField(blank=True, null=True)),
                ('serves', models.BooleanField(db_default=True, default=True)),
            ],
            options={
                'verbose_name_plural': 'processes',
                'indexes': [models.Index(fields=['expires_at'], name='process_lease')],
            },
        ),
        migrations.CreateModel(
            name='Run',
            fields=[
                ('id', models.UUIDField(default=approvals.database.fields.new_id, editable=False, primary_key=True, serialize=False)),
                ('orchestration', models.CharField(max_length=100)),
                ('version', models.PositiveIntegerField(db_default=1, default=1)),
                ('title', models.CharField(max_length=200)),
                ('owner', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to=settings.AUTH_USER_MODEL)),
                ('input', approvals.database.fields.JSONText(default=dict)),
                ('key', models.CharField(blank=True, max_length=200)),
                ('status', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('waiting', 'Waiting'), ('completed', 'Completed'), ('rejected', 'Rejected'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', max_length=16)),
                ('reason', models.CharField(blank=True, max_length=32)),
                ('result', approvals.database.fields.JSONText(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('plan', approvals.database.fields.JSONText(blank=True, default=list)),
                ('plan_round', models.PositiveIntegerField(default=0)),
                ('process', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='runs', to='orchestration.process')),
                ('epoch', models.PositiveIntegerField(default=0)),
                ('executing', models.BooleanField(db_default=False, default=False)),
                ('deaths', models.PositiveIntegerField(db_default=0, default=0)),
                ('resumed', models.PositiveIntegerField(default=0)),
                ('resumed_at', models.DateTimeField(blank=True, null=True)),
                ('resumed_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('cancel_requested_at', models.DateTimeField(blank=True, null=True)),
                ('cancelled_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('cancelled_from', approvals.database.fields.JSONText(blank=True, db_default={}, default=dict)),
                ('leaves_requests', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('started_from', approvals.database.fields.JSONText(blank=True, db_default={}, default=dict)),
                ('started_at', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('changed_at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField(blank=True, null=True)),
                ('purged_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('status__in', ('queued', 'running', 'waiting'))), fields=['process', 'id'], name='run_open'), models.Index(condition=models.Q(('leaves_requests', True)), fields=['id'], name='run_untidy'), models.Index(fields=['owner', '-created_at', '-id'], name='run_of_owner'), models.Index(fields=['-created_at', '-id'], name='run_created'), models.Index(condition=models.Q(('finished_at__isnull', False)), fields=['owner', 'status', '-created_at', '-id'], name='run_ended_of_owner'), models.Index(condition=models.Q(('finished_at__isnull', False)), fields=['status', '-created_at', '-id'], name='run_ended'), models.Index(fields=['changed_at', 'id'], name='run_changed')],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('status__in', ('queued', 'running', 'waiting'))), models.Q(('finished_at__isnull', False), ('status__in', ('completed', 'rejected', 'failed', 'cancelled'))), _connector='OR'), name='run_finished_at_fits_status'), models.UniqueConstraint(condition=models.Q(models.Q(('key', ''), _negated=True), ('owner__isnull', False)), fields=('owner', 'key'), name='run_key_once_an_owner'), models.UniqueConstraint(condition=models.Q(models.Q(('key', ''), _negated=True), ('owner__isnull', True)), fields=('key',), name='run_key_once_without_owner')],
            },
        ),
        migrations.CreateModel(
            name='Message',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='messages', to='orchestration.run')),
                ('agent', models.CharField(max_length=100)),
                ('text', models.TextField()),
                ('complete', models.BooleanField(default=True)),
                ('said_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['run', 'id'], name='message_of_run')],
            },
        ),
        migrations.CreateModel(
            name='StepRecord',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('run', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='steps', to='orchestration.run')),
                ('key', models.CharField(max_length=200)),
                ('position', models.PositiveIntegerField(blank=True, null=True)),
                ('kind', models.CharField(max_length=16)),
                ('name', models.CharField(max_length=200)),
                ('fingerprint', models.CharField(max_length=64)),
                ('status', models.CharField(choices=[('started', 'Started'), ('retrying', 'Retrying'), ('open', 'Open'), ('sleeping', 'Sleeping'), ('given_up', 'Given up'), ('done', 'Done'), ('failed', 'Failed')], max_length=16)),
                ('request_id', models.UUIDField(blank=True, null=True)),
                ('result', approvals.database.fields.JSONText(blank=True, null=True)),
                ('error', models.TextField(blank=True)),
                ('attempts', models.PositiveIntegerField(default=1)),
                ('begun_by', models.CharField(blank=True, db_default='', default='', max_length=200)),
                ('cancelled_waits', models.PositiveIntegerField(db_default=0, default=0)),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('started_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'indexes': [models.Index(fields=['run', 'id'], name='step_of_run')],
                'constraints': [models.UniqueConstraint(fields=('run', 'key'), name='step_key_once_a_run'), models.UniqueConstraint(condition=models.Q(('position__isnull', False)), fields=('run', 'position'), name='step_position_once_a_run'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'open'), _negated=True), ('request_id__isnull', False), _connector='OR'), name='step_asks_while_open'), models.CheckConstraint(condition=models.Q(models.Q(('status', 'sleeping'), _negated=True), ('due_at__isnull', False), _connector='OR'), name='step_sleeps_until_a_moment')],
            },
        ),
        migrations.CreateModel(
            name='WriteTrial',
            fields=[
                ('id', models.PositiveSmallIntegerField(primary_key=True, serialize=False)),
                ('tried_at', models.DateTimeField()),
                ('room', models.TextField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        *roles.Migration.operations,
        *statistics.Migration.operations,
        migrations.RunPython(deciders.grant, migrations.RunPython.noop),
    ]
