"""Grade on a Dask cluster: the same function, on other machines.

Each worker needs Linux with bubblewrap and this package at the same version. Dask
moves our own functions and submissions as bytes; what a student's code answers never
leaves the worker's sandbox except as the line of its result.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager

SECONDS = 30
# A worker that dies takes its submissions along; they are given to others so often.
RETRIES = 3


@contextmanager
def executor_of(address: str) -> Iterator[tuple[Executor, int]]:
    """Connect to a scheduler and yield an executor, and how many threads it has.

    Raises: ValueError where Dask is missing, nobody answers, or there is no worker.
    """
    try:
        from dask.distributed import Client  # noqa: PLC0415 -- not everybody has it
    except ImportError:
        raise ValueError(
            "a cluster needs Dask: pip install 'dask[distributed]'."
        ) from None
    try:
        client = Client(address, timeout=SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"no scheduler answers at {address} ({error}).") from None
    with client:
        threads = sum(client.nthreads().values())
        if not threads:
            raise ValueError(f"the scheduler at {address} has no workers; start some.")
        pool = client.get_executor(pure=False, retries=RETRIES)
        try:
            yield pool, threads
        finally:
            pool.shutdown(wait=False)  # what is still running is cancelled
