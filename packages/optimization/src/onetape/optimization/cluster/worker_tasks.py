"""Functions that the driver calls in the processes of a cluster's workers."""

import os
import platform
import socket
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from onetape.core.errors import OnetapeError
from onetape.core.folders import DATA_FOLDER, USER_FOLDER
from onetape.core.message_text import format_error
from onetape.optimization.cluster.work_file import ClusterWork, load_work, store_content
from onetape.optimization.evaluate import Evaluator, Job
from onetape.optimization.identity import compute_engine_digest
from onetape.optimization.user_metrics import load_metric
from onetape.optimization.walk_forward import WindowEvaluator
from onetape.strategies import Strategy, compute_strategy_digest, load_strategy_class
from onetape.strategies.output_capture import stdout_to_stderr

#: Variable of the worker's environment: folder of the files with candles.
FOLDER_VARIABLE: Final = "ONETAPE_CLUSTER_FOLDER"
#: Folder of these files, where the variable is not set.
DEFAULT_FOLDER: Final = DATA_FOLDER / "cluster"
_JOBS: Final[msgspec.msgpack.Decoder[list[Job]]] = msgspec.msgpack.Decoder(list[Job])


class WorkerState(Struct, frozen=True):
    """Whether a worker can evaluate the combinations of a driver."""

    kind: Literal["ready", "missing", "refused"]
    """`missing`: the computer lacks the file; `refused`: its code or versions differ."""
    computer: str
    """Name of the computer and path of its folder; its workers share the file."""
    reason: str = ""
    """Text of a refusal."""


def collect_code(strategy: Strategy, metrics: Sequence[str] = ()) -> dict[str, str]:
    """Return versions and digests of the code that a result depends on, by name for errors.

    Args:
        strategy: The strategy with any parameters.
        metrics: Metrics of the user, as `--rank` takes them.

    Raises:
        OnetapeError: a metric cannot be loaded.
    """
    code = {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "NumPy": np.__version__,
        "processor": platform.machine(),
        "code of Onetape": compute_engine_digest(),
        f"code of strategy {strategy.name}": compute_strategy_digest(strategy),
    }
    return code | {f"code of metric {text}": load_metric(text).digest for text in metrics}


def prepare_evaluator(digest: str) -> WorkerState:
    """Load a file, and return whether this worker can evaluate combinations with it."""
    computer = f"{socket.gethostname()}:{_get_folder().resolve()}"
    try:
        _load_evaluator(digest)
    except FileNotFoundError:
        return WorkerState("missing", computer)
    except (OnetapeError, ValueError, OSError) as error:
        return WorkerState("refused", computer, str(error))
    return WorkerState("ready", computer)


def store_work_file(digest: str, content: bytes) -> str:
    """Store a file for all workers of this computer; return the error as a text, or nothing."""
    try:
        store_content(_get_folder(), digest, content)
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def evaluate_jobs(digest: str, encoded: bytes) -> list[bytes | None]:
    """Return the result of each job, as `Evaluator` does; None where the code raised.

    Args:
        digest: File that `prepare_evaluator` has loaded.
        encoded: The jobs, as MessagePack.
    """
    evaluate = _load_evaluator(digest)
    return [_evaluate_one(evaluate, job) for job in _JOBS.decode(encoded)]


class OtherCode(OnetapeError):
    """The code of this worker is not that of the driver."""


@lru_cache(maxsize=2)
def _load_evaluator(digest: str) -> Callable[[Job], bytes]:
    work = load_work(_get_folder(), digest)
    with stdout_to_stderr():
        cls = load_strategy_class(work.strategy, USER_FOLDER)
        strategy = cls(**work.parameters)
    _check_code(work, strategy)
    metrics = tuple(load_metric(text) for text in work.metrics)
    if work.windows:
        return WindowEvaluator(cls, work.context, work.windows, metrics)
    return Evaluator(cls, work.context, metrics)


def _check_code(work: ClusterWork, strategy: Strategy) -> None:
    found = collect_code(strategy, work.metrics)
    others = [name for name, value in work.code.items() if found.get(name) != value]
    if others:
        names = [
            f"{name} {found.get(name, 'none')} (the driver's: {work.code[name]})"
            if name in ("Python", "NumPy", "processor")
            else name
            for name in others
        ]
        raise OtherCode(f"other {', other '.join(names)}")


def _evaluate_one(evaluate: Callable[[Job], bytes], job: Job) -> bytes | None:
    try:
        return evaluate(job)
    except BaseException as error:
        sys.stderr.write(f"worker: {type(error).__name__}: {format_error(error)}\n")
        sys.stderr.flush()
        return None


def _get_folder() -> Path:
    given: Any = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else DEFAULT_FOLDER
