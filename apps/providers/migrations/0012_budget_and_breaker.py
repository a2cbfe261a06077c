"""What workers share about the traffic to an account: the budget's two numbers, and the circuit breaker."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("providers", "0011_routing")]

    operations = [
        migrations.CreateModel(
            name="RateBudget",
            fields=[
                (
                    "integration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="providers.integration",
                    ),
                ),
                ("all_us", models.BigIntegerField(default=0)),
                ("ask_us", models.BigIntegerField(default=0)),
            ],
            options={"db_table": "providers_rate_budget"},
        ),
        migrations.CreateModel(
            name="Breaker",
            fields=[
                (
                    "integration",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="providers.integration",
                    ),
                ),
                ("failed_us", models.JSONField(default=list)),
                ("opened_at", models.DateTimeField(blank=True, null=True)),
                ("next_probe_at", models.DateTimeField(blank=True, null=True)),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "db_table": "providers_breaker",
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(
                            Q(("next_probe_at__isnull", True), ("opened_at__isnull", True)),
                            Q(("next_probe_at__isnull", False), ("opened_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="breaker_open_has_a_probe",
                    )
                ],
            },
        ),
    ]
