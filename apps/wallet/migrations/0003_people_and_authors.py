"""One wallet per customer, a name on every change, and the tables of what people ask for."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from apps.common.triggers import append_only, restore


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("wallet", "0002_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ConfirmLimit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", models.CharField(max_length=3)),
                ("above_micros", models.BigIntegerField(null=True)),
                ("actor", models.CharField(max_length=80)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "wallet_confirm_limit",
            },
        ),
        migrations.CreateModel(
            name="CreditChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=120, unique=True)),
                ("before_micros", models.BigIntegerField()),
                ("after_micros", models.BigIntegerField()),
                ("reason", models.CharField(max_length=200)),
                ("actor", models.CharField(max_length=80)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "wallet_credit_change",
            },
        ),
        migrations.CreateModel(
            name="WalletRequest",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=64, unique=True)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("deposit", "deposit"),
                            ("withdrawal", "withdrawal"),
                            ("correction_up", "correction upwards"),
                            ("correction_down", "correction downwards"),
                            ("credit", "new credit limit"),
                        ],
                        max_length=16,
                    ),
                ),
                ("amount_micros", models.BigIntegerField()),
                ("currency", models.CharField(max_length=3)),
                ("reason", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "waits for a second person"), ("done", "done"), ("declined", "declined")],
                        max_length=8,
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("decided_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "wallet_request",
            },
        ),
        migrations.AlterField(
            model_name="account",
            name="kind",
            field=models.CharField(
                choices=[
                    ("customer", "customer wallet"),
                    ("held", "money held for open orders"),
                    ("revenue", "sales"),
                    ("cash", "money from and to outside"),
                    ("float", "our money at a provider"),
                    ("cost", "what delivered goods cost us"),
                    ("fx", "money changed into another currency"),
                    ("loss", "what we paid and could not charge"),
                ],
                max_length=12,
            ),
        ),
        migrations.AddConstraint(
            model_name="account",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "customer")), fields=("subject_id",), name="account_one_wallet_per_customer"
            ),
        ),
        restore(append_only("wallet_transfer")),
        migrations.AddConstraint(
            model_name="transfer",
            constraint=models.CheckConstraint(
                condition=models.Q(("subject_kind", "order"), models.Q(("actor", ""), _negated=True), _connector="OR"),
                name="transfer_names_an_order_or_an_author",
            ),
        ),
        restore(append_only("wallet_transfer")),
        migrations.AddField(
            model_name="confirmlimit",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.tenant"
            ),
        ),
        migrations.AddField(
            model_name="creditchange",
            name="account",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="credit_changes", to="wallet.account"
            ),
        ),
        migrations.AddField(
            model_name="walletrequest",
            name="asked_by",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="walletrequest",
            name="customer",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.customer"
            ),
        ),
        migrations.AddField(
            model_name="walletrequest",
            name="decided_by",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
        migrations.AddField(
            model_name="walletrequest",
            name="tenant",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.tenant"
            ),
        ),
        migrations.AddConstraint(
            model_name="confirmlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(("above_micros__isnull", True), ("above_micros__gte", 0), _connector="OR"),
                name="confirm_limit_not_negative",
            ),
        ),
        migrations.AddConstraint(
            model_name="confirmlimit",
            constraint=models.CheckConstraint(
                condition=models.Q(("actor", ""), _negated=True), name="confirm_limit_names_its_author"
            ),
        ),
        migrations.AddConstraint(
            model_name="creditchange",
            constraint=models.CheckConstraint(condition=models.Q(("after_micros__gte", 0)), name="credit_not_negative"),
        ),
        migrations.AddConstraint(
            model_name="creditchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("actor", ""), _negated=True), name="credit_change_names_its_author"
            ),
        ),
        migrations.AddIndex(
            model_name="walletrequest",
            index=models.Index(fields=["tenant", "status"], name="wallet_request_open"),
        ),
        migrations.AddConstraint(
            model_name="walletrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["pending", "done", "declined"])), name="wallet_request_status_known"
            ),
        ),
        migrations.AddConstraint(
            model_name="walletrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("amount_micros__gt", 0), models.Q(("amount_micros", 0), ("kind", "credit")), _connector="OR"
                ),
                name="wallet_request_amount_positive",
            ),
        ),
        migrations.AddConstraint(
            model_name="walletrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="wallet_request_has_a_reason"
            ),
        ),
        migrations.AddConstraint(
            model_name="walletrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decided_by__isnull", True),
                    models.Q(("decided_by", models.F("asked_by")), _negated=True),
                    _connector="OR",
                ),
                name="wallet_request_decided_by_another",
            ),
        ),
        migrations.AddConstraint(
            model_name="walletrequest",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("decided_at__isnull", True), ("decided_by__isnull", True)),
                    models.Q(
                        ("decided_at__isnull", False),
                        ("decided_by__isnull", False),
                        models.Q(("status", "pending"), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="wallet_request_pending_is_undecided",
            ),
        ),
    ]
