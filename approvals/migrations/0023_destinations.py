import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import migrations, models


def grant(apps, schema_editor):
    """To administrators, as long as that group still manages requests: others may have its name."""
    using = schema_editor.connection.alias
    app = apps.get_app_config("approvals")
    # Django makes them only when all migrations are done; they are the same then.
    app.models_module = True
    create_contenttypes(app, verbosity=0, using=using, apps=apps)
    create_permissions(app, verbosity=0, using=using, apps=apps)
    app.models_module = None
    permissions = apps.get_model("auth", "Permission").objects.using(using)
    granted = permissions.filter(content_type__app_label="approvals", codename="manage_destination")
    groups = apps.get_model("auth", "Group").objects.using(using)
    for group in groups.filter(name="administrator", permissions__codename="change_humanrequest"):
        group.permissions.add(*granted)


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0022_escalation'),
        ('auth', '0012_alter_user_first_name_max_length'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='destination',
            options={'default_permissions': (), 'permissions': [('manage_destination', 'Can say where groups and people are told')]},
        ),
        migrations.RemoveConstraint(
            model_name='destination',
            name='destination_of_the_account',
        ),
        migrations.AddField(
            model_name='destination',
            name='address',
            field=models.TextField(blank=True, default=''),
        ),
        migrations.AddField(
            model_name='destination',
            name='created_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddField(
            model_name='destination',
            name='failing_since',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='destination',
            name='group',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='auth.group'),
        ),
        migrations.AddField(
            model_name='destination',
            name='label',
            field=models.CharField(blank=True, default='', max_length=100),
        ),
        migrations.AlterField(
            model_name='destination',
            name='kind',
            field=models.CharField(choices=[('email', 'Email'), ('webhook', 'Webhook'), ('chat', 'Chat')], default='email', max_length=16),
        ),
        migrations.AlterField(
            model_name='destination',
            name='user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='destination',
            index=models.Index(fields=['created_at', 'id'], name='destination_created'),
        ),
        migrations.AddConstraint(
            model_name='destination',
            constraint=models.UniqueConstraint(condition=models.Q(('address', '')), fields=('user', 'kind'), name='destination_of_the_account'),
        ),
        migrations.AddConstraint(
            model_name='destination',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('group__isnull', True), ('user__isnull', False)), models.Q(('group__isnull', False), ('user__isnull', True)), _connector='OR'), name='destination_of_one'),
        ),
        migrations.AddConstraint(
            model_name='destination',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('address', ''), _negated=True), models.Q(('kind', 'email'), ('user__isnull', False)), _connector='OR'), name='destination_has_an_address'),
        ),
        migrations.AddIndex(
            model_name='notification',
            index=models.Index(fields=['destination', 'created_at'], name='notification_destination'),
        ),
        migrations.AlterField(
            model_name='notification',
            name='destination',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='notifications', to='approvals.destination'),
        ),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
