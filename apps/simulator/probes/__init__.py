"""The one table of probes, one for each dialect."""

from __future__ import annotations

from apps.simulator.probe import Probe
from apps.simulator.probes import (
    client_api,
    digiflazz,
    reloadly,
    smm_v2,
    znet,
    znet_tl,
)

PROBES: dict[str, Probe] = {
    "znet": znet.PROBE,
    "znet_tl": znet_tl.PROBE,
    "client_api": client_api.PROBE,
    "smm_v2": smm_v2.PROBE,
    "reloadly": reloadly.PROBE,
    "digiflazz": digiflazz.PROBE,
}
