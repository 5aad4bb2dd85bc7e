"""Tests run on the CPU and compile quickly, without the optimisation that tiny programs never earn
back. `XLA_FLAGS= make test` compiles as users do. Linear algebra has one thread a worker: several
that wait for each other on busy cores take thirty times the processor's time."""

import os
import signal

# Programs that tests start obey SIGHUP, also where the tests run under nohup, which ignores it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", _QUICK)


def as_for_users() -> dict[str, str]:
    """The environment for programs that tests start, which compile as users do."""
    return {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"].replace(_QUICK, "")}
