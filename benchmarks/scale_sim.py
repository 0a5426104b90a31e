"""A cluster on paper: what stragglers, lost nodes and a slow store cost, against how many photos make a shard.

    python benchmarks/scale_sim.py [--photos 1000000] [--actors 100] [--seconds 0.1] [--seed 0]

Actors take shards from one queue. Each case takes one thing wrong: one actor of twenty works at a third of the pace;
every actor is lost once in two hours and is back after a minute, its shard is begun again; the store takes five seconds
for whatever it is asked. Photos differ in what they take (log-normal, sigma 0.5). What is printed is the wall time over
the time that the same photos would take if nothing were lost and all actors ended together.
"""

import argparse
import heapq
import json
from dataclasses import dataclass, replace

import numpy as np

SIZES = (16, 64, 256, 1024, 4096)  # photos in a shard


@dataclass(frozen=True)
class World:
    """How a cluster is; seconds."""

    photos: int
    actors: int
    seconds: float  # of a photo on one actor
    start: float = 30.0  # until an actor has its networks
    turn: float = 0.3  # from one shard to the next: asking, the first photo read, the last map written
    slow_share: float = 0.0  # of the actors
    slow_pace: float = 1 / 3
    loss: float | None = None  # mean time until an actor is lost
    back: float = 60.0  # until it is back, before it starts
    store: float = 0.1  # of the store, once a shard


CASES = {
    "calm": {},
    "stragglers": {"slow_share": 0.05},
    "lost nodes": {"loss": 2 * 3600.0},
    "slow store": {"store": 5.0},
    "all three": {"slow_share": 0.05, "loss": 2 * 3600.0, "store": 5.0},
}


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=1_000_000)
    parser.add_argument("--actors", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    calm = World(options.photos, options.actors, options.seconds)
    found = {
        name: [over_ideal(replace(calm, **changes), size, np.random.default_rng(options.seed)) for size in SIZES]
        for name, changes in CASES.items()
    }
    print(f"{'photos in a shard':<18}" + "".join(f"{size:>9}" for size in SIZES))
    for name, ratios in found.items():
        print(f"{name:<18}" + "".join(f"{ratio:>9.3f}" for ratio in ratios))
    print(json.dumps({"benchmark": "scale_sim", **vars(options), "sizes": SIZES, "over_ideal": found}))


def over_ideal(world: World, size: int, rng: np.random.Generator) -> float:
    """Wall time over that of the same photos, evenly shared by the same actors."""
    paces = np.ones(world.actors)
    paces[: round(world.slow_share * world.actors)] = world.slow_pace
    shards = shard_seconds(world, size, rng)
    return finished(world, shards, paces, rng) / (world.photos * world.seconds / paces.sum())


def shard_seconds(world: World, size: int, rng: np.random.Generator) -> list[float]:
    """What each shard takes an actor of ordinary pace: a sum of photos that differ, by its mean and deviation."""
    sizes = [min(size, world.photos - begun) for begun in range(0, world.photos, size)]
    deviation = world.seconds * float(np.sqrt(np.exp(0.25) - 1))  # log-normal of sigma 0.5
    return [max(0.0, float(rng.normal(world.seconds * own, deviation * own**0.5))) for own in sizes]


def finished(world: World, shards: list[float], paces: np.ndarray, rng: np.random.Generator) -> float:
    """When the last shard is done. An actor that is lost gives its shard back, and is back itself later."""
    todo = shards[::-1]
    free = [(world.start, actor) for actor in range(world.actors)]  # when each can begin its next shard
    heapq.heapify(free)
    returned: list[tuple[float, float]] = []  # (when, shard)
    end = 0.0
    while todo or returned:
        now, actor = heapq.heappop(free)
        if returned and (returned[0][0] <= now or not todo):
            given, shard = heapq.heappop(returned)
            now = max(now, given)
        else:
            shard = todo.pop()
        lasting = shard / paces[actor] + world.turn + world.store
        lost = rng.exponential(world.loss) if world.loss else np.inf
        if lost < lasting:
            heapq.heappush(returned, (now + lost, shard))
            heapq.heappush(free, (now + lost + world.back + world.start, actor))
        else:
            heapq.heappush(free, (now + lasting, actor))
            end = max(end, now + lasting)
    return end


if __name__ == "__main__":
    main()
