"""Workers that Ray starts and starts again, on this machine or on a cluster that sees its folders.

Ray decides where workers live; what each computes they settle by leases, as processes do, so that
it needs no order of Ray's and nothing of an image travels. Ray is imported in the process of a job
alone, where this engine is asked for; without ``--address`` it starts on the loopback, without its
dashboard and without sending what it is used for.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from importlib import metadata
from ipaddress import ip_address
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from core.errors import JobError, SpurioscopeError
from core.jobs.engine import Crowd, EngineKind
from core.jobs.work import Order, Work
from core.jobs.worker import serve

PREPARE = "core.commands.plugins:load"
"""What a worker calls first: it makes known what other packages add."""

OLDEST = 40
"""Minor version of Ray 2 from which on it is known to do."""

HINT = f"pip install 'ray>=2.{OLDEST},<3' (extra ray)"

ENDS = 30.0
"""Seconds in which a worker ends that has nothing to do any more."""

LOOPBACK = "127.0.0.1"


class Member:
    """A worker in a process that Ray started; it loads the network once."""

    def __init__(self, prepare: str) -> None:
        resolve_name(prepare)()

    def serve(self, folder: str, decoding: int) -> str:
        """Compute units until nothing is missing; what went wrong, in words."""
        try:
            serve(Path(folder), advanced=lambda _: None, decoding=decoding)
        except SpurioscopeError as error:
            return str(error)
        return ""


class RayWorkers(Crowd):
    """Actors of Ray.

    Parameters
    ----------
    workers : how many; None: as many as the cores or GPUs of the cluster keep busy.
    address : of a cluster; None: one is started here, and ended.
    """

    def __init__(self, workers: int | None, address: str | None) -> None:
        super().__init__()
        self.workers, self.address = workers, address
        self._ray: Any = None
        self.members: list[Any] = []
        self._said: list[Any] = []

    def begin(self, work: Work, order: Order) -> None:
        """Start the actors, unless they live since an order before."""
        if self._ray is None:
            self._ray = imported()
            self._connect(order.threads)
        needs = {"num_cpus": order.threads, "num_gpus": int(work.accelerated)}
        if not self.members:
            most = self._ray.cluster_resources().get("GPU" if work.accelerated else "CPU", 1)
            count = self.workers or max(1, int(most) // (1 if work.accelerated else order.threads))
            actor = self._ray.remote(Member)
            again = actor.options(**needs, max_restarts=-1, max_task_retries=-1)
            self.members = [again.remote(PREPARE) for _ in range(count)]
            decoding = max(1, (os.cpu_count() or 1) // count) + 1
            self._said = [m.serve.remote(str(work.folder), decoding) for m in self.members]

    def _connect(self, threads: int) -> None:
        cpus = {"num_cpus": self.workers * threads} if self.workers else {}
        here = {**cpus, "include_dashboard": False, "_node_ip_address": LOOPBACK}
        try:
            with _staying_here() if self.address is None else contextlib.nullcontext():
                self._ray.init(
                    **({"address": self.address} if self.address else here),
                    logging_level="error",
                    log_to_driver=False,
                )
        except (RuntimeError, ConnectionError, ValueError, OSError) as error:
            where = f"join the cluster of Ray at {self.address}" if self.address else "start Ray"
            raise JobError(f"cannot {where}: {_in_a_line(error)}") from error
        if self.address is None and (heard := heard_elsewhere()):
            self._ray.shutdown()
            raise JobError(
                f"Ray {self._ray.__version__} listens on {', '.join(heard)}, where other machines "
                "hear it: install another version, or use --engine processes"
            )

    def look(self, left: int) -> None:
        """What a worker says that gave up ends the work; Ray starts the others again."""
        ready, waiting = self._ray.wait(self._said, num_returns=len(self._said), timeout=0)
        for said in ready:
            if words := self._words(said):
                raise JobError(f"a worker gave up: {words}")
        if not waiting:
            raise JobError(f"every worker has ended, and {left} parts are missing")

    def _words(self, said: Any) -> str:
        try:
            return str(self._ray.get(said))
        except self._ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[-1]

    def end(self) -> None:
        """Wait until the actors have seen that there is nothing to do, then let Ray go."""
        if self._ray is not None and self._ray.is_initialized():
            self._ray.wait(self._said, num_returns=max(len(self._said), 1), timeout=ENDS)
            for member in self.members:
                self._ray.kill(member)
            self._ray.shutdown()
        self.members, self._said = [], []


def _in_a_line(error: Exception) -> str:
    """The first line of what Ray says, all of it where versions differ, and the remedy."""
    said = str(error).strip()
    first = next(iter(said.splitlines()), type(error).__name__)
    if "ersion mismatch" in first:
        return f"{' '.join(said.split())}; install the same versions here and there"
    return f"{first}; see that it runs, or use --engine processes"


@contextlib.contextmanager
def _staying_here() -> Iterator[None]:
    """Let Ray start on the loopback: it takes the address of this machine for it otherwise."""
    from ray._private import services

    resolve = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = resolve


def heard_elsewhere() -> list[str]:
    """Addresses other than the loopback's on which what this process started listens."""
    import psutil

    found = set()
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            sockets = each.net_connections(kind="inet")
            found |= {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    return sorted(ip for ip in found if not ip_address(ip.removeprefix("::ffff:")).is_loopback)


def imported() -> Any:
    """Ray, told to send nothing.

    Raises
    ------
    JobError
        If it is not there, or of another version.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        version = metadata.version("ray")
        import ray
    except ImportError as error:
        raise JobError(f"--engine ray needs Ray, which is not installed: {HINT}") from error
    major, minor = (int(part) for part in version.split(".")[:2])
    if major != 2 or minor < OLDEST:
        raise JobError(
            f"--engine ray needs Ray 2.{OLDEST} to 2, and Ray {version} is installed: {HINT}"
        )
    return ray


RAY = EngineKind(
    "ray",
    "workers that Ray starts, here or on the cluster of --address",
    lambda starting: RayWorkers(starting.workers, starting.address),
)
