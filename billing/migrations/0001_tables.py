"""The tables."""

from __future__ import annotations

import aforo.lib.clock
import aforo.lib.crypto
import aforo.lib.fields
import aforo.lib.ids
import aforo.lib.models
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('catalog', '0001_tables'),
        ('core', '0001_tables'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Customer',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=160)),
                ('external_id', models.CharField(blank=True, max_length=120)),
                ('legal_name', models.CharField(blank=True, max_length=200)),
                ('address', models.TextField(blank=True)),
                ('country', models.CharField(blank=True, max_length=2)),
                ('tax_id', models.CharField(blank=True, max_length=40, verbose_name='tax number')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='billing e-mail')),
                ('segment', models.CharField(blank=True, max_length=60)),
                ('currency', models.CharField(max_length=3)),
                ('timezone', models.CharField(default='UTC', max_length=64)),
                ('state', models.CharField(choices=[('active', 'Active'), ('suspended', 'Suspended')], default='active', max_length=10)),
                ('tax_rate', models.DecimalField(blank=True, decimal_places=4, max_digits=7, null=True)),
                ('spend_cap', aforo.lib.models.MoneyField(blank=True, decimal_places=12, max_digits=38, null=True)),
                ('tag', models.CharField(default=aforo.lib.crypto.new_tag, editable=False, max_length=12, unique=True)),
                ('account_manager', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Agent',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('kind', models.CharField(choices=[('app', 'App'), ('agent', 'Agent')], max_length=6)),
                ('agent_type', models.CharField(choices=[('CLAUDE', 'Claude'), ('GPT', 'GPT'), ('LANGCHAIN', 'LangChain'), ('CREWAI', 'CrewAI'), ('AUTOGEN', 'AutoGen'), ('CUSTOM', 'Custom')], default='CUSTOM', max_length=10)),
                ('name', models.CharField(max_length=120)),
                ('external_id', models.CharField(blank=True, max_length=120)),
                ('purpose', models.CharField(blank=True, max_length=300)),
                ('tier', models.CharField(blank=True, max_length=40)),
                ('state', models.CharField(choices=[('active', 'Running'), ('paused', 'Paused')], default='active', max_length=8)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='agents', to='billing.customer')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Credential',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('kind', models.CharField(choices=[('BEARER_TOKEN', 'Bearer token'), ('CLIENT_CREDENTIALS', 'Client id and secret')], max_length=20)),
                ('name', models.CharField(blank=True, max_length=120)),
                ('client_id', models.CharField(blank=True, max_length=40, null=True)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('hint', models.CharField(editable=False, max_length=40)),
                ('product_ids', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), blank=True, default=list, size=None)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('agent', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='credentials', to='billing.agent')),
                ('replaces', aforo.lib.fields.TenantForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replaced_by', to='billing.credential')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='credentials', to='billing.customer')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='BillingPeriod',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('start_at', models.DateTimeField()),
                ('end_at', models.DateTimeField()),
                ('timezone', models.CharField(max_length=64)),
                ('state', models.CharField(choices=[('open', 'Open'), ('closing', 'Closing'), ('finalised', 'Finalised')], default='open', max_length=10)),
                ('opened_at', models.DateTimeField(null=True)),
                ('closing_at', models.DateTimeField(null=True)),
                ('finalised_at', models.DateTimeField(null=True)),
                ('seal', models.CharField(blank=True, max_length=64)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='periods', to='billing.customer')),
            ],
            options={
                'ordering': ['customer', '-start_at'],
            },
        ),
        migrations.CreateModel(
            name='Invoice',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('kind', models.CharField(choices=[('period', 'Period')], default='period', max_length=8)),
                ('currency', models.CharField(max_length=3)),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('finalised', 'Issued'), ('void', 'Void')], default='draft', max_length=10)),
                ('number', models.CharField(blank=True, max_length=40, null=True)),
                ('seller', models.JSONField(default=dict)),
                ('buyer', models.JSONField(default=dict)),
                ('subtotal', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('credits_applied', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('tax_label', models.CharField(blank=True, max_length=40)),
                ('tax_rate', models.DecimalField(decimal_places=4, default=0, max_digits=7)),
                ('tax', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('total', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('due', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('issued_at', models.DateTimeField(blank=True, null=True)),
                ('due_on', models.DateField(blank=True, null=True)),
                ('pdf_digest', models.CharField(blank=True, max_length=64)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='invoices', to='billing.customer')),
                ('period', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='invoices', to='billing.billingperiod')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='InvoiceCounter',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('prefix', models.CharField(max_length=30)),
                ('last', models.PositiveBigIntegerField(default=0)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='LedgerBatch',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('version', models.BigIntegerField()),
                ('entry_count', models.PositiveIntegerField()),
                ('previous', models.CharField(blank=True, max_length=64)),
                ('digest', models.CharField(max_length=64)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'verbose_name_plural': 'ledger batches',
                'ordering': ['customer', 'version'],
            },
        ),
        migrations.CreateModel(
            name='Subscription',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('state', models.CharField(choices=[('active', 'Active'), ('paused', 'Paused'), ('cancelled', 'Cancelled')], default='active', max_length=10)),
                ('started_at', models.DateTimeField()),
                ('cancelled_at', models.DateTimeField(blank=True, null=True)),
                ('agent', aforo.lib.fields.TenantForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.agent')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='subscriptions', to='billing.customer')),
                ('product', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='subscriptions', to='catalog.product')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['started_at'],
            },
        ),
        migrations.CreateModel(
            name='InvoiceLine',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('position', models.PositiveIntegerField()),
                ('charge_key', models.CharField(max_length=80)),
                ('name', models.CharField(max_length=200)),
                ('quantity', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('unit', models.CharField(blank=True, max_length=40)),
                ('exact_amount', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('amount', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('steps', models.JSONField(default=list)),
                ('invoice', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='lines', to='billing.invoice')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('usage_period', aforo.lib.fields.TenantForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.billingperiod')),
                ('subscription', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.subscription')),
            ],
            options={
                'ordering': ['invoice', 'position'],
            },
        ),
        migrations.CreateModel(
            name='SubscriptionSnapshot',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('number', models.PositiveIntegerField()),
                ('effective_from', models.DateTimeField()),
                ('overrides', models.JSONField(blank=True, default=dict)),
                ('commitment', models.JSONField(blank=True, default=dict)),
                ('discounts', models.JSONField(blank=True, default=list)),
                ('timezone', models.CharField(max_length=64)),
                ('tzdata', models.CharField(max_length=20)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('plan_version', aforo.lib.fields.TenantForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='snapshots', to='catalog.planversion')),
                ('subscription', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='snapshots', to='billing.subscription')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['subscription', '-number'],
            },
        ),
        migrations.CreateModel(
            name='Team',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('name', models.CharField(max_length=120)),
                ('external_id', models.CharField(blank=True, max_length=120)),
                ('tier', models.CharField(blank=True, max_length=40)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='teams', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='LedgerEntry',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('usage', 'Usage'), ('recurring', 'Recurring'), ('reversal', 'Reversal'), ('reprice', 'Reprice'), ('adjustment', 'Adjustment'), ('rounding', 'Rounding')], max_length=10)),
                ('event_id', models.UUIDField(null=True)),
                ('version', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('amount', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('charge_keys', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=80), size=None)),
                ('quantities', django.contrib.postgres.fields.ArrayField(base_field=aforo.lib.models.MoneyField(decimal_places=12, max_digits=38), size=None)),
                ('amounts', django.contrib.postgres.fields.ArrayField(base_field=aforo.lib.models.MoneyField(decimal_places=12, max_digits=38), size=None)),
                ('steps', models.JSONField(default=list)),
                ('event_type', models.CharField(blank=True, max_length=80)),
                ('tool_name', models.CharField(blank=True, max_length=120)),
                ('session_id', models.UUIDField(null=True)),
                ('occurred_at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
                ('agent', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.agent')),
                ('billing_period', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='ledger', to='billing.billingperiod')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='ledger', to='billing.customer')),
                ('reverses', models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reversed_by', to='billing.ledgerentry')),
                ('tenant', models.ForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('usage_period', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.billingperiod')),
                ('subscription', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='ledger', to='billing.subscription')),
                ('snapshot', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.subscriptionsnapshot')),
                ('team', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.team')),
            ],
            options={
                'verbose_name_plural': 'ledger entries',
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='AgentGrant',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('valid_from', models.DateTimeField(default=aforo.lib.clock.now)),
                ('valid_to', models.DateTimeField(blank=True, null=True)),
                ('agent', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='grants', to='billing.agent')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('team', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.team')),
            ],
            options={
                'ordering': ['-valid_from'],
            },
        ),
        migrations.AddField(
            model_name='agent',
            name='team',
            field=aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='agents', to='billing.team'),
        ),
        migrations.CreateModel(
            name='UsageTotal',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('state', models.JSONField(default=dict)),
                ('currency', models.CharField(max_length=3)),
                ('spend', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('recurring', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('cost', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('cost_unknown_count', models.BigIntegerField(default=0)),
                ('event_count', models.BigIntegerField(default=0)),
                ('token_count', models.BigIntegerField(default=0)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='usage_totals', to='billing.customer')),
                ('period', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='usage_totals', to='billing.billingperiod')),
                ('snapshot', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.subscriptionsnapshot')),
                ('subscription', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='usage_totals', to='billing.subscription')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='Wallet',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('currency', models.CharField(max_length=3)),
                ('balance', aforo.lib.models.MoneyField(decimal_places=12, default=0, editable=False, max_digits=38)),
                ('overdraft_limit', aforo.lib.models.MoneyField(decimal_places=12, default=0, max_digits=38)),
                ('enforced', models.BooleanField(default=True)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='wallets', to='billing.customer')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
        ),
        migrations.CreateModel(
            name='CreditGrant',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('kind', models.CharField(choices=[('purchased', 'Purchased'), ('promotional', 'Promotional'), ('refill', 'Refill')], max_length=12)),
                ('title', models.CharField(max_length=160)),
                ('priority', models.PositiveSmallIntegerField(default=100)),
                ('amount', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('remaining', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('expired_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('granted_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('customer', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('wallet', aforo.lib.fields.TenantForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='grants', to='billing.wallet')),
            ],
            options={
                'ordering': ['priority', 'expires_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='WalletEntry',
            fields=[
                ('id', models.UUIDField(default=aforo.lib.ids.new_id, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=aforo.lib.clock.now, editable=False)),
                ('kind', models.CharField(choices=[('grant', 'Credit added'), ('burn', 'Usage'), ('expiry', 'Expired'), ('return', 'Returned')], max_length=8)),
                ('title', models.CharField(max_length=160)),
                ('amount', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('balance_after', aforo.lib.models.MoneyField(decimal_places=12, max_digits=38)),
                ('version', models.BigIntegerField()),
                ('billing_period_id', models.UUIDField(null=True)),
                ('actor_label', models.CharField(blank=True, max_length=160)),
                ('reason', models.CharField(blank=True, max_length=300)),
                ('customer', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.customer')),
                ('grant', aforo.lib.fields.TenantForeignKey(db_constraint=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='billing.creditgrant')),
                ('tenant', models.ForeignKey(db_index=False, editable=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
                ('wallet', aforo.lib.fields.TenantForeignKey(db_index=False, db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='billing.wallet')),
            ],
            options={
                'verbose_name_plural': 'wallet entries',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='CustomerBooks',
            fields=[
                ('customer', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='books', serialize=False, to='billing.customer')),
                ('version', models.BigIntegerField(default=0)),
                ('config_version', models.BigIntegerField(default=1)),
                ('projected_version', models.BigIntegerField(default=-1)),
                ('projected_config_version', models.BigIntegerField(default=-1)),
                ('changed_at', models.DateTimeField(default=aforo.lib.clock.now)),
                ('head', models.CharField(blank=True, default='', max_length=64)),
                ('parked_at', models.DateTimeField(blank=True, null=True)),
                ('parked_reason', models.CharField(blank=True, max_length=300)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='core.tenant')),
            ],
            options={
                'verbose_name_plural': 'customer books',
            },
        ),
        migrations.AddConstraint(
            model_name='customer',
            constraint=models.UniqueConstraint(condition=models.Q(('external_id', ''), _negated=True), fields=('tenant', 'external_id'), name='billing_customer_external_id'),
        ),
        migrations.AddConstraint(
            model_name='customer',
            constraint=models.CheckConstraint(condition=models.Q(('spend_cap__isnull', True), models.Q(('spend_cap__gte', 0), ('spend_cap__lte', 9000000000)), _connector='OR'), name='billing_customer_spend_cap_range'),
        ),
        migrations.AddIndex(
            model_name='credential',
            index=models.Index(fields=['client_id'], name='billing_cred_client_id'),
        ),
        migrations.AddConstraint(
            model_name='billingperiod',
            constraint=models.UniqueConstraint(fields=('customer', 'start_at'), name='billing_period_once'),
        ),
        migrations.AddConstraint(
            model_name='billingperiod',
            constraint=models.CheckConstraint(condition=models.Q(('end_at__gt', models.F('start_at'))), name='billing_period_forward'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(fields=('customer', 'currency', 'period', 'kind'), name='billing_invoice_once'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.UniqueConstraint(condition=models.Q(('number__isnull', False)), fields=('tenant', 'number'), name='billing_invoice_number'),
        ),
        migrations.AddConstraint(
            model_name='invoice',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('number__isnull', True), ('state', 'draft')), models.Q(models.Q(('state', 'draft'), _negated=True), ('number__isnull', False)), _connector='OR'), name='billing_invoice_numbered_when_issued'),
        ),
        migrations.AddConstraint(
            model_name='invoicecounter',
            constraint=models.UniqueConstraint(fields=('tenant', 'prefix'), name='billing_counter_once'),
        ),
        migrations.AddConstraint(
            model_name='ledgerbatch',
            constraint=models.UniqueConstraint(fields=('customer', 'version'), name='billing_batch_once'),
        ),
        migrations.AddConstraint(
            model_name='subscription',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'cancelled'), _negated=True), fields=('customer', 'product', 'agent'), name='billing_subscription_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.UniqueConstraint(fields=('invoice', 'position'), name='billing_line_position'),
        ),
        migrations.AddConstraint(
            model_name='invoiceline',
            constraint=models.UniqueConstraint(fields=('invoice', 'subscription', 'charge_key', 'usage_period'), name='billing_line_once', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='subscriptionsnapshot',
            constraint=models.UniqueConstraint(fields=('subscription', 'number'), name='billing_snapshot_number'),
        ),
        migrations.AddConstraint(
            model_name='subscriptionsnapshot',
            constraint=models.UniqueConstraint(fields=('subscription', 'effective_from'), name='billing_snapshot_instant'),
        ),
        migrations.AddConstraint(
            model_name='team',
            constraint=models.UniqueConstraint(fields=('customer', 'name'), name='billing_team_name'),
        ),
        migrations.AddConstraint(
            model_name='team',
            constraint=models.UniqueConstraint(condition=models.Q(('external_id', ''), _negated=True), fields=('tenant', 'external_id'), name='billing_team_external_id'),
        ),
        migrations.AddIndex(
            model_name='ledgerentry',
            index=models.Index(fields=['customer', 'billing_period'], name='billing_ledger_period'),
        ),
        migrations.AddIndex(
            model_name='ledgerentry',
            index=models.Index(fields=['customer', 'version'], name='billing_ledger_batch'),
        ),
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.UniqueConstraint(condition=models.Q(('kind__in', ['usage', 'adjustment'])), fields=('event_id',), name='billing_ledger_event_once'),
        ),
        migrations.AddConstraint(
            model_name='ledgerentry',
            constraint=models.UniqueConstraint(condition=models.Q(('reverses__isnull', False)), fields=('reverses',), name='billing_ledger_reversed_once'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(fields=('team', 'name'), name='billing_agent_name'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(condition=models.Q(('external_id', ''), _negated=True), fields=('tenant', 'external_id'), name='billing_agent_external_id'),
        ),
        migrations.AddConstraint(
            model_name='usagetotal',
            constraint=models.UniqueConstraint(fields=('customer', 'subscription', 'snapshot', 'period'), name='billing_usage_total_once'),
        ),
        migrations.AddConstraint(
            model_name='wallet',
            constraint=models.UniqueConstraint(fields=('customer', 'currency'), name='billing_wallet_once'),
        ),
        migrations.AddConstraint(
            model_name='wallet',
            constraint=models.CheckConstraint(condition=models.Q(('balance__gte', django.db.models.expressions.CombinedExpression(models.F('overdraft_limit'), '*', models.Value(-1)))), name='billing_wallet_not_overdrawn'),
        ),
        migrations.AddConstraint(
            model_name='wallet',
            constraint=models.CheckConstraint(condition=models.Q(('overdraft_limit__gte', 0)), name='billing_wallet_overdraft_positive'),
        ),
        migrations.AddConstraint(
            model_name='creditgrant',
            constraint=models.CheckConstraint(condition=models.Q(('remaining__gte', 0), ('remaining__lte', models.F('amount'))), name='billing_grant_remaining_range'),
        ),
        migrations.AddIndex(
            model_name='walletentry',
            index=models.Index(fields=['wallet', '-id'], name='billing_wallet_feed'),
        ),
    ]
