"""The tables."""

from __future__ import annotations

import aforo.lib.clock
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models
import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('billing', '0001_tables'),
        ('catalog', '0001_tables'),
        ('core', '0001_tables'),
    ]

    operations = [
        migrations.CreateModel(
            name='UsageEvent',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('event_id', models.CharField(max_length=300)),
                ('body_hash', models.BinaryField()),
                ('event_type', models.CharField(max_length=80)),
                ('tool_name', models.CharField(blank=True, max_length=120)),
                ('status', models.CharField(blank=True, max_length=16)),
                ('request_id', models.CharField(blank=True, max_length=255)),
                ('correlation_id', models.CharField(blank=True, max_length=255)),
                ('session_key', models.CharField(blank=True, max_length=255)),
                ('occurred_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
                ('flags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=24), default=list, size=None)),
                ('body', models.JSONField()),
                ('agent', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='billing.agent')),
                ('credential', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.credential')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='events', to='billing.customer')),
                ('product', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.product')),
                ('team', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.team')),
                ('tenant', models.ForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Unrateable',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('reason', models.CharField(choices=[('unknown_metric', 'No metric uses a measurement'), ('no_subscription', 'No subscription at that time'), ('ambiguous_product', 'Several products and none named'), ('unknown_product', 'The product is not known'), ('inconsistent_measurements', 'The measurements contradict'), ('unknown_cost', 'The price needs a cost that is not known'), ('negative_quantity', 'A quantity is negative'), ('too_precise', 'A quantity has too many decimals'), ('number_out_of_range', 'A quantity is too large'), ('invalid_property', 'A property cannot be counted'), ('too_many_unique', 'Too many distinct values'), ('usage_not_read', "The provider's usage block is not known"), ('quarantined', 'Rating it failed')], max_length=32)),
                ('detail', models.CharField(blank=True, max_length=300)),
                ('resolved_at', models.DateTimeField(blank=True, null=True)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('event', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='unrateable', to='metering.usageevent')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='EventConflict',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('event_id', models.CharField(max_length=300)),
                ('body_hash', models.BinaryField()),
                ('attempts', models.PositiveIntegerField(default=1)),
                ('last_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('first_event', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='conflicts', to='metering.usageevent')),
            ],
            options={
                'ordering': ['-last_at'],
            },
        ),
        migrations.CreateModel(
            name='CostFact',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('original', 'At event time'), ('delta', 'Corrected rate')], default='original', max_length=8)),
                ('provider', models.CharField(blank=True, max_length=60)),
                ('model', models.CharField(blank=True, max_length=120)),
                ('currency', models.CharField(max_length=3)),
                ('amount', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38, null=True)),
                ('lines', models.JSONField(default=list)),
                ('unknown', models.CharField(blank=True, max_length=200)),
                ('reported', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38, null=True)),
                ('occurred_at', models.DateTimeField()),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('event', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='costs', to='metering.usageevent')),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='UsageRollup',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('hour', models.DateTimeField()),
                ('product_id', models.UUIDField(null=True)),
                ('agent_id', models.UUIDField(null=True)),
                ('event_type', models.CharField(max_length=80)),
                ('model', models.CharField(blank=True, max_length=120)),
                ('tool_name', models.CharField(blank=True, max_length=120)),
                ('currency', models.CharField(max_length=3)),
                ('event_count', models.BigIntegerField(default=0)),
                ('error_count', models.BigIntegerField(default=0)),
                ('input_tokens', models.BigIntegerField(default=0)),
                ('output_tokens', models.BigIntegerField(default=0)),
                ('cache_read_tokens', models.BigIntegerField(default=0)),
                ('duration_ms', models.BigIntegerField(default=0)),
                ('revenue', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('cost', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('cost_unknown_count', models.BigIntegerField(default=0)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='PendingEvents',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('event_ids', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), size=None)),
                ('received_at', models.DateTimeField()),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'verbose_name_plural': 'pending events',
                'indexes': [models.Index(fields=['customer', 'id'], name='metering_pending_queue'), models.Index(fields=['received_at'], name='metering_pending_age')],
            },
        ),
        migrations.CreateModel(
            name='Session',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('key', models.CharField(max_length=255)),
                ('state', models.CharField(choices=[('active', 'Active'), ('idle', 'Idle'), ('paused', 'Paused'), ('expired', 'Expired'), ('completed', 'Completed'), ('failed', 'Failed')], default='active', max_length=10)),
                ('started_at', models.DateTimeField()),
                ('last_event_at', models.DateTimeField()),
                ('last_received_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('event_count', models.PositiveIntegerField(default=0)),
                ('tool_invocation_count', models.PositiveIntegerField(default=0)),
                ('error_count', models.PositiveIntegerField(default=0)),
                ('input_tokens', models.BigIntegerField(default=0)),
                ('output_tokens', models.BigIntegerField(default=0)),
                ('total_duration_ms', models.BigIntegerField(default=0)),
                ('currency', models.CharField(max_length=3)),
                ('price', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('cost', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('cost_unknown_count', models.PositiveIntegerField(default=0)),
                ('agent', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='sessions', to='billing.agent')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='sessions', to='billing.customer')),
                ('product', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='catalog.product')),
                ('team', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.team')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-started_at'],
                'indexes': [models.Index(fields=['tenant', '-started_at'], name='metering_session_feed'), models.Index(condition=models.Q(('state__in', ['active', 'idle'])), fields=['last_received_at'], name='metering_session_open')],
                'constraints': [models.UniqueConstraint(fields=('customer', 'key'), name='metering_session_once')],
            },
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(fields=['tenant', '-id'], name='metering_event_newest'),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(fields=['customer', '-id'], name='metering_event_feed'),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(condition=models.Q(('correlation_id', ''), _negated=True), fields=['customer', 'correlation_id'], name='metering_event_correlation'),
        ),
        migrations.AddIndex(
            model_name='usageevent',
            index=models.Index(condition=models.Q(('session_key', ''), _negated=True), fields=['customer', 'session_key'], name='metering_event_session'),
        ),
        migrations.AddConstraint(
            model_name='usageevent',
            constraint=models.UniqueConstraint(fields=('tenant', 'event_id'), name='metering_event_once'),
        ),
        migrations.AddIndex(
            model_name='unrateable',
            index=models.Index(condition=models.Q(('resolved_at__isnull', True)), fields=['tenant', '-id'], name='metering_unrateable_open'),
        ),
        migrations.AddConstraint(
            model_name='eventconflict',
            constraint=models.UniqueConstraint(fields=('first_event', 'body_hash'), name='metering_conflict_once'),
        ),
        migrations.AddConstraint(
            model_name='costfact',
            constraint=models.UniqueConstraint(condition=models.Q(('kind', 'original')), fields=('event',), name='metering_cost_once'),
        ),
        migrations.AddIndex(
            model_name='usagerollup',
            index=models.Index(fields=['tenant', 'hour'], name='metering_rollup_range'),
        ),
        migrations.AddConstraint(
            model_name='usagerollup',
            constraint=models.UniqueConstraint(fields=('customer', 'hour', 'product_id', 'agent_id', 'event_type', 'model', 'tool_name', 'currency'), name='metering_rollup_once', nulls_distinct=False),
        ),
    ]
