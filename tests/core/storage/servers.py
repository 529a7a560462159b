"""Servers of buckets on this machine, one for every scheme whose driver and server are here.

S3 is moto's. For ``gs`` there is ``pip install gcsfs gcp-storage-emulator``; for ``az`` there are
``pip install adlfs`` and ``npm install azurite``, whose ``node_modules/.bin`` is to be on the path.
None of them sends anything anywhere.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from core.storage import mirror
from core.storage.bucket import DRIVERS, EXCHANGES, Exchange
from core.storage.workspace import Workspace

SECRETS = ("planted-secret-3f9c", "AKIAPLANTED77")
"""Credentials that must not be found anywhere."""

AZURE = "devstoreaccount1"
"""The account of the emulator."""

AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Its key, which its makers publish."""


class BucketServer:
    """A server on the loopback, and how it is asked."""

    scheme: str
    secrets: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """What names it, and the credentials, to the driver."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""

    def refuse(self, patch: pytest.MonkeyPatch) -> None:
        """Let the credentials expire, until ``patch`` is undone and :meth:`admit` called."""
        raise NotImplementedError

    def admit(self) -> None:
        """Take them again."""

    def vanish(self, bucket: str) -> None:
        """Delete a bucket with all that is in it, while others write to it."""
        driver = self.driver
        while driver.exists(bucket):
            with contextlib.suppress(OSError):  # not empty: somebody was faster
                driver.rm(bucket, recursive=True)

    @property
    def driver(self) -> Any:
        """A driver that has seen nothing yet."""
        import fsspec

        fsspec.get_filesystem_class(self.scheme).clear_instance_cache()
        return fsspec.filesystem(self.scheme, use_listings_cache=False)


class S3(BucketServer):
    scheme, secrets = "s3", SECRETS

    def __init__(self) -> None:
        pytest.importorskip("s3fs", reason="no s3fs")
        moto = pytest.importorskip("moto.server", reason="no moto")
        self._server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        self.address = "http://{}:{}".format(*self._server.get_host_and_port())
        self.stop = self._server.stop

    def environment(self) -> dict[str, str]:
        secret, key = SECRETS
        return {
            **{"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
            **{"AWS_ENDPOINT_URL": self.address, "AWS_DEFAULT_REGION": "us-east-1"},
        }

    def refuse(self, patch: pytest.MonkeyPatch) -> None:
        self._let("0")

    def admit(self) -> None:
        self._let("inf")

    def _let(self, requests: str) -> None:
        address, plain = f"{self.address}/moto-api/reset-auth", {"Content-Type": "text/plain"}
        asked = urllib.request.Request(address, requests.encode(), plain)
        urllib.request.urlopen(asked).close()


class Google(BucketServer):
    """The emulator, with the condition that it lacks: an object written only over a generation."""

    scheme = "gs"

    def __init__(self) -> None:
        os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"  # which asks Google itself
        pytest.importorskip("gcsfs", reason="no gcsfs")
        emulator = pytest.importorskip("gcp_storage_emulator.server", reason="no emulator")
        from gcp_storage_emulator.handlers import objects

        named = {
            "_multipart_upload": lambda request: request.data["meta"]["name"],
            "_media_upload": lambda request: request.query["name"][0],
        }
        for upload, name in named.items():
            setattr(objects, upload, _conditioned(getattr(objects, upload), name))
        self._server = emulator.create_server("127.0.0.1", 0, in_memory=True)
        self._server.start()
        self.address = f"http://127.0.0.1:{self._server._api._httpd.server_address[1]}"
        self.stop = self._server.stop

    def environment(self) -> dict[str, str]:
        from fsspec.config import conf

        conf["gs"] = {"token": "anon"}
        return {"STORAGE_EMULATOR_HOST": self.address}

    def vanish(self, bucket: str) -> None:
        self._server._storage.wipe()

    def refuse(self, patch: pytest.MonkeyPatch) -> None:
        from gcp_storage_emulator.server import Response, Router

        def denied(router: Any, method: str) -> None:
            response = Response(router._request_handler)
            response.status = HTTPStatus.FORBIDDEN
            response.json({"error": {"code": 403, "message": "expired"}})
            response.close()

        patch.setattr(Router, "handle", denied)


_UPLOADS = threading.Lock()


def _conditioned(upload: Any, name: Callable[[Any], str]) -> Any:
    """An upload that is refused unless the object is of the generation that is asked for."""

    def generation(request: Any, storage: Any) -> str:
        from gcp_storage_emulator.exceptions import NotFound

        try:
            found = storage.get_file_obj(request.params["bucket_name"], name(request))
        except NotFound:
            return "0"
        return str(found["generation"])

    def uploaded(request: Any, response: Any, storage: Any) -> None:
        with _UPLOADS:
            wanted = request.query.get("ifGenerationMatch")
            if wanted and wanted[0] != generation(request, storage):
                response.status = HTTPStatus.PRECONDITION_FAILED
            else:
                upload(request, response, storage)

    return uploaded


class Azure(BucketServer):
    scheme, secrets = "az", (AZURE_KEY,)

    def __init__(self) -> None:
        pytest.importorskip("adlfs", reason="no adlfs")
        command = shutil.which("azurite-blob")
        if command is None:
            pytest.skip("no azurite")
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port = found.getsockname()[1]
        options = ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
        where = ["--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--silent"]
        self._process = subprocess.Popen([command, *options, *where], stdout=subprocess.DEVNULL)
        self._await()

    def _await(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.2)
        raise RuntimeError("azurite did not start")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def environment(self, key: str = AZURE_KEY) -> dict[str, str]:
        account = f"DefaultEndpointsProtocol=http;AccountName={AZURE};AccountKey={key}"
        at = f"BlobEndpoint=http://127.0.0.1:{self.port}/{AZURE}"
        return {"AZURE_STORAGE_CONNECTION_STRING": f"{account};{at};"}

    def refuse(self, patch: pytest.MonkeyPatch) -> None:
        for name, value in self.environment("A" * 86 + "==").items():
            patch.setenv(name, value)
        self.driver  # noqa: B018 - forgets the one that holds the right key


def memory(patch: pytest.MonkeyPatch) -> Any:
    """A driver of buckets in the memory of this process, ``memory://``."""
    fsspec = pytest.importorskip("fsspec", reason="no fsspec")
    guard = threading.Lock()

    def put(driver: Any, path: str, content: bytes, tag: str) -> None:
        with guard:
            if str(driver.info(path)["created"]) != tag:
                raise OSError("PreconditionFailed")
            driver.pipe_file(path, content)

    patch.setitem(DRIVERS, "memory", "fsspec")
    patch.setitem(EXCHANGES, "memory", Exchange("created", put))
    return fsspec.filesystem("memory", use_listings_cache=False)


SERVERS = {"s3": S3, "gs": Google, "az": Azure}


@contextlib.contextmanager
def running(scheme: str) -> Iterator[BucketServer]:
    """A server of a scheme; the test is skipped where it, or its driver, is not here."""
    server = SERVERS[scheme]()
    try:
        yield server
    finally:
        server.stop()


def folder_in(server: BucketServer, patch: pytest.MonkeyPatch) -> str:
    """The address of a folder in an empty bucket, with the credentials in the environment."""
    for name, value in server.environment().items():
        patch.setenv(name, value)
    name = f"bucket-{os.urandom(4).hex()}"
    server.driver.mkdir(name)
    return f"{server.scheme}://{name}/team"


def holds(folder: Path, secrets: tuple[str, ...]) -> list[Path]:
    """Files below a folder that hold one of some secrets."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(s.encode() in path.read_bytes() for s in secrets)]


def content(folder: Path) -> dict[str, bytes]:
    """Every file of an audit but what says when it was made, fetched where it is far."""
    names = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    kept = {
        name: path
        for name, path in names.items()
        if not path.name.startswith(".") and name not in ("lock", "manifest.json", "digests.json")
    }
    mirror.bring(kept.values())
    return {name: path.read_bytes() for name, path in kept.items()}


def at(address: str, local: Path) -> Workspace:
    """The workspace in a bucket, by a machine with this folder."""
    return Workspace.default(address, local=local)
