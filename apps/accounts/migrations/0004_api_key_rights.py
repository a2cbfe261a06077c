"""What an API key may do, from where, how often and how signed; the budgets where there is no Redis."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import apps.accounts.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0003_repeat_window"),
    ]

    operations = [
        migrations.CreateModel(
            name="ApiBudget",
            fields=[
                ("id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("all_us", models.BigIntegerField(default=0)),
                ("ask_us", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "accounts_api_budget",
            },
        ),
        migrations.CreateModel(
            name="UsedNonce",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("nonce", models.CharField(max_length=64)),
                ("used_at", models.DateTimeField()),
            ],
            options={
                "db_table": "accounts_used_nonce",
            },
        ),
        migrations.AddField(
            model_name="apikey",
            name="allowed_ips",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="addresses and networks; none: from everywhere",
                validators=[apps.accounts.models.check_networks],
                verbose_name="may be used from",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="burst",
            field=models.PositiveSmallIntegerField(
                db_default=200,
                default=200,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="requests at once",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="rate_per_s",
            field=models.PositiveSmallIntegerField(
                db_default=50,
                default=50,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000),
                ],
                verbose_name="requests per second",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="replaced_by",
            field=models.OneToOneField(
                blank=True,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="replaces",
                to="accounts.apikey",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="scopes",
            field=models.JSONField(
                default=apps.accounts.models.every_scope,
                validators=[apps.accounts.models.check_scopes],
                verbose_name="may",
            ),
        ),
        migrations.AddField(
            model_name="apikey",
            name="sealed_signing_secret",
            field=models.TextField(blank=True, db_default="", default="", editable=False),
        ),
        migrations.AddField(
            model_name="tenant",
            name="api_burst",
            field=models.PositiveSmallIntegerField(
                db_default=1000,
                default=1000,
                validators=[django.core.validators.MinValueValidator(1)],
                verbose_name="API requests at once",
            ),
        ),
        migrations.AddField(
            model_name="tenant",
            name="api_rate_per_s",
            field=models.PositiveSmallIntegerField(
                db_default=200,
                default=200,
                help_text="of all keys of the shop together",
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(10000),
                ],
                verbose_name="API requests per second",
            ),
        ),
        migrations.AddConstraint(
            model_name="apikey",
            constraint=models.CheckConstraint(
                condition=models.Q(("burst__gte", 1), ("rate_per_s__gte", 1)), name="api_key_rate_above_zero"
            ),
        ),
        migrations.AddConstraint(
            model_name="tenant",
            constraint=models.CheckConstraint(
                condition=models.Q(("api_burst__gte", 1), ("api_rate_per_s__gte", 1)), name="shop_api_rate_above_zero"
            ),
        ),
        migrations.AddField(
            model_name="usednonce",
            name="key",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="+", to="accounts.apikey"
            ),
        ),
        migrations.AddIndex(
            model_name="usednonce",
            index=models.Index(fields=["used_at"], name="nonce_by_age"),
        ),
        migrations.AddConstraint(
            model_name="usednonce",
            constraint=models.UniqueConstraint(fields=("key", "nonce"), name="nonce_once_per_key"),
        ),
    ]
