"""A step of training a ConvNet part by part, beside what the machine can do at most.

    python -m benchmarks --only=parts --widths=32,128

One process on one core; processor time, medians of rounds in which the parts take turns. A part is
computed block by block, as in the step, on inputs that are already there: what it costs in the step
beside that, XLA may fuse away or add. Operations of convolutions are counted as direct ones;
bytes are those of a part's inputs and outputs, each once.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

BATCH, SIDE, IMAGES = 64, 32, 5000


class Part(NamedTuple):
    """Something to be timed.

    Attributes:
      name: what it is.
      run: computes it for `images` images.
      images: how many; 0 for a peak.
      flops: multiplications and additions in a run.
      bytes: read and written in a run.
      whole: what it is a part of; "" for what is part of nothing.
    """

    name: str
    run: Callable[[], object]
    images: int = BATCH
    flops: float = 0.0
    bytes: float = 0.0
    whole: str = "step"


def size(*arrays: Any) -> int:
    """Bytes of arrays, or of pytrees of them."""
    import jax

    return sum(x.nbytes for x in jax.tree.leaves(arrays))


def part(
    name: str, function: Callable[..., Any], *arrays: Any, times: int = 1, **more: Any
) -> Part:
    """A function of arrays, called so many times in a loop of one program, as over blocks."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    def looped(*arrays: Any) -> Any:
        def again(i: Any, carry: Any) -> Any:
            arrays, out = carry
            # One number changes each time, or XLA would take the function out of the loop.
            (first, *others), tree = jax.tree.flatten(arrays)
            if jnp.issubdtype(first.dtype, jnp.floating):
                one = jnp.tanh(jax.tree.leaves(out)[0].ravel()[0]).astype(first.dtype)
                first = first.at[(0,) * first.ndim].set(one)
            else:
                first = jnp.full_like(first, i)
            arrays = jax.tree.unflatten(tree, [first, *others])
            return arrays, function(*arrays)

        out = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *arrays))
        return lax.fori_loop(0, times, again, (arrays, out))[1]

    compiled = jax.jit(looped).lower(*arrays).compile()
    out = jax.eval_shape(function, *arrays)
    moved = size(*arrays) + sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(out))
    return Part(
        name,
        lambda: jax.block_until_ready(compiled(*arrays)),
        flops=times * more.pop("flops", 0.0),
        bytes=times * moved,
        **more,
    )


def peaks() -> Iterator[Part]:
    """What the core can do: products of matrices, and copies in the cache and in memory."""
    import jax.numpy as jnp

    for side in (512, 1024):
        a = jnp.ones((side, side))
        more = {"images": 0, "whole": "", "times": 4, "flops": 2.0 * side**3}
        yield part(f"matrix product {side}", lambda a: a @ a, a, **more)
    for kilobytes in (128, 512, 65536):
        x = jnp.ones(kilobytes * 256)
        more = {"images": 0, "whole": "", "times": max(1, 65536 // kilobytes)}
        yield part(f"copy of {kilobytes} kB", lambda x: x + 1, x, **more)


def layers(width: int, block: int) -> Iterator[Part]:
    """The network's layers, forward and back, in blocks."""
    import jax
    from flax import linen as nn

    from dancejax.networks.convolution import convolve
    from dancejax.networks.layers import Norm, pool

    times = BATCH // block

    def back(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda g, *x: jax.vjp(function, *x)[1](g)

    for layer in range(3):
        side, c_in = SIDE >> layer, width if layer else 3
        keys = jax.random.split(jax.random.key(layer), 3)
        x = jax.random.normal(keys[0], (block, side, side, c_in))
        kernel = 0.1 * jax.random.normal(keys[1], (3, 3, c_in, width))
        y = jax.random.normal(keys[2], (block, side, side, width))
        counted = {"times": times, "flops": 2.0 * block * side**2 * 9 * c_in * width}
        name = f"convolution {layer + 1}"
        yield part(f"{name} forward", lambda x, k: convolve(x, k, 1, 1), x, kernel, **counted)

        def by_kernel(g: Any, k: Any, x: Any) -> Any:
            return jax.vjp(lambda k: convolve(x, k, 1, 1), k)[1](g)

        yield part(f"{name} kernel gradient", by_kernel, y, kernel, x, **counted)
        if layer:

            def by_input(g: Any, x: Any, k: Any) -> Any:
                return jax.vjp(lambda x: convolve(x, k, 1, 1), x)[1](g)

            yield part(f"{name} input gradient", by_input, y, x, kernel, **counted)
        norm = Norm()
        variables = norm.init(keys[0], y, True)

        def normed(y: Any, variables: Any = variables, norm: Any = norm) -> Any:
            return norm.apply(variables, y, True)

        def rest(y: Any) -> Any:
            return pool(nn.relu(y), "avg")

        yield part(f"norm {layer + 1} forward", normed, y, times=times)
        yield part(f"norm {layer + 1} back", back(normed), y, y, times=times)
        yield part(f"ReLU, pooling {layer + 1} forward", rest, y, times=times)
        yield part(f"ReLU, pooling {layer + 1} back", back(rest), rest(y), y, times=times)


def around(width: int) -> Iterator[Part]:
    """What a step has beside the network, a step as a whole, and testing."""
    import jax

    from benchmarks import workers
    from dancejax import augment, networks, training
    from dancejax.training import step

    dataset = workers._random_dataset(10, IMAGES // 10, SIDE)
    network = networks.create("convnet", 10, (SIDE, SIDE, 3), width=width)
    config = training.TrainConfig(epochs=60, batch_size=BATCH, augmentation="color_crop")
    recipe = step.Recipe.of(network, config)
    data = jax.tree.map(jax.numpy.asarray, training.train_data(dataset))
    key = jax.random.key(0)
    state = step.init_state(key, recipe, (SIDE, SIDE, 3))
    states, keys = jax.tree.map(lambda x: x[None], (state, key))

    def draw() -> step.Batch:
        return step.draw(keys, 0, data, BATCH)

    yield Part("draw", lambda: jax.block_until_ready(draw()))
    images = jax.random.normal(key, (BATCH, SIDE, SIDE, 3))
    strategy, mode = config.augmentation, config.mode
    yield part("augmentation", lambda x: augment.independent(key, x, strategy, mode), images)
    yield part("CutMix", lambda x: augment.cutmix(key, x, 1.0), images)
    grads = state.variables["params"]
    common = step.in_common(config, data, 0)
    yield part("optimiser", lambda s, g: step._descend(s, g, {}, common, recipe), state, grads)
    flops = 3.0 * BATCH * workers.forward_flops(width, SIDE, 3)
    compiled = step.train_step.lower(states, keys, draw(), common, recipe).compile()

    def whole() -> None:
        jax.block_until_ready(compiled(states, keys, draw(), common))

    yield Part("step", whole, flops=flops, whole="")

    def test(images: Any) -> Any:
        return networks.forward_in_blocks(network, state.variables, images)[0]

    yield part("testing", test, images, flops=flops / 3, whole="")._replace(bytes=0)


def timed(parts: list[Part], rounds: int) -> list[dict[str, Any]]:
    """Processor seconds of each, in turns."""
    seconds: list[list[float]] = [[] for _ in parts]
    counts = []
    for one in parts:
        one.run()
        began = time.process_time()
        one.run()
        counts.append(max(1, round(0.05 / max(1e-6, time.process_time() - began))))
    for _ in range(rounds):
        for one, count, found in zip(parts, counts, seconds, strict=True):
            began = time.process_time()
            for _ in range(count):
                one.run()
            found.append((time.process_time() - began) / count)
    return [
        {
            "name": one.name, "images": one.images, "flops": one.flops, "bytes": one.bytes,
            "whole": one.whole, "cpu_s": statistics.median(found),
            "spread": max(found) / min(found) - 1,
        }
        for one, found in zip(parts, seconds, strict=True)
    ]  # fmt: skip


def table(found: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    step = next(line["cpu_s"] for line in found if line["name"] == "step")
    yield "| part | us an image | share of the step | GFLOP/s | GB/s |"
    yield "|---|---|---|---|---|"
    rest = step - sum(line["cpu_s"] for line in found if line["whole"] == "step")
    for line in [*found, {"name": "step less its parts", "cpu_s": rest, "images": BATCH}]:
        seconds, images = line["cpu_s"], line["images"]
        cells = [line["name"], f"{1e6 * seconds / images:.1f}" if images else ""]
        cells.append(f"{seconds / step:.1%}" if images else "")
        cells.append(f"{line['flops'] / seconds / 1e9:.1f}" if line.get("flops") else "")
        cells.append(f"{line['bytes'] / seconds / 1e9:.1f}" if line.get("bytes") else "")
        yield f"| {' | '.join(cells)} |"


def main(width: int, rounds: int) -> list[dict[str, Any]]:
    """Time all parts of a step of a ConvNet of this width."""
    from dancejax import networks
    from dancejax.runs import backend

    backend.tune_allocator()
    backend.use_cores(1)
    network = networks.create("convnet", 10, (SIDE, SIDE, 3), width=width)
    most = networks.images_per_block(network, BATCH, (SIDE, SIDE, 3))
    block = next(n for n in range(most, 0, -1) if BATCH % n == 0)
    parts = [*peaks(), *around(width), *layers(width, block)]
    return timed(parts, rounds)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
