"""What the tests against the simulator share. Such a module names its `DIALECT`."""

from collections.abc import Iterator

import pytest

from apps.simulator.client import SimulatorProcess


@pytest.fixture(scope="module")
def simulator(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    dialect = request.module.DIALECT
    with SimulatorProcess(tmp_path_factory.mktemp(dialect) / "truth.jsonl", dialect=dialect) as process:
        yield process


@pytest.fixture
def world(simulator: SimulatorProcess) -> Iterator[SimulatorProcess]:
    """The simulator, whose switches are afterwards as they were before."""
    switches = simulator.call("GET", "switches")
    yield simulator
    simulator.switch(**switches)
