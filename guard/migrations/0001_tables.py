"""The tables."""

from __future__ import annotations

import aforo.lib.clock
import aforo.lib.ids
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('core', '0001_tables'),
    ]

    operations = [
        migrations.CreateModel(
            name='Decision',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('customer_id', models.UUIDField(null=True)),
                ('agent_id', models.UUIDField(null=True)),
                ('credential_id', models.UUIDField(null=True)),
                ('decision', models.CharField(max_length=10)),
                ('reason_code', models.CharField(blank=True, max_length=60)),
                ('degraded', models.BooleanField(default=False)),
                ('request_id', models.CharField(blank=True, max_length=255)),
                ('inputs', models.JSONField(default=dict)),
                ('checks', models.JSONField(default=list)),
                ('latency_us', models.PositiveIntegerField(null=True)),
                ('decided_at', models.DateTimeField()),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['tenant', '-id'], name='guard_decision_feed'), models.Index(fields=['tenant', 'customer_id', '-id'], name='guard_decision_customer')],
            },
        ),
        migrations.CreateModel(
            name='DoorCount',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('minute', models.DateTimeField()),
                ('allowed', models.PositiveBigIntegerField(default=0)),
                ('throttled', models.PositiveBigIntegerField(default=0)),
                ('denied', models.PositiveBigIntegerField(default=0)),
                ('degraded', models.PositiveBigIntegerField(default=0)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('tenant', 'minute'), name='guard_door_count_once')],
            },
        ),
    ]
