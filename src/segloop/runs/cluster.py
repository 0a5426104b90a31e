"""Runs on Ray: actors hold the networks, Ray Data hands them shards, the process that starts them keeps the record.

A shard is done by the same `work` as everywhere. Its outcomes are written where it is done, so that all nodes see one
disk; what travels are numbers of shards and a line for each that is done. An actor that is lost is begun anew, and the
shard in its hand is done again.
"""

import os
import platform
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..errors import MachineError, OptionError, PhotoWarning, SegloopError
from .crew import Crew, Stopped, Work, when
from .joining import Room, check_room, joined
from .told import Advance, Step
from .work import Portable, work

TRIES = 4  # of a shard whose actor is lost: one that kills its actor must not do so for ever
BLOCKS = 20_000  # lists of shards that Ray hands out, at most


@dataclass
class Cluster(Crew):
    """Actors on a cluster that runs already, or on one that is started on this machine for this work."""

    address: str | None = None  # None: RAY_ADDRESS, else a cluster of its own
    actors: int | None = None
    cpus: float | None = None  # of each actor
    gpus: float | None = None

    @property
    def helped(self) -> bool:
        """Always: this process does no shard."""
        return True

    @property
    def near(self) -> bool:
        """Models may have to be fetched on other machines."""
        return False

    @property
    def told(self) -> dict[str, Any]:
        """What the log of a run says of it."""
        return {"engine": "ray", "ray": version("ray"), "devices": []}

    def do(self, todo: Work, advance: Advance, stopped: Stopped = lambda: False) -> dict[str, float]:
        """Hand out all shards -> seconds by stage, summed over actors.

        Raises OptionError for actors that the cluster has no room for, what an actor raised, MachineError where Ray
        fails.
        """
        assert todo.portable is not None
        settings = todo.jobs[0].record.inputs["settings"]
        room = self._room(settings)
        with joined(self.address, room):
            import ray

            try:
                check_room(ray.cluster_resources(), room)
                return _hand_out(todo, todo.portable, settings["device"], room, advance, stopped)
            except ray.exceptions.RayError as error:
                raise _as_sentence(error) from error

    def _room(self, settings: Mapping[str, Any]) -> Room:
        """By default an actor has a GPU where the networks are on one, else the CPUs that its threads keep busy."""
        on_gpu = settings["device"] == "cuda"
        if self.gpus and not on_gpu:
            what = f"--gpus {self.gpus:g} came, and this process works on {settings['device']}"
            raise OptionError(what, "start it on a machine with a GPU: it settles the precision for all actors")
        gpus = self.gpus if self.gpus is not None else float(on_gpu)
        cpus = self.cpus if self.cpus is not None else (1.0 if on_gpu else float(settings["threads"]))
        return Room(self.actors, cpus, gpus)


class Actor:
    """Networks in a process of a cluster; each call does a shard."""

    def __init__(self, portable: Portable, device: str, ledger: Any) -> None:
        self.portable, self.device, self.ledger = portable, device, ledger
        self.opened: tuple[Any, Any] | None = None

    def __call__(self, shards: dict[str, Any]) -> dict[str, list[bytes]]:
        """{"shard": (1,) int64} -> lines, as `_hand_out` takes them; an error is a line, too."""
        import ray

        (shard,) = (int(number) for number in shards["shard"])
        times = ray.get(self.ledger.begin.remote(shard))
        if not times:
            return _lines([{"idle": f"{platform.node()} {os.getpid()}"}])
        try:
            if times > TRIES:
                what = f"shard {shard} was begun {TRIES} times, and its actor was lost each time"
                raise MachineError(what, "one of its photos may need more memory than there is; look at the node's log")
            steps: list[Step] = []
            heard: list[Warning] = []
            seconds = self._do(shard, steps, heard)
        except SegloopError as error:
            return _lines([{"error": error}])
        kept = [Step(0, step.run, step.kept) for step in steps if step.kept]
        whole = [Step(sum(step.images for step in steps)), *kept]
        said = [{"said": one} for one in heard]
        return _lines([*said, *({"step": step} for step in whole), {"seconds": seconds}])

    def _do(self, shard: int, steps: list[Step], heard: list[Warning]) -> dict[str, float]:
        from ..common.console import quiet_libraries

        if self.opened is None:
            quiet_libraries()
            self.opened = self.portable.jobs(self.device)
        jobs, memory = self.opened
        with warnings.catch_warnings(record=True) as caught:
            warnings.filterwarnings("always", category=PhotoWarning)
            seconds = work(jobs, [shard], steps.append, memory)
        heard += [one.message for one in caught if isinstance(one.message, PhotoWarning)]
        return seconds


class Ledger:
    """Which shards were begun how often, and whether the work is to stop; an actor of its own that all others ask."""

    def __init__(self) -> None:
        self.begun: Counter[int] = Counter()
        self.stopped = False

    def begin(self, shard: int) -> int:
        """How often a shard has been begun, this time included; 0 where it is not to be."""
        if self.stopped:
            return 0
        self.begun[shard] += 1
        return self.begun[shard]

    def stop(self) -> None:
        """Begin no other shard."""
        self.stopped = True


def _lines(lines: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Lines as a column that Ray Data carries: pickled, since a path or an error is no number."""
    import pickle

    return {"line": [pickle.dumps(line) for line in lines]}


def _hand_out(
    todo: Work, portable: Portable, device: str, room: Room, advance: Advance, stopped: Stopped
) -> dict[str, float]:
    """All shards through a pool of actors; Ray holds back what they are not ready for."""
    import pickle

    import ray
    from ray.data import ActorPoolStrategy, from_items

    actors = min(room.actors or max(1, room.fitting(ray.cluster_resources())), len(todo.todo))
    ledger: Any = ray.remote(num_cpus=0)(Ledger).remote()
    shards = from_items([{"shard": shard} for shard in todo.todo], override_num_blocks=min(len(todo.todo), BLOCKS))
    done = shards.map_batches(
        Actor,
        batch_size=1,
        fn_constructor_args=(portable, device, ledger),
        compute=ActorPoolStrategy(size=actors, max_tasks_in_flight_per_actor=2),
        num_cpus=room.cpus,
        num_gpus=room.gpus or None,
    )
    seconds: Counter[str] = Counter()
    idle: set[str] = set()
    with when(stopped, ledger.stop.remote):
        for row in done.iter_rows():
            line = pickle.loads(row["line"])
            if "error" in line:
                raise line["error"]
            if "said" in line:
                warnings.warn(line["said"], stacklevel=1)
            if "step" in line:
                advance(line["step"])
            seconds.update(line.get("seconds", {}))
            idle |= {line["idle"]} if "idle" in line else set()
            if len(idle) == actors:
                break  # nobody has anything in hand
    return {stage: round(spent, 3) for stage, spent in sorted(seconds.items())}


def _as_sentence(error: Exception) -> SegloopError:
    """What Ray says about a shard that cannot be done."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, SegloopError):
        return cause
    lines = [line.strip() for line in str(cause or error).splitlines() if line.strip()] or ["no reason given"]
    what = f"Ray stopped the work: {lines[-1][:300].rstrip('.')}"
    return MachineError(what, "run the same command again, it goes on where it stopped")
