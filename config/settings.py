"""Every setting, read from the environment and the project's `.env`; the environment wins."""

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

from apps.common.logs import logging_config
from config.production import Chosen, refusals

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(BASE_DIR / ".env")


def required(name: str) -> str:
    """The value of a secret that has no default; says how to get one."""
    value: str = env.str(name, default="")
    if not value:
        raise ImproperlyConfigured(
            f"{name} is not set. Run `python3 scripts/start.py` once: it writes .env with random keys."
        )
    return value


DATA_DIR = Path(env.str("HUB_DATA_DIR", default=str(BASE_DIR / "var"))).resolve()
DATA_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = required("SECRET_KEY")
FIELD_KEYS = required("FIELD_KEYS")
CODE_INDEX_KEY = required("CODE_INDEX_KEY")
API_KEY_PEPPER = required("API_KEY_PEPPER")

PRODUCTION = env.bool("PRODUCTION", default=False)
PRODUCTION_ALLOWS = env.list("PRODUCTION_ALLOWS", default=[])

DEBUG = env.bool("DEBUG", default=False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
TRUSTED_PROXIES = env.int("TRUSTED_PROXIES", default=0)
SECURE_COOKIES = env.bool("SECURE_COOKIES", default=PRODUCTION and "http" not in PRODUCTION_ALLOWS)
SESSION_COOKIE_SECURE = SECURE_COOKIES
CSRF_COOKIE_SECURE = SECURE_COOKIES
SESSION_COOKIE_HTTPONLY = True
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if PRODUCTION and "http" not in PRODUCTION_ALLOWS:
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^(livez|readyz|statusz|metrics)$"]  # probes ask the process itself, without TLS
    SECURE_HSTS_SECONDS = env.int("HSTS_SECONDS", default=31_536_000)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    # The browsers' preload list is the owner's promise for the whole domain, not this host's.
    SILENCED_SYSTEM_CHECKS = ["security.W021"]
    if TRUSTED_PROXIES:  # without a proxy of ours anyone could send this header
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "apps.accounts",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_celery_results",
    "django_celery_beat",
    "django_structlog",
    "apps.common",
    "apps.journal",
    "apps.catalog",
    "apps.wallet",
    "apps.providers",
    "apps.orders",
    "apps.webhooks",
    "apps.panel",
    "apps.api",
    "apps.ops",
    "apps.proof",
]

MIDDLEWARE = [
    "apps.common.headers.SecurityHeaders",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "apps.accounts.middleware.PeopleMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["apps.accounts.backends.LimitedBackend"]
PASSWORD_RESET_TIMEOUT = 3600  # seconds that a mailed link is good for
LOGIN_URL = "panel:login"
LOGIN_REDIRECT_URL = "panel:orders"
LOGOUT_REDIRECT_URL = "panel:login"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
APPEND_SLASH = True

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- database: SQLite beside the code, or what DATABASE_URL names

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{DATA_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        # FULL: with NORMAL a power cut could lose the attempt that was written before the call.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
    }
    DATABASES["default"]["TEST"] = {"NAME": str(DATA_DIR / "test.sqlite3")}
else:
    DATABASES["default"]["OPTIONS"] = {
        # A server that is gone without a word, as after a failover, is missed within a minute and not after hours.
        "connect_timeout": 10,
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
        **DATABASES["default"].get("OPTIONS", {}),
    }
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = True  # PgBouncer in transaction mode keeps no session

# --- Celery: wake-ups only; the queue of record is the table `orders_due_check`

REDIS_URL = env.str("REDIS_URL", default="")
if PRODUCTION:
    _refused = refusals(
        Chosen(
            is_debug=DEBUG,
            allowed_hosts=ALLOWED_HOSTS,
            has_sqlite=DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3",
            has_broker=bool(REDIS_URL),
            has_secure_cookies=SECURE_COOKIES,
            keys={
                "SECRET_KEY": SECRET_KEY,
                "FIELD_KEYS": FIELD_KEYS,
                "CODE_INDEX_KEY": CODE_INDEX_KEY,
                "API_KEY_PEPPER": API_KEY_PEPPER,
            },
        ),
        PRODUCTION_ALLOWS,
    )
    if _refused:
        raise ImproperlyConfigured("\n- ".join(["PRODUCTION=true refuses to start:", *_refused]))
CELERY_BROKER_URL = REDIS_URL or "memory://"
CELERY_RESULT_BACKEND = "django-db"
CELERY_CACHE_BACKEND = "default"
CELERY_RESULT_EXTENDED = True
CELERY_TIMEZONE = "UTC"
CELERY_ENABLE_UTC = True
CELERY_TASK_SERIALIZER = "json"
CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_TRACK_STARTED = False
CELERY_TASK_TIME_LIMIT = 120
CELERY_TASK_SOFT_TIME_LIMIT = 90
CELERY_TASK_DEFAULT_QUEUE = "notify"
CELERY_TASK_ROUTES = {
    "apps.orders.tasks.dispatch_order": {"queue": "dispatch"},
    "apps.orders.tasks.check_order_status": {"queue": "check"},
    "apps.orders.tasks.check_pending_orders_batch": {"queue": "poll"},
    "apps.orders.tasks.run_bulk_actions": {"queue": "notify"},
    "apps.ops.tasks.heartbeat": {"queue": "poll"},
    "apps.providers.tasks.plan_syncs": {"queue": "notify"},
    "apps.providers.tasks.read_balances": {"queue": "notify"},
    "apps.providers.tasks.sync_catalogue": {"queue": "notify"},
    "apps.webhooks.tasks.follow_provider_webhooks": {"queue": "notify"},
    "apps.webhooks.tasks.deliver_events": {"queue": "notify"},
    "apps.webhooks.tasks.forget_delivered_events": {"queue": "notify"},
    "apps.orders.tasks.refresh_sandboxes": {"queue": "notify"},
}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BEAT_SCHEDULER = "apps.ops.beating:BeatingScheduler"
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, object] = (
    {
        "visibility_timeout": 600,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
        "socket_keepalive": True,
        "health_check_interval": 25,
        "socket_timeout": 30,
    }
    if REDIS_URL
    else {"polling_interval": 0.02}
)
DJANGO_STRUCTLOG_CELERY_ENABLED = True

# --- health, metrics, alerts

LOOP_SILENT_AFTER_S = env.int("LOOP_SILENT_AFTER_S", default=60)
PROCESS_SILENT_AFTER_S = env.int("PROCESS_SILENT_AFTER_S", default=15)
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
ALERT_EVERY_S = min(env.int("ALERT_EVERY_S", default=5), 15)
ALERT_OVERDUE_AFTER_S = env.int("ALERT_OVERDUE_AFTER_S", default=120)
ALERT_IN_DOUBT_AFTER_S = env.int("ALERT_IN_DOUBT_AFTER_S", default=1800)
ALERT_REVIEW_AFTER_S = env.int("ALERT_REVIEW_AFTER_S", default=14400)
ALERT_BREAKER_AFTER_S = env.int("ALERT_BREAKER_AFTER_S", default=120)
ALERT_TRANSACTION_AFTER_S = env.int("ALERT_TRANSACTION_AFTER_S", default=60)
ALERT_LANGUAGE = env.str("ALERT_LANGUAGE", default="en")
ALERT_DOCS_URL = env.str("ALERT_DOCS_URL", default="")
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])
ALERT_WEBHOOK_URL = env.str("ALERT_WEBHOOK_URL", default="")
ALERT_WEBHOOK_CHAT_ID = env.str("ALERT_WEBHOOK_CHAT_ID", default="")
ALERT_WEBHOOK_IS_LOCAL = env.bool("ALERT_WEBHOOK_IS_LOCAL", default=False)
EMAIL_HOST = env.str("EMAIL_HOST", default="localhost")
EMAIL_PORT = env.int("EMAIL_PORT", default=25)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=False)
EMAIL_TIMEOUT = 8
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="orderhub@localhost")

# --- events to customers

EVENTS_TO_LOCAL = env.bool("EVENTS_TO_LOCAL", default=False)

# --- languages, time, static files

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("ar", "العربية"), ("tr", "Türkçe")]
LOCALE_PATHS = [BASE_DIR / "apps" / "panel" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True

# --- logs

LOG_FORMAT = env.str("LOG_FORMAT", default="json" if PRODUCTION else "console")
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", default="")
LOGGING_CONFIG = None
LOGGING = logging_config(LOG_FORMAT, LOG_LEVEL)
