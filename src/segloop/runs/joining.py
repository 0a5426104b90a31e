"""A place in a cluster of Ray: whether Ray is there, room for actors, a cluster joined or one of its own."""

import contextlib
import logging
import os
import secrets
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from ..errors import MachineError, OptionError

LEAST = (2, 54)  # of Ray: from here on a token keeps strangers out
STORE = 128 * 2**20  # bytes of Ray's own memory on a cluster that is started here: only numbers go through it


def check_ray() -> None:
    """Raises OptionError where Ray is missing or too old."""
    try:
        found = version("ray")
        version("pyarrow")  # which ray alone comes without
    except PackageNotFoundError:
        raise OptionError("--engine ray needs Ray Data", "pip install 'segloop[ray]'") from None
    if tuple(int(part) for part in found.split(".")[:2]) < LEAST:
        least = ".".join(map(str, LEAST))
        raise OptionError(f"--engine ray came with Ray {found}, and it takes {least}", "pip install -U 'segloop[ray]'")


@dataclass(frozen=True)
class Room:
    """What actors take of a cluster."""

    actors: int | None  # None: as many as fit
    cpus: float  # of each
    gpus: float

    def fitting(self, resources: Mapping[str, float]) -> int:
        """How many actors a cluster has room for."""
        rooms = [resources.get(name, 0.0) // own for name, own in (("CPU", self.cpus), ("GPU", self.gpus)) if own]
        return int(min(rooms, default=1))


def check_room(resources: Mapping[str, float], room: Room) -> None:
    """Raises OptionError where a cluster has no room for the actors that were asked for."""
    wanted, there = room.actors or 1, room.fitting(resources)
    if there < wanted:
        each = f"{room.cpus:g} CPUs" + (f" and {room.gpus:g} GPUs" if room.gpus else "")
        has = f"{resources.get('CPU', 0):g} CPUs" + (f" and {resources.get('GPU', 0):g} GPUs" if room.gpus else "")
        what = f"the cluster has {has}, too few for {wanted} actors of {each}"
        raise OptionError(what, "say other --actors, --cpus or --gpus")


@contextlib.contextmanager
def joined(address: str | None, room: Room) -> Iterator[None]:
    """Part of a cluster: one that this process is in already, one with an address, or one of its own on loopback.

    Its own keeps strangers out with a token, since Ray listens on every interface whatever it is told; it ends with
    this process, however that ends. Ray takes SIGTERM for itself, and it is given back.
    """
    there = address or os.environ.get("RAY_ADDRESS")
    _set_up(alone=not there)
    import ray

    if ray.is_initialized():
        yield
        return
    own = {} if there else _own_cluster(room)
    heard = signal.getsignal(signal.SIGTERM)
    try:
        with _hushed():
            ray.init(address=there or "local", log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
        where = f"the cluster at {there} cannot be joined" if there else "Ray does not start on this machine"
        remedy = "look whether it runs, and at RAY_AUTH_TOKEN" if there else "run it without --engine ray"
        raise MachineError(f"{where} ({reason[:200]})", remedy) from error
    finally:
        with contextlib.suppress(ValueError, TypeError):  # not in the main thread: nothing was taken
            signal.signal(signal.SIGTERM, heard)
    try:
        yield
    finally:
        ray.shutdown()


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Nothing on stderr meanwhile: Ray's core says there how much it is going to say."""
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _set_up(alone: bool) -> None:
    """Ray's surroundings, where the user's environment does not say otherwise; some are read when it is imported.

    A cluster that is started here has a token that nobody else is told and no file keeps.
    """
    wanted = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
    wanted |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}  # actors that reserve no GPU may use one
    if alone and "RAY_AUTH_MODE" not in os.environ:
        wanted |= {} if "ray" in sys.modules else {"RAY_AUTH_MODE": "token"}  # else Ray is past reading it, and sets it
        wanted |= {} if "RAY_AUTH_TOKEN_PATH" in os.environ else {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in wanted.items():
        os.environ.setdefault(name, value)
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False


def _own_cluster(room: Room) -> dict[str, Any]:
    """What `ray.init` is told of a cluster that is started for this work."""
    count = room.actors or 1
    cores = max(os.cpu_count() or 1, int(count * room.cpus + 0.999) + 1)  # so that actors never wait for each other
    return {
        "num_cpus": cores,
        "include_dashboard": False,
        "object_store_memory": STORE,
        "_node_ip_address": "127.0.0.1",
    }
