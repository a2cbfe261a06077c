"""Makes the Python environment and `.env` before any package is there; what the project does with them lives elsewhere.

Standard library only, and in words that Python 3.6 can parse, so that an old Python gets a sentence and no SyntaxError.
"""

import base64
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NoReturn, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
CONSTRAINTS = "constraints.txt"
REQUIREMENTS = {False: "requirements.txt", True: "requirements-dev.txt"}
MARKER = ".made-by-order-hub"
"""A file in every environment made here: only such a folder, or one with a `pyvenv.cfg`, is ever deleted."""
DATABASE_FILE = "db.sqlite3"

NO_NETWORK = re.compile(
    "NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Failed to establish a new connection|"
    "Temporary failure in name resolution|Name or service not known|getaddrinfo failed|nodename nor servname|"
    "Network is unreachable|Connection refused|Read timed out"
)


def say(sentence: str) -> None:
    """Tells the person at the terminal; standard output stays free for what the command prints."""
    print(sentence, file=sys.stderr, flush=True)


def stop(sentence: str) -> NoReturn:
    """Ends the program with exit code 1 and one sentence."""
    sys.exit(sentence)


# --- the Python that runs this


def check_python(version: Tuple[int, int] = (sys.version_info[0], sys.version_info[1])) -> None:
    """Stops with the command that mends it when this Python is older than 3.11."""
    if version >= OLDEST_PYTHON:
        return
    stop(f"Order Hub needs Python 3.11 or newer; this one is {version[0]}.{version[1]}. {_newer_python_hint()}")


def _newer_python_hint() -> str:
    script = " ".join([os.path.relpath(sys.argv[0])] + sys.argv[1:])
    for name in ("python3.13", "python3.12", "python3.11"):
        if shutil.which(name) and _python_version(Path(name)):
            return f"Run: {name} {script}"
    return "Install one: " + _install_command("python3.11 python3.11-venv", "python@3.12")


def _install_command(debian: str, brew: str) -> str:
    if sys.platform == "win32":
        return "winget install Python.Python.3.12 (then start with: py -3.12)"
    if sys.platform == "darwin":
        return "brew install " + brew
    sudo = "" if os.geteuid() == 0 else "sudo "
    if shutil.which("apt-get"):
        return sudo + "apt-get install " + debian
    if shutil.which("dnf"):
        return sudo + "dnf install python3.12"
    return "from your system's packages, or from python.org"


def _check_venv_module() -> None:
    if all(importlib.util.find_spec(name) for name in ("venv", "ensurepip")):
        return
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    stop(
        "This Python cannot make environments (venv or ensurepip is missing). Install them: "
        + _install_command(package, "python@3.12")
    )


# --- the environment


def venv_place() -> Path:
    """The folder of the environment: `.venv` in the project, or what HUB_VENV names."""
    return Path(os.environ.get("HUB_VENV") or ROOT / ".venv").expanduser().resolve()


def venv_python(place: "Optional[Path]" = None) -> Path:
    """The interpreter inside the environment; it may not exist yet."""
    place = place or venv_place()
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_environment(dev: bool) -> Path:
    """Makes or repairs the environment and installs the packages when they changed; gives its interpreter.

    Two calls at once are safe: the second waits for the first. With `dev` the packages for tests and linters come too.
    """
    check_python()
    place = venv_place()
    if not _is_ready(place, dev):
        with _one_at_a_time(place.with_name(place.name + ".lock")):
            if not _is_ready(place, dev):
                _make_environment(place)
                _install_packages(place, dev)
    return venv_python(place)


def _is_ready(place: Path, dev: bool) -> bool:
    stamp = _read_stamp(place)
    if not stamp or (dev and not stamp.get("dev")):
        return False
    version = _python_version(venv_python(place))
    return version is not None and stamp.get("wanted") == _fingerprint(version)


def _fingerprint(version: str) -> str:
    """Changes when the lists of packages or the interpreter change."""
    digest = hashlib.sha256(version.encode())
    for name in (*REQUIREMENTS.values(), CONSTRAINTS):
        digest.update((ROOT / name).read_text(encoding="utf-8").encode())
    return digest.hexdigest()


def _stamp_file(place: Path) -> Path:
    return place / ".order-hub-packages.json"


def _read_stamp(place: Path) -> "Dict[str, object]":
    try:
        found = json.loads(_stamp_file(place).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _python_version(python: Path) -> "Optional[str]":
    """The version of an interpreter, or None when it does not run."""
    return _ask(python, ["-I", "-S", "-c", "import sys; print('%d.%d.%d' % sys.version_info[:3])"])


def _ask(python: Path, arguments: "List[str]") -> "Optional[str]":
    try:
        command = [str(python)] + arguments
        answer = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.decode().strip() if answer.returncode == 0 else None


def _make_environment(place: Path) -> None:
    if _is_whole(place):
        return
    _check_venv_module()
    if place.exists():
        _remove_broken(place)
    say(f"Making the Python environment in {place} ...")
    place.mkdir(parents=True)
    (place / MARKER).touch()
    maker = getattr(sys, "_base_executable", None) or sys.executable
    command = [maker, "-m", "venv", str(place)]
    made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if made.returncode:
        stop(f"The environment in {place} could not be made: {made.stdout.decode(errors='replace').strip()}")


def _is_whole(place: Path) -> bool:
    version = _python_version(venv_python(place))
    if version is None or tuple(int(part) for part in version.split(".")[:2]) < OLDEST_PYTHON:
        return False
    return _ask(venv_python(place), ["-I", "-c", "import pip"]) is not None


def _remove_broken(place: Path) -> None:
    ours = (place / MARKER).exists() or (place / "pyvenv.cfg").exists()
    if not ours and (not place.is_dir() or any(place.iterdir())):
        stop(f"{place} exists and is not a Python environment: move it away, or name another folder in HUB_VENV.")
    say(f"The environment in {place} is broken or too old; making it again.")
    shutil.rmtree(str(place))


def _install_packages(place: Path, dev: bool) -> None:
    say(f"Installing the packages of {REQUIREMENTS[dev]} (the first time this takes a minute or two) ...")
    began = time.monotonic()
    with contextlib.suppress(FileNotFoundError):
        _stamp_file(place).unlink()
    log = place / "install.log"
    with open(str(log), "wb") as output:
        result = subprocess.run(
            _pip_command(place, dev),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_pip_environment(),
            cwd=str(ROOT),
            check=False,
        )
    if result.returncode:
        _stop_for(log)
    _write_stamp(place, dev)
    say(f"Packages are ready ({time.monotonic() - began:.0f} s).")


def _pip_command(place: Path, dev: bool) -> "List[str]":
    options = ["--no-input", "--disable-pip-version-check", "--retries", "3"]
    lists = ["-r", str(ROOT / REQUIREMENTS[dev]), "-c", str(ROOT / CONSTRAINTS)]
    return [str(venv_python(place)), "-m", "pip", "install"] + options + lists


def _pip_environment() -> "Dict[str, str]":
    """The caller's environment without what would send the packages somewhere else."""
    elsewhere = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in elsewhere}


def _stop_for(log: Path) -> NoReturn:
    text = log.read_text(encoding="utf-8", errors="replace")
    if NO_NETWORK.search(text):
        stop(
            "The packages could not be downloaded: the package index was not reached. Run this again when it is, "
            "set HTTPS_PROXY or PIP_INDEX_URL, or offline PIP_NO_INDEX=1 and PIP_FIND_LINKS=folder-with-wheels. "
            f"Details: {log}"
        )
    errors = [line for line in text.splitlines() if line.strip()][-15:]
    stop("\n".join(errors) + f"\nThe packages could not be installed; the whole story is in {log}" + _arm64_hint())


def _arm64_hint() -> str:
    """Some packages come without a build for ARM64 Windows, which runs those for x64."""
    if (platform.system(), platform.machine()) != ("Windows", "ARM64"):
        return ""
    return (
        "\nThis is ARM64 Windows: delete .venv, and start with an x64 Python instead, which runs here, too: "
        "winget install Python.Python.3.12 --architecture x64"
    )


def _write_stamp(place: Path, dev: bool) -> None:
    version = _python_version(venv_python(place)) or ""
    stamp = json.dumps({"wanted": _fingerprint(version), "dev": dev, "python": version})
    _stamp_file(place).write_text(stamp, encoding="utf-8")


# --- one at a time


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> "Iterator[None]":
    """Holds a lock on a file; the system frees it when the process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(str(path), "a+b") as handle:
        if not _try_lock(handle.fileno()):
            say("Another run is preparing this project; waiting for it ...")
            while not _try_lock(handle.fileno()):
                time.sleep(0.1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- .env


def _random_field_key() -> str:
    return "k1:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: "Dict[str, Tuple[str, Callable[[], str]]]" = {
    "SECRET_KEY": ("Django's signing key", lambda: secrets.token_urlsafe(48)),
    "FIELD_KEYS": ("encryption of stored secrets and PINs, newest key first", _random_field_key),
    "CODE_INDEX_KEY": ("finds a PIN without decrypting any", lambda: secrets.token_hex(32)),
    "API_KEY_PEPPER": ("mixed into the stored hashes of API keys", lambda: secrets.token_hex(32)),
}
"""What each secret is for, and how a random one is made."""


def random_secrets() -> "Dict[str, str]":
    """A fresh value for every secret that the settings demand."""
    return {name: make() for name, (_, make) in SECRETS.items()}


def ensure_env_file(root: Path) -> "List[str]":
    """Writes `.env` (mode 0600) with random keys, or appends those that an existing one lacks; gives the names written.

    A key with a value, in the file or in the process environment, is never replaced.
    """
    path = root / ".env"
    with _one_at_a_time(root / ".env.lock"):
        known = _env_values(path)
        missing = [name for name in SECRETS if not known.get(name) and not os.environ.get(name)]
        if missing:
            _check_data_has_no_keys(root, known, missing)
            _write_env(path, missing)
    return missing


def _env_values(path: Path) -> "Dict[str, str]":
    """The assignments of an `.env` file, read as django-environ reads them: the last one wins."""
    if not path.exists():
        return {}
    return dict(re.findall(r"^(?:export )?([A-Za-z_0-9]+)=(.*?)\s*$", path.read_text(encoding="utf-8"), re.MULTILINE))


def _check_data_has_no_keys(root: Path, known: "Dict[str, str]", missing: "List[str]") -> None:
    """Refuses to invent an encryption key beside a database that was written with another one."""
    folder = os.environ.get("HUB_DATA_DIR") or known.get("HUB_DATA_DIR") or "var"
    database = root / folder / DATABASE_FILE
    if "FIELD_KEYS" in missing and database.exists():
        stop(
            f"{database} was written with keys that are missing now: put the .env that belongs to it back into {root}, "
            "or move that file away to begin anew."
        )


def _write_env(path: Path, names: "List[str]") -> None:
    lines = "".join(f"# {SECRETS[name][0]}\n{name}={SECRETS[name][1]()}\n" for name in names)
    if path.exists():
        _append(path, lines)
        say(f"Added to {path}: {', '.join(names)}.")
    else:
        _create_private(path, "# Made by scripts/start.py; .env.example explains every variable.\n" + lines)
        say(f"Wrote {path} with random keys; keep a copy of it beside your backups.")


def _append(path: Path, lines: str) -> None:
    with open(str(path), "r+b") as handle:
        handle.seek(0, os.SEEK_END)
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            lines = lines if handle.read(1) == b"\n" else "\n" + lines
        handle.write(lines.encode())
        handle.flush()
        os.fsync(handle.fileno())


def _create_private(path: Path, text: str) -> None:
    """Creates a file that only its owner can read; it appears under its name whole or not at all."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(str(fresh), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(text.encode())
        handle.flush()
        os.fsync(handle.fileno())
    os.rename(str(fresh), str(path))


# --- hand over


def run_management_command(name: str) -> NoReturn:
    """Prepares, then becomes `manage.py NAME` with the arguments of this process."""
    check_python()
    ensure_environment(dev=False)
    ensure_env_file(ROOT)
    run([str(ROOT / "manage.py"), name, *sys.argv[1:]])


def run(arguments: "List[str]") -> NoReturn:
    """Continues as the environment's interpreter with these arguments; its exit code becomes this program's."""
    command = [str(venv_python())] + arguments
    old_path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT) if not old_path else str(ROOT) + os.pathsep + old_path
    os.environ.setdefault("PYTHONUTF8", "1")
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        os.execv(command[0], command)
    sys.exit(_run_as_child(command))


def _run_as_child(command: "List[str]") -> int:
    """Windows has no exec: waits for a child, which gets the same Ctrl-C and decides itself when it ends."""
    child = subprocess.Popen(command)
    while True:
        try:
            return child.wait()
        except KeyboardInterrupt:
            continue
