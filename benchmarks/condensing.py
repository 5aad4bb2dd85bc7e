"""`condense` as a whole in one process: against its bare step, or by the data's placement."""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import workers


def main(spec: dict[str, Any], folder: Path, steps: int, mode: str) -> dict[str, Any]:
    from dancejax.runs import backend

    backend.tune_allocator()
    backend.use_cores(spec["devices"])
    work, _ = workers.prepare_step(spec) if mode == "bare" else (None, None)
    ours, bare = [], []
    wait = 0.0
    rounds = 3 if mode == "bare" else 1
    for _ in range(rounds):
        ours_now, wait = _condense(spec, folder, steps)
        ours.append(ours_now)
        if work is not None:
            began = time.perf_counter()
            for _ in range(steps):
                work()
            bare.append((time.perf_counter() - began) / steps)
    result: dict[str, Any] = {"name": f"condense, data on {spec['placement']}"}
    result["median_s"] = statistics.median(ours)
    result["min_s"] = min(ours)
    if bare:
        result["bare_s"] = statistics.median(bare)
        result["overhead"] = statistics.median(a / b for a, b in zip(ours, bare, strict=True)) - 1
    else:
        result["wait_s"] = wait
    return result


def _condense(spec: dict[str, Any], folder: Path, steps: int) -> tuple[float, float]:
    import jax

    from dancejax import condensation, interpolate, methods, networks
    from dancejax.methods.base import ExpertPool
    from dancejax.runs import Run

    dataset = workers._random_dataset(spec["classes"], 4 * spec["batch"], spec["side"])
    network = networks.create("convnet", spec["classes"], dataset.image_shape, width=spec["width"])
    variables = [networks.init(network, jax.random.key(i), dataset.image_shape) for i in range(2)]
    pool = ExpertPool(interpolate.stack(variables[:1]), interpolate.stack(variables[1:]))
    method = methods.create("dance", network=network, batch_real=spec["batch"])
    workdir = Path(tempfile.mkdtemp(dir=folder))
    run = Run(workdir, progress=False, placement=spec["placement"], devices=spec["devices"])
    condensation.condense(method, dataset, ipc=spec["ipc"], steps=steps, experts=pool, run=run)
    measured = json.loads((workdir / "result.json").read_text())
    return measured["seconds_per_iteration"], measured["data_wait_seconds_per_iteration"]


if __name__ == "__main__":
    print(
        json.dumps(main(json.loads(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
    )
