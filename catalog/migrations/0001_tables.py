"""The tables."""

from __future__ import annotations

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models
import django.contrib.postgres.fields
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('core', '0001_tables'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Product',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=120)),
                ('code', models.SlugField(help_text='The id that events may carry.', max_length=60)),
                ('type', models.CharField(choices=[('STANDARD_API', 'Standard API'), ('AGENTIC_API', 'Agentic API'), ('AI_AGENT', 'AI agent'), ('MCP_SERVER', 'MCP server')], max_length=16)),
                ('description', models.TextField(blank=True)),
                ('features', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), blank=True, default=list, size=None)),
                ('self_reporting', models.BooleanField(default=False)),
                ('session_idle_s', models.PositiveIntegerField(default=600, verbose_name='idle after (s)')),
                ('session_expire_s', models.PositiveIntegerField(default=3600, verbose_name='expired after (s)')),
                ('max_call_s', models.PositiveIntegerField(default=900, verbose_name='longest call (s)')),
                ('archived_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Plan',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=120)),
                ('code', models.SlugField(max_length=60)),
                ('description', models.TextField(blank=True)),
                ('archived_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('product', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='plans', to='catalog.product')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Tool',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=120)),
                ('aliases', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=120), blank=True, default=list, size=None)),
                ('deprecated_at', models.DateTimeField(blank=True, null=True)),
                ('product', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='tools', to='catalog.product')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='CostRate',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('provider', models.CharField(max_length=60)),
                ('model', models.CharField(max_length=120)),
                ('unit', models.CharField(max_length=60)),
                ('amount', aforo.lib.models.MoneyField(decimal_places=12, help_text='Cost of one unit.', max_digits=38)),
                ('currency', models.CharField(default='USD', max_length=3)),
                ('source', models.CharField(choices=[('contract', 'Contract'), ('manual', 'Entered by hand'), ('invoice', "Provider's invoice"), ('library', 'Public price list')], max_length=10)),
                ('valid_from', models.DateTimeField()),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
                ('recorded_at', models.DateTimeField(default=aforo.lib.clock.now)),
                ('superseded_at', models.DateTimeField(blank=True, null=True)),
                ('tenant', models.ForeignKey(blank=True, editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['provider', 'model', 'unit', '-valid_from'],
                'indexes': [models.Index(fields=['model', 'unit'], name='catalog_cost_lookup')],
                'constraints': [models.CheckConstraint(condition=models.Q(('amount__gte', 0)), name='catalog_cost_not_negative')],
            },
        ),
        migrations.CreateModel(
            name='Metric',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('code', models.SlugField(max_length=60)),
                ('name', models.CharField(max_length=120)),
                ('description', models.TextField(blank=True)),
                ('aggregation', models.CharField(choices=[('count', 'Count of events'), ('sum', 'Sum'), ('max', 'Maximum'), ('min', 'Minimum'), ('avg', 'Average'), ('unique', 'Distinct values'), ('latest', 'Latest value')], max_length=8)),
                ('field', models.CharField(blank=True, max_length=80)),
                ('event_types', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=80), blank=True, default=list, help_text='Empty: every event type.', size=None)),
                ('unit', models.CharField(help_text='One of it, such as token.', max_length=40)),
                ('integer_only', models.BooleanField(default=False)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['code'],
                'constraints': [models.UniqueConstraint(fields=('tenant', 'code'), name='catalog_metric_code'), models.CheckConstraint(condition=models.Q(('aggregation', 'count'), models.Q(('field', ''), _negated=True), _connector='OR'), name='catalog_metric_has_field')],
            },
        ),
        migrations.CreateModel(
            name='PlanVersion',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('number', models.PositiveIntegerField()),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('published', 'Published'), ('retired', 'Retired')], default='draft', max_length=10)),
                ('currency', models.CharField(max_length=3)),
                ('body', models.JSONField()),
                ('limits', models.JSONField(blank=True, default=dict)),
                ('prorate', models.BooleanField(default=False)),
                ('published_at', models.DateTimeField(blank=True, null=True)),
                ('plan', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='catalog.plan')),
                ('published_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['plan', '-number'],
                'constraints': [models.UniqueConstraint(fields=('plan', 'number'), name='catalog_plan_version_number'), models.UniqueConstraint(condition=models.Q(('state', 'draft')), fields=('plan',), name='catalog_plan_one_draft')],
            },
        ),
        migrations.AddConstraint(
            model_name='product',
            constraint=models.UniqueConstraint(fields=('tenant', 'code'), name='catalog_product_code'),
        ),
        migrations.AddConstraint(
            model_name='plan',
            constraint=models.UniqueConstraint(fields=('tenant', 'code'), name='catalog_plan_code'),
        ),
        migrations.AddConstraint(
            model_name='tool',
            constraint=models.UniqueConstraint(fields=('product', 'name'), name='catalog_tool_name'),
        ),
    ]
