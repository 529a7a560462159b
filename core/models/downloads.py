"""Weights fetched from the hub or from torchvision's server: asked once, and never waited for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import ModelError

REMEDY = "packaged:efficientnet-lite0, 1 and 2 need no network."

TIMEOUT = 10.0
"""Seconds to wait for a download to answer."""


def check_hub(architecture: str) -> None:
    """:func:`ask_hub` for the weights of an architecture of timm."""
    import timm

    config = timm.models.get_pretrained_cfg(architecture)
    repository = config.hf_hub_id if config is not None and config.source != "url" else None
    if repository:
        ask_hub(f"timm:{architecture}", repository, "model.safetensors", "pytorch_model.bin")


def ask_hub(name: str, repository: str, *files: str) -> None:
    """Ask the hub for a file once, because its own client retries for a minute.

    Parameters
    ----------
    name : of the model.
    files : asked for is the first, unless one of them was downloaded before.

    Raises
    ------
    ModelError
        If the hub cannot be reached or has no such repository.
    """
    import huggingface_hub as hub

    if any(isinstance(hub.try_to_load_from_cache(repository, file), str) for file in files):
        return
    with downloading(name):
        try:
            hub.get_hf_file_metadata(hub.hf_hub_url(repository, files[0]), timeout=TIMEOUT)
        except hub.errors.EntryNotFoundError as error:
            if isinstance(error, hub.errors.LocalEntryNotFoundError):
                raise


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Turn what a download, or reading it, can raise into one error; let no connection hang."""
    import pickle

    import torch
    from huggingface_hub import constants
    from safetensors import SafetensorError

    from core.models.weights import UNREADABLE

    waited = socket.getdefaulttimeout()
    socket.setdefaulttimeout(waited or TIMEOUT)
    try:
        yield
    except _download_errors() as error:
        reason = getattr(error, "strerror", None)
        raise ModelError(
            f"The weights of {name} are not on this machine and could not be downloaded"
            f"{f' ({reason})' if reason else ''}. Connect to the network once, or give a "
            f"checkpoint. {REMEDY}"
        ) from error
    except (SafetensorError, pickle.UnpicklingError, *UNREADABLE) as error:
        raise ModelError(
            f"The weights of {name} on this machine cannot be read: their download was cut off. "
            f"Delete them from {torch.hub.get_dir()} or {constants.HF_HUB_CACHE} and load the "
            f"model again. {REMEDY}"
        ) from error
    finally:
        socket.setdefaulttimeout(waited)


def _download_errors() -> tuple[type[Exception], ...]:
    """What downloads raise: urllib an OSError, the hub also those of the HTTP client it uses."""
    from huggingface_hub import errors

    return (OSError, *errors.HfHubHTTPError.__bases__, errors.EntryNotFoundError)
