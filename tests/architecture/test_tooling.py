"""The scripts, the lists of packages and the sample environment keep their promises."""

import contextlib
import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import ModuleType

import psycopg2
import pytest
import redis
import tree_sitter_powershell
from cryptography.fernet import Fernet
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from tree_sitter import Language, Parser

from tests.servers import MissingServer, PostgresServer, ValkeyServer, find_valkey

ROOT = Path(__file__).resolve().parents[2]
SECRET_NAMES = ["SECRET_KEY", "FIELD_KEYS", "CODE_INDEX_KEY", "API_KEY_PEPPER"]
BOOTSTRAP_SCRIPTS = ["_bootstrap.py", "start.py", "test.py"]


def load_script(name: str) -> ModuleType:
    """A file of `scripts/` as a module; they are started by path and belong to no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bootstrap() -> ModuleType:
    return load_script("_bootstrap")


@pytest.fixture
def no_secrets_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process environment as a person has it, who keeps the secrets in `.env` alone."""
    for name in [*SECRET_NAMES, "HUB_DATA_DIR"]:
        monkeypatch.delenv(name, raising=False)


def values_of(path: Path) -> dict[str, str]:
    """The assignments in an env file."""
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if line and not line.startswith("#"))


class TestThePowerShellScript:
    path = ROOT / "scripts" / "start_monitoring.ps1"

    def test_parses(self) -> None:
        parser = Parser(Language(tree_sitter_powershell.language()))
        assert not parser.parse(self.path.read_bytes()).root_node.has_error

    def test_is_ascii_with_windows_line_ends(self) -> None:
        text = self.path.read_bytes()
        assert text.isascii()
        assert text.count(b"\n") == text.count(b"\r\n") > 0

    def test_passes_arguments_and_exit_code_on(self) -> None:
        text = self.path.read_text()
        assert text.count("$start @args") == 3
        assert text.count("exit $LASTEXITCODE") == 2
        assert "param" not in text  # so that -Production reaches start.py, which understands it


class TestTheShellScript:
    def test_passes_arguments_and_exit_code_on(self, tmp_path: Path) -> None:
        script = tmp_path / "start_monitoring.sh"
        script.write_bytes((ROOT / "scripts" / "start_monitoring.sh").read_bytes())
        (tmp_path / "start.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
        done = subprocess.run(["sh", str(script), "--port", "a b"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (7, "['--port', 'a b']\n")


@pytest.mark.usefixtures("no_secrets_set")
class TestTheEnvFile:
    def test_has_a_random_value_for_each_secret(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        assert bootstrap.ensure_env_file(tmp_path) == SECRET_NAMES
        values = values_of(tmp_path / ".env")
        key_id, _, key = values["FIELD_KEYS"].partition(":")
        assert key_id == "k1"
        assert Fernet(key).decrypt(Fernet(key).encrypt(b"pin")) == b"pin"
        assert [len(bytes.fromhex(values[name])) for name in ("CODE_INDEX_KEY", "API_KEY_PEPPER")] == [32, 32]
        assert len(values["SECRET_KEY"]) == 64

    def test_differs_each_time(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        for folder in (first, second):
            folder.mkdir()
            bootstrap.ensure_env_file(folder)
        assert not set(values_of(first / ".env").values()) & set(values_of(second / ".env").values())

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
    def test_is_readable_by_its_owner_alone(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        bootstrap.ensure_env_file(tmp_path)
        assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600

    def test_stays_as_it_is_the_second_time(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        bootstrap.ensure_env_file(tmp_path)
        before = (tmp_path / ".env").read_bytes()
        assert bootstrap.ensure_env_file(tmp_path) == []
        assert (tmp_path / ".env").read_bytes() == before

    def test_keeps_what_a_person_wrote(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        mine = b"# mine\nSECRET_KEY=kept\nFIELD_KEYS=\nLOG_FORMAT=json"
        (tmp_path / ".env").write_bytes(mine)
        assert bootstrap.ensure_env_file(tmp_path) == SECRET_NAMES[1:]
        assert (tmp_path / ".env").read_bytes().startswith(mine + b"\n# ")
        assert values_of(tmp_path / ".env")["SECRET_KEY"] == "kept"
        assert values_of(tmp_path / ".env")["FIELD_KEYS"].startswith("k1:")

    def test_leaves_out_what_the_environment_gives(
        self, bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FIELD_KEYS", "k9:from-a-vault")
        assert bootstrap.ensure_env_file(tmp_path) == ["SECRET_KEY", "CODE_INDEX_KEY", "API_KEY_PEPPER"]

    def test_is_not_invented_beside_a_database_written_with_other_keys(
        self, bootstrap: ModuleType, tmp_path: Path
    ) -> None:
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "db.sqlite3").touch()
        with pytest.raises(SystemExit, match=r"put the \.env that belongs to it back"):
            bootstrap.ensure_env_file(tmp_path)
        assert not (tmp_path / ".env").exists()


class TestAnOldPython:
    def test_gets_one_sentence(self, bootstrap: ModuleType) -> None:
        with pytest.raises(SystemExit) as stopped:
            bootstrap.check_python((3, 10))
        sentence = str(stopped.value)
        assert sentence.startswith("Order Hub needs Python 3.11 or newer; this one is 3.10. ")
        assert "\n" not in sentence

    def test_is_told_the_newer_python_at_hand(
        self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        newer = tmp_path / "python3.12"
        newer.write_text("#!/bin/sh\necho 3.12.1\n")
        newer.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [str(ROOT / "scripts" / "start.py"), "--port", "8001"])
        with pytest.raises(SystemExit, match=r"Run: python3\.12 scripts/start\.py --port 8001$"):
            bootstrap.check_python((3, 8))

    @pytest.mark.parametrize("name", BOOTSTRAP_SCRIPTS)
    def test_can_parse_what_tells_it(self, name: str) -> None:
        compile_for = "import ast, sys; ast.parse(open(sys.argv[1]).read(), feature_version=(3, 7))"
        subprocess.run([sys.executable, "-c", compile_for, str(ROOT / "scripts" / name)], check=True)

    def test_without_venv_is_told_the_command_that_mends_it(
        self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bootstrap.importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(bootstrap.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
        monkeypatch.setattr(bootstrap.sys, "platform", "linux")
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        with pytest.raises(SystemExit, match=rf"apt-get install {re.escape(package)}$"):
            bootstrap._check_venv_module()


class TestTheEnvironmentPlace:
    def test_never_deletes_a_folder_that_is_not_an_environment(
        self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        monkeypatch.setenv("HUB_VENV", str(tmp_path))
        with pytest.raises(SystemExit, match="is not a Python environment"):
            bootstrap.ensure_environment(dev=False)
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_is_ready_only_with_the_packages_that_are_wanted(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        python = bootstrap.venv_python(tmp_path)
        python.parent.mkdir()
        python.symlink_to(sys.executable)
        bootstrap._write_stamp(tmp_path, False)
        assert bootstrap._is_ready(tmp_path, False)
        assert not bootstrap._is_ready(tmp_path, True)
        stamp = json.loads(bootstrap._stamp_file(tmp_path).read_text())
        bootstrap._stamp_file(tmp_path).write_text(json.dumps({**stamp, "wanted": "other lists"}))
        assert not bootstrap._is_ready(tmp_path, False)

    def test_without_a_package_index_is_one_sentence(self, bootstrap: ModuleType, tmp_path: Path) -> None:
        log = tmp_path / "install.log"
        log.write_text("WARNING: Retrying after connection broken by 'NewConnectionError(...)'\nERROR: no version\n")
        with pytest.raises(SystemExit, match=r"^The packages could not be downloaded: [^\n]+$"):
            bootstrap._stop_for(log)

    def test_on_arm64_windows_is_told_which_python_runs(
        self, bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "install.log").write_text("ERROR: Failed building wheel for psycopg2-binary\n")
        with pytest.raises(SystemExit) as stopped:
            bootstrap._stop_for(tmp_path / "install.log")
        assert "ARM64" not in str(stopped.value)
        monkeypatch.setattr(bootstrap.platform, "system", lambda: "Windows")
        monkeypatch.setattr(bootstrap.platform, "machine", lambda: "ARM64")
        with pytest.raises(SystemExit, match=r"winget install Python\.Python\.3\.12 --architecture x64$"):
            bootstrap._stop_for(tmp_path / "install.log")


class TestStart:
    @pytest.mark.skipif(
        not (ROOT / "apps" / "ops" / "start.py").exists(),
        reason="apps.ops.start is not written",
    )
    def test_help_lists_the_options(self) -> None:
        command = [sys.executable, str(ROOT / "scripts" / "start.py"), "--help"]
        environment = {**os.environ, "HUB_VENV": sys.prefix}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        for option in ("--no-demo", "--port", "--data", "--check", "--seed", "--production", "--status", "--stop"):
            assert option in done.stdout


class TestTheChecks:
    @pytest.fixture
    def checks(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
        monkeypatch.syspath_prepend(ROOT / "scripts")
        yield importlib.import_module("_checks")
        for name in ("_checks", "_bootstrap"):
            del sys.modules[name]

    def test_have_the_linters_of_security(self, checks: ModuleType) -> None:
        assert {"bandit", "secrets"} <= {name for name, _ in checks.LINTERS}

    @pytest.mark.parametrize("line", ["== no tests ran in 0.1s ==", "3 skipped in 0.1s", "2 deselected in 1s", ""])
    def test_call_it_a_failure_when_no_test_was_executed(self, checks: ModuleType, line: str) -> None:
        assert not checks.require_tests(checks.Finished("pytest", 0, f"...\n{line}\n", 1.0)).is_good

    def test_count_executed_tests_in_the_closing_line(self, checks: ModuleType) -> None:
        finished = checks.Finished("pytest", 0, "...\n==== 1 passed, 2 skipped in 0.1s ====\n", 1.0)
        assert checks.require_tests(finished) == finished

    @pytest.mark.parametrize(("linter", "code", "summary"), [(0, 0, "All 3 checks passed."), (1, 1, "Failed: mypy.")])
    def test_end_with_the_closing_line_of_pytest(
        self, checks: ModuleType, capsys: pytest.CaptureFixture[str], linter: int, code: int, summary: str
    ) -> None:
        mypy = checks.Finished("mypy", linter, "", 1.0)
        sqlite = checks.Finished("pytest (SQLite)", 0, "dots\n== 2 passed in 1s ==\n", 1.0)
        postgres = checks.Finished("pytest (PostgreSQL)", 0, "dots\n== 9 passed in 3s ==\n", 3.0)
        assert checks.report([mypy], sqlite, postgres) == code
        assert capsys.readouterr().out.splitlines()[-2:] == [summary, "== 9 passed in 3s =="]

    @pytest.mark.parametrize(
        ("arguments", "expression"),
        [
            ([], "not slow and not smoke and not browser"),
            (["--full"], "not smoke and not browser"),
            (["--ci"], "not slow"),
            (["--ci", "--full"], ""),
        ],
    )
    def test_select_by_option(self, checks: ModuleType, arguments: list[str], expression: str) -> None:
        assert checks.selection(checks.parse(arguments)) == expression

    @pytest.mark.parametrize(
        ("arguments", "expression"),
        [
            ([], "not slow and not smoke and not browser"),
            (["--ci"], "not slow and not (smoke or browser)"),
            (["--ci", "--", "tests/chaos"], "not slow"),
        ],
    )
    def test_give_a_pytest_of_its_own_to_what_starts_processes(
        self, checks: ModuleType, arguments: list[str], expression: str
    ) -> None:
        assert checks.selection_on_postgres(checks.parse(arguments)) == expression

    @pytest.mark.parametrize(
        ("arguments", "has_pages"),
        [([], False), (["--ci"], False), (["--full"], True), (["--", "tests/functional/test_panel.py"], True)],
    )
    def test_leave_the_pages_to_postgresql_unless_everything_is_run(
        self, checks: ModuleType, arguments: list[str], has_pages: bool
    ) -> None:
        expression = checks.selection_on_sqlite(checks.parse(arguments))
        assert expression.startswith("both_databases and not postgres")
        assert ("not page" not in expression) == has_pages

    def test_give_a_second_try_in_ci_alone_and_to_no_search_for_rare_mistakes(
        self, checks: ModuleType, tmp_path: Path
    ) -> None:
        assert checks.tries(checks.parse(["--full"])) == []
        counted = "import pathlib\ncount = pathlib.Path(__file__ + '.runs')\n\ndef test_it():\n"
        counted += "    count.touch()\n    count.write_text(count.read_text() + 'x')\n"
        counted += "    assert count.read_text() == 'xx'\n"
        for folder in ("tests/proof", "tests/unit"):
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / f"test_{folder[6:]}.py").write_text(counted)
        options = [*checks.tries(checks.parse(["--ci"])), "-p", "no:django", "-p", "no:cacheprovider", "tests"]
        command = [sys.executable, "-m", "pytest", *options]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120)
        assert done.stdout.splitlines()[-1].startswith("=")
        assert "1 failed, 1 passed, 1 rerun" in done.stdout
        assert "test_proof.py::test_it" in done.stdout.rpartition("short test summary")[2]

    def test_hand_to_pytest_what_follows_the_dashes(self, checks: ModuleType) -> None:
        options = checks.parse(["--fast", "--", "-k", "money", "--ci"])
        assert (options.fast, options.ci, options.pytest) == (True, False, ["-k", "money", "--ci"])


class TestTheScanOfSecrets:
    planted = (
        "-----BEGIN RSA PRIVATE KEY-----\n" + "MIIEpAIBAAKCAQEA1234",
        "FIELD_KEYS=k1:" + "A" * 43 + "=",
        "SECRET_KEY='" + "q7" * 20 + "'",
        "aws = AKIA" + "Q" * 16,
        "ghp_" + "a1" * 18,
        "glpat-" + "a1" * 10,
        "xoxb-" + "1" * 24,
        "sk_live_" + "a1" * 12,
        "123456789:AA" + "h" * 33,
        "AIza" + "b" * 35,
    )
    """One of each kind, put together here so that this file holds none."""

    def test_finds_every_kind_and_tells_none(self, tmp_path: Path) -> None:
        secrets = load_script("_secrets")
        for number, text in enumerate(self.planted):
            (tmp_path / f"file{number}.txt").write_text(f"first line\n{text}\n")
        places = secrets.scan(tmp_path)
        assert [place.partition(": ")[0] for place in places] == [f"file{n}.txt:2" for n in range(len(self.planted))]
        assert {place.partition(": ")[2] for place in places} == set(secrets.KINDS)

    def test_leaves_out_what_is_there_to_hold_them(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text(self.planted[1])
        (tmp_path / "var").mkdir()
        (tmp_path / "var" / "log").write_text(self.planted[2])
        assert load_script("_secrets").scan(tmp_path) == []


class TestBandit:
    def test_finds_what_is_unsafe_with_the_settings_of_the_project(self, tmp_path: Path) -> None:
        (tmp_path / "unsafe.py").write_text("import subprocess\nsubprocess.run('ls ' + input(), shell=True)\n")
        command = [sys.executable, "-m", "bandit", "-q", "-ll", "-c", str(ROOT / "pyproject.toml"), "-r", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 1
        assert "B602" in done.stdout


class TestThrowAwayServers:
    def test_valkey_continues_after_a_power_cut(self) -> None:
        with ValkeyServer(durable=True) as server:
            redis.Redis.from_url(server.url).set("order", "placed")
            server.kill()
            server.start()
            assert redis.Redis.from_url(server.url).get("order") == b"placed"
        assert not server.folder.exists()

    def test_postgresql_continues_after_a_power_cut(self) -> None:
        with PostgresServer(durable=True) as server:
            database = server.create_database("shop")
            server.kill()
            server.start()
            with contextlib.closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT current_database(), current_setting('fsync'), current_setting('max_connections')"
                )
                assert cursor.fetchone() == ("shop", "on", "200")
        assert not server.folder.exists()

    def test_a_missing_program_is_a_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tests.servers._package_folders", lambda name: [])
        monkeypatch.setattr("shutil.which", lambda name: None)
        with pytest.raises(MissingServer, match="set TEST_REDIS_URL, or install Valkey"):
            find_valkey()


class TestTheSampleEnvironment:
    text = (ROOT / ".env.example").read_text()
    documented = frozenset(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE))

    def test_names_every_variable_that_the_settings_read(self) -> None:
        settings = ROOT / "config" / "settings.py"
        source = settings.read_text() if settings.exists() else ""
        read = set(re.findall(r"""\b(?:env(?:\.\w+)?|required|getenv|environ\.get)\(\s*["']([A-Z_]+)["']""", source))
        read -= {"DJANGO_SETTINGS_MODULE"}
        assert read - self.documented == set()

    def test_names_every_secret_and_gives_none(self, bootstrap: ModuleType) -> None:
        assert set(bootstrap.SECRETS) <= self.documented
        for name in bootstrap.SECRETS:
            assert re.search(rf"^#{name}=(k1:)?$", self.text, re.MULTILINE)


class TestTheConstraints:
    platforms = ("linux", "darwin", "win32")
    pythons = ("3.11.2", "3.11.9", "3.12.8", "3.13.1")

    @pytest.fixture
    def pins(self) -> dict[str, str]:
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        return dict(_pin(line) for line in lines if line and not line.startswith("#"))

    @pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
    def test_satisfy_the_ranges(self, name: str, pins: dict[str, str]) -> None:
        for requirement in _requirements_in(ROOT / name):
            pin = pins[canonicalize_name(requirement.name)]
            assert SpecifierSet(str(requirement.specifier)).contains(pin), requirement

    @pytest.mark.parametrize("python", pythons)
    @pytest.mark.parametrize("platform", platforms)
    def test_pin_everything_that_is_needed(self, platform: str, python: str, pins: dict[str, str]) -> None:
        environment = {
            "sys_platform": platform,
            "platform_system": {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[platform],
            "os_name": "nt" if platform == "win32" else "posix",
            "python_full_version": python,
            "python_version": python.rpartition(".")[0],
        }
        runtime, dev = (_requirements_in(ROOT / name) for name in ("requirements.txt", "requirements-dev.txt"))
        needed = set(_closure([*runtime, *dev], environment))
        assert needed - set(pins) == set()


def _pin(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    return canonicalize_name(name), version


def _requirements_in(path: Path) -> list[Requirement]:
    lines = (line.partition("  #")[0].strip() for line in path.read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


def _closure(wanted: list[Requirement], environment: dict[str, str]) -> Iterator[str]:
    """The names of these packages and of all that they need, where the markers fit the environment."""
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, "") for requirement in wanted]
    while todo:
        requirement, extra = todo.pop()
        if requirement.marker and not requirement.marker.evaluate({**environment, "extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        yield name
        for chosen in ("", *requirement.extras):
            if (name, chosen) not in seen:
                seen.add((name, chosen))
                todo += [(Requirement(line), chosen) for line in _requires(name)]


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # not for this platform; what it needs is read where it is installed
        return []
