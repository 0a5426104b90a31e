"""Who works on a run, from what was asked for: --devices, --engine, and the environment that torchrun sets."""

import os
from dataclasses import dataclass

from ..backbones.engines import AUTO, names_of
from ..backbones.engines import ENGINES as ENCODERS
from ..common.system import check_count
from ..errors import OptionError, nearest
from .crew import Crew
from .ranks import Ranks

LOCAL, RAY = "local", "ray"
ENGINES = (LOCAL, RAY)


@dataclass(frozen=True)
class Engine:
    """What was asked for. None: not said."""

    name: str = LOCAL
    devices: str | None = None  # such as cuda:0,cuda:1 or cpu,cpu, or a number of processes
    address: str | None = None  # of a cluster of Ray that runs already
    actors: int | None = None
    cpus: float | None = None  # of each actor
    gpus: float | None = None


def split(said: str | None) -> tuple[str, str | None]:
    """What --engine says, such as "ray", "onnx" or "ray,onnx" -> (who works, what runs the encoders or None).

    Raises OptionError.
    """
    words = [word.strip() for word in (said or "").split(",") if word.strip()]
    workers = [word for word in words if word in ENGINES]
    encoders = [word for word in words if word not in ENGINES]
    for word in encoders:
        if not {*word.split("/")} <= {*ENCODERS, AUTO}:
            raise OptionError(f"there is no engine {word!r}", nearest(word, (*ENGINES, *ENCODERS, AUTO)))
    if len(workers) > 1 or len(encoders) > 1:
        what = f"--engine {said} names several of one kind"
        raise OptionError(what, "give one of the encoders, perhaps with ray, as in ray,onnx")
    names_of(encoders[0] if encoders else None)
    return next(iter(workers), LOCAL), next(iter(encoders), None)


def crew_of(engine: Engine, device: str = "auto") -> tuple[Crew, str]:
    """(who works, the device of this process). Raises OptionError for options that contradict each other."""
    if engine.name not in ENGINES:
        raise OptionError(f"there is no engine {engine.name!r}", nearest(engine.name, ENGINES))
    if engine.name == RAY:
        return _ray(engine, device), device
    given = [name for name in ("address", "actors", "cpus", "gpus") if getattr(engine, name) is not None]
    if given:
        word = {"address": "--address"}.get(given[0], f"--{given[0]}")
        raise OptionError(f"{word} came without --engine ray", "add --engine ray, or leave it out")
    return _local_crew(engine.devices, device)


def _ray(engine: Engine, device: str) -> Crew:
    from .cluster import Cluster
    from .joining import check_ray

    if engine.devices:
        raise OptionError("--devices came with --engine ray", "say --actors, --cpus and --gpus instead")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise OptionError("--engine ray came under torchrun", "use one of the two")
    check_ray()
    return Cluster(address=engine.address, actors=engine.actors, cpus=engine.cpus, gpus=engine.gpus)


def _local_crew(devices: str | None, device: str) -> tuple[Crew, str]:
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        if devices:
            raise OptionError(
                "--devices came under torchrun", "leave it out: torchrun says how many processes there are"
            )
        return Ranks([], rank == 0, rank, world), _own_device(device)
    if not devices:
        return Crew(), device
    if device != "auto":
        raise OptionError("--device and --devices came together", "leave one of them out")
    check_count("--devices", int(devices) if devices.isdigit() else 0)
    names = _numbered(int(devices)) if devices.isdigit() else [name.strip() for name in devices.split(",")]
    if not names or not all(names):
        raise OptionError(f"--devices {devices!r} names none", "give a list such as cuda:0,cuda:1, or a number")
    return Crew(names), names[0]


def _numbered(count: int) -> list[str]:
    import torch

    there = torch.cuda.device_count()
    if there and count > there:
        raise OptionError(f"{count} devices were asked for, {there} are there", f"give at most --devices {there}")
    return [f"cuda:{index}" for index in range(count)] if there else ["cpu"] * count


def _own_device(device: str) -> str:
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    return device
