"""docs/deploy/: each example parses, runs commands that exist, serves every queue once, and has the code's settings."""

from __future__ import annotations

import configparser
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from celery import Celery
from django.conf import settings
from gunicorn.config import Config  # type: ignore[import-untyped]

from apps.orders.monitoring import DISPATCH_THREADS, LANES_AT_ONCE, TOKEN_FOR
from apps.orders.reconciling.lines import BYTES_LIMIT
from tests.architecture.test_docs import MONITORING, problem_with, table

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "docs" / "deploy"
PAGE = (DEPLOY / "README.md").read_text()
QUEUES = {settings.CELERY_TASK_DEFAULT_QUEUE, *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values())}
SOFT = "REMAP_SIGTERM"


def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file, with what they inherit."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((DEPLOY / "compose.yml").read_text())["services"]
    return found


def units() -> dict[str, configparser.RawConfigParser]:
    """The services of systemd; an option that stands twice keeps all its values, one a line."""
    return {path.stem: read_unit(path) for path in sorted((DEPLOY / "systemd").glob("*.service"))}


def read_unit(path: Path) -> configparser.RawConfigParser:
    class Gathering(dict[str, Any]):
        def __setitem__(self, key: str, value: Any) -> None:
            if isinstance(value, list) and key in self:
                value = [*self[key], *value]
            super().__setitem__(key, value)

    parser = configparser.RawConfigParser(strict=False, dict_type=Gathering)
    parser.optionxform = str  # type: ignore[method-assign, assignment]
    parser.read(path)
    return parser


def processes() -> dict[str, list[str]]:
    """Every command of every example, by `file: name`, in words."""
    return {name: shlex.split(command.replace("%%", "%")) for name, command in _commands()}


def _commands() -> Iterator[tuple[str, str]]:
    for name, service in services().items():
        for n, part in enumerate(_parts(service["command"])):
            yield f"compose: {name} {n}", part
    for name, unit in units().items():
        for n, part in enumerate(unit["Service"]["ExecStart"].splitlines()):
            yield f"systemd: {name} {n}", part.removeprefix("/srv/hub/.venv/bin/")
    for line in (DEPLOY / "Procfile").read_text().splitlines():
        name, _, command = line.partition(": ")
        for n, part in enumerate(_parts(command)):
            yield f"Procfile: {name} {n}", part.removeprefix(f"{SOFT}=SIGQUIT ")


def _parts(command: str) -> list[str]:
    inside = re.sub(r'^sh -c "(.*)"$', r"\1", command)
    return inside.split(" && ")


def of_celery(kind: str) -> dict[str, list[str]]:
    return {name: words for name, words in processes().items() if words[0] == "celery" and kind in words}


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


class TestTheCommands:
    @pytest.mark.parametrize("name", [name for name, words in processes().items() if words[0] in ("python", "celery")])
    def test_exist_with_their_options(self, name: str) -> None:
        assert problem_with(processes()[name]) == ""

    @pytest.mark.parametrize("name", [name for name, words in processes().items() if words[0] == "gunicorn"])
    def test_of_the_web_server_are_understood_by_it(self, name: str) -> None:
        given = Config().parser().parse_args(processes()[name][1:])
        assert (given.args, given.config) == (["config.wsgi"], "docs/deploy/gunicorn.conf.py")

    def test_are_all_of_these(self) -> None:
        programs = {words[0] for words in processes().values()}
        assert programs == {"python", "celery", "gunicorn", "postgres", "valkey-server"}

    @pytest.mark.parametrize("example", ["compose", "systemd", "Procfile"])
    def test_begin_with_the_migrations(self, example: str) -> None:
        ours = [words for name, words in processes().items() if name.startswith(example)]
        assert ["python", "manage.py", "migrate"] in ours
        assert ["python", "manage.py", "setup_periodic_task"] in ours


@pytest.mark.parametrize("example", ["compose", "systemd", "Procfile"])
class TestTheWorkers:
    def test_serve_every_queue_once(self, example: str) -> None:
        served = [after(words, "-Q") for name, words in of_celery("worker").items() if name.startswith(example)]
        assert sorted(served) == sorted(QUEUES)

    def test_limit_countdowns_for_the_queue_check_alone(self, example: str) -> None:
        for name, words in of_celery("worker").items():
            extra = words[words.index("--") + 1 :] if "--" in words else []
            limited = ["worker.eta_task_limit=1000"] if after(words, "-Q") == "check" else []
            assert extra == limited or not name.startswith(example)

    def test_have_two_children_for_the_sweep_at_least(self, example: str) -> None:
        (sweep,) = (
            words for name, words in of_celery("worker").items() if after(words, "-Q") == "poll" and example in name
        )
        assert int(after(sweep, "--concurrency")) >= 2

    def test_are_beside_one_beat(self, example: str) -> None:
        assert len([name for name in of_celery("beat") if name.startswith(example)]) == 1


class TestTheLimitOfCountdowns:
    def test_is_what_celery_makes_of_the_words(self) -> None:
        app = Celery(set_as_current=False)
        app.config_from_cmdline(["worker.eta_task_limit=1000"], namespace="worker")
        assert app.conf.worker_eta_task_limit == 1000


class TestStopping:
    longest = settings.CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT

    def test_gives_workers_longer_than_their_soft_shutdown(self) -> None:
        for service in services().values():
            if " worker " in service["command"]:
                assert service["environment"][SOFT] == "SIGQUIT"
                assert int(service["stop_grace_period"].rstrip("s")) > self.longest
        for unit in units().values():
            if " worker " in unit["Service"]["ExecStart"]:
                assert unit["Service"]["Environment"] == f"{SOFT}=SIGQUIT"
                assert int(unit["Service"]["TimeoutStopSec"]) > self.longest
        lines = (DEPLOY / "Procfile").read_text().splitlines()
        assert [line for line in lines if " worker " in line and f" {SOFT}=SIGQUIT " not in line] == []


class TestCompose:
    def test_hands_its_settings_to_every_process_of_the_hub(self) -> None:
        known = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
        ours = [one for one in services().values() if one.get("image") == "order-hub"]
        assert len(ours) == 7
        for service in ours:
            assert set(service["environment"]) - {SOFT} <= known
            assert service["environment"]["PRODUCTION"] == "true"
            assert service["env_file"] == ".env"

    def test_keeps_messages_and_cleans_up_as_the_quick_start_says(self) -> None:
        valkey, postgres = (shlex.split(services()[name]["command"]) for name in ("valkey", "postgres"))
        assert (after(valkey, "--appendonly"), after(valkey, "--maxmemory-policy")) == ("yes", "noeviction")
        told = re.findall(r"SET (idle_in_transaction_session_timeout|autovacuum_naptime) = '(\d+s)'", MONITORING)
        assert [word for word in postgres if "=" in word] == [f"{name}={value}" for name, value in told]

    def test_image_holds_no_secret(self) -> None:
        copied = re.findall(r"^COPY (.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
        sources = {word for line in copied for word in line.split()}
        assert sources & {".", "*", ".env", "var"} == set()
        assert [name for name in sources if not (ROOT / name).exists()] == []


class TestSystemd:
    def test_target_wants_every_unit(self) -> None:
        wanted = read_unit(DEPLOY / "systemd" / "hub.target")["Unit"]["Wants"].split()
        assert sorted(wanted) == sorted(f"{name}.service" for name in units())

    def test_units_are_started_again_and_write_to_one_folder(self) -> None:
        lasting = [unit for name, unit in units().items() if name != "hub-migrate"]
        assert {unit["Service"]["Restart"] for unit in lasting} == {"always"}
        assert {unit["Service"]["ReadWritePaths"] for unit in lasting} == {"/srv/hub/var"}
        assert {unit["Unit"]["Requires"] for unit in lasting} == {"hub-migrate.service"}


class TestTheWebServers:
    gunicorn = runpy.run_path(str(DEPLOY / "gunicorn.conf.py"))
    nginx = (DEPLOY / "nginx.conf").read_text()

    def test_options_are_gunicorns(self) -> None:
        own = {name: value for name, value in self.gunicorn.items() if not name.startswith("__")}
        config = Config()
        for name, value in own.items():
            config.set(name, value)
        assert own["graceful_timeout"] < own["timeout"]

    def test_nginx_waits_longer_and_asks_the_same_address(self) -> None:
        (wait_s,) = re.findall(r"proxy_read_timeout (\d+)s;", self.nginx)
        assert int(wait_s) > self.gunicorn["timeout"]
        assert re.findall(r"^    server (\S+);", self.nginx, re.MULTILINE) == [self.gunicorn["bind"]]
        assert self.nginx.count("{") == self.nginx.count("}")

    def test_nginx_tells_the_headers_that_the_hub_reads_and_lets_statements_through(self) -> None:
        read = (ROOT / "apps" / "common" / "addresses.py").read_text()
        for header in re.findall(r"proxy_set_header (X-\S+)", self.nginx):
            assert (
                header in read
                or f"HTTP_{header.upper().replace('-', '_')}" in (ROOT / "config" / "settings.py").read_text()
            ), header
        (most,) = re.findall(r"client_max_body_size (\d+)m;", self.nginx)
        assert int(most) * 1024 * 1024 > BYTES_LIMIT

    def test_nginx_keeps_the_secret_addresses_out_of_its_log(self) -> None:
        (block,) = re.findall(r"location /hooks/ \{(.*?)\}", self.nginx, re.DOTALL)
        assert "access_log off;" in block


class TestPgBouncer:
    def test_is_in_transaction_mode(self) -> None:
        example = configparser.ConfigParser(comment_prefixes=(";",))
        example.read(DEPLOY / "pgbouncer.ini")
        assert example["pgbouncer"]["pool_mode"] == "transaction"


class TestThePage:
    @pytest.fixture
    def on_redis(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:6379/0")
        return runpy.run_path(str(ROOT / "config" / "settings.py"))

    def test_has_celerys_settings_as_they_are(self, on_redis: dict[str, Any]) -> None:
        first, second = re.findall(r"(?:^\| `.*\n)+", PAGE.partition("## Settings of Celery")[2], re.MULTILINE)[:2]
        told = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", first, re.MULTILINE))
        assert told == {name: repr(on_redis[f"CELERY_{name.upper()}"]) for name in told}
        assert len(told) == 12
        options = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", second, re.MULTILINE))
        assert options == {name: repr(value) for name, value in on_redis["CELERY_BROKER_TRANSPORT_OPTIONS"].items()}

    def test_names_every_process(self) -> None:
        told = {row[0].replace("worker ", "").strip("`") for row in table(PAGE, "The processes")}
        assert told == {name.removeprefix("hub-") for name in units()}

    def test_tells_the_figures_of_the_sweep(self) -> None:
        assert f"up to {DISPATCH_THREADS} for sending and {LANES_AT_ONCE} for asking" in PAGE
        assert f"loses after\n{TOKEN_FOR.total_seconds():.0f} seconds" in PAGE

    def test_names_metrics_that_exist(self) -> None:
        named = set(re.findall(r"`(hub_\w+)`", PAGE))
        assert named <= set(re.findall(r"`(hub_\w+)`", (ROOT / "docs" / "ALERTS.md").read_text()))
        assert len(named) >= 4
