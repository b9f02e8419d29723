"""The tables."""

from __future__ import annotations

import aforo.lib.clock
import aforo.lib.crypto
import aforo.lib.ids
import aforo.lib.models
import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        migrations.CreateModel(
            name='Tenant',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=120)),
                ('legal_name', models.CharField(blank=True, max_length=200)),
                ('address', models.TextField(blank=True, help_text='Printed on invoices, one line each.')),
                ('tax_id', models.CharField(blank=True, max_length=40, verbose_name='tax number')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='billing e-mail')),
                ('currency', models.CharField(default='USD', max_length=3)),
                ('timezone', models.CharField(default='UTC', max_length=64)),
                ('tax_label', models.CharField(default='Tax', max_length=40)),
                ('tax_rate', models.DecimalField(decimal_places=4, default=0, max_digits=7)),
                ('invoice_prefix', models.CharField(default='INV', max_length=12)),
                ('tag', models.CharField(default=aforo.lib.crypto.new_tag, editable=False, max_length=12, unique=True)),
                ('sandbox', models.BooleanField(default=False)),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('email', models.EmailField(max_length=254, unique=True)),
                ('name', models.CharField(blank=True, max_length=120)),
                ('is_active', models.BooleanField(default=True)),
                ('is_staff', models.BooleanField(default=False, editable=False)),
                ('theme', models.CharField(choices=[('system', 'Like the system'), ('light', 'Light'), ('dark', 'Dark')], default='system', max_length=6)),
                ('shortcuts', models.BooleanField(default=True, verbose_name='keyboard shortcuts')),
                ('totp_secret', models.CharField(blank=True, editable=False, max_length=255)),
                ('totp_confirmed_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('totp_last_step', models.BigIntegerField(default=0, editable=False)),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'ordering': ['email'],
            },
        ),
        migrations.CreateModel(
            name='JobSlot',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('job', models.CharField(max_length=80)),
                ('slot', models.DateTimeField()),
                ('started_at', models.DateTimeField(default=aforo.lib.clock.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('outcome', models.CharField(blank=True, max_length=300)),
            ],
            options={
                'ordering': ['-slot'],
                'constraints': [models.UniqueConstraint(fields=('job', 'slot'), name='core_job_slot_once')],
            },
        ),
        migrations.CreateModel(
            name='ServiceKey',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=120)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('last_four', models.CharField(editable=False, max_length=4)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=16), default=list, size=None)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='Invitation',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('email', models.EmailField(max_length=254)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('product_manager', 'Product manager'), ('finance', 'Finance'), ('operations', 'Operations'), ('viewer', 'Viewer'), ('developer', 'Developer')], max_length=16)),
                ('token_digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('expires_at', models.DateTimeField()),
                ('accepted_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('invited_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='OutboxMessage',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('customer_id', models.UUIDField()),
                ('version', models.BigIntegerField()),
                ('messages', models.JSONField()),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now)),
                ('published_at', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('published_at__isnull', True)), fields=['id'], name='core_outbox_unpublished')],
                'constraints': [models.UniqueConstraint(fields=('customer_id', 'version'), name='core_outbox_once')],
            },
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('severity', models.CharField(choices=[('ok', 'OK'), ('warn', 'Warning'), ('block', 'Blocked')], max_length=8)),
                ('kind', models.CharField(max_length=60)),
                ('text', models.CharField(max_length=300)),
                ('url', models.CharField(blank=True, max_length=300)),
                ('dedupe_key', models.CharField(max_length=200)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-created_at'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('resolved_at__isnull', True)), fields=('tenant', 'dedupe_key'), name='core_notification_open_once')],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('role', models.CharField(choices=[('owner', 'Owner'), ('product_manager', 'Product manager'), ('finance', 'Finance'), ('operations', 'Operations'), ('viewer', 'Viewer'), ('developer', 'Developer')], max_length=16)),
                ('customer_id', models.UUIDField(blank=True, null=True)),
                ('is_active', models.BooleanField(default=True)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['user__email'],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'user'), name='core_membership_once'), models.CheckConstraint(condition=models.Q(models.Q(('customer_id__isnull', False), ('role', 'developer')), models.Q(models.Q(('role', 'developer'), _negated=True), ('customer_id__isnull', True)), _connector='OR'), name='core_membership_developer_has_customer')],
            },
        ),
        migrations.CreateModel(
            name='IdempotencyKey',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('key', models.CharField(max_length=255)),
                ('endpoint', models.CharField(max_length=80)),
                ('body_hash', models.CharField(max_length=64)),
                ('status', models.PositiveSmallIntegerField()),
                ('response', models.JSONField()),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'endpoint', 'key'), name='core_idempotency_once')],
            },
        ),
        migrations.CreateModel(
            name='FxRate',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('base', models.CharField(max_length=3)),
                ('quote', models.CharField(max_length=3)),
                ('rate', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('valid_from', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['base', 'quote', '-valid_from'],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'base', 'quote', 'valid_from'), name='core_fx_once'), models.CheckConstraint(condition=models.Q(('rate__gt', 0)), name='core_fx_positive')],
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('actor_label', models.CharField(max_length=160)),
                ('action', models.CharField(max_length=60)),
                ('object_type', models.CharField(max_length=40)),
                ('object_id', models.CharField(max_length=64)),
                ('object_label', models.CharField(max_length=200)),
                ('changes', models.JSONField(default=dict)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('ip', models.GenericIPAddressField(null=True)),
                ('actor', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'verbose_name_plural': 'audit entries',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['tenant', '-id'], name='core_audit_feed'), models.Index(fields=['tenant', 'object_type', 'object_id'], name='core_audit_object')],
            },
        ),
    ]
