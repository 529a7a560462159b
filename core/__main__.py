"""The command line: every page has a command that does the same without a browser.

Human text by default, one JSON document on standard output with ``--json``; progress on standard
error. Exit codes: 0; 2 for bad input, the last line of standard error saying what and the remedy;
1 for anything else; 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from core.config import COMPONENTS
from core.errors import SpurioscopeError
from core.store import Workspace, dumps

DEFAULT_DEMO = "cues"


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--workspace",
        metavar="DIR",
        help="where audits live (default: $SPURIOSCOPE_WORKSPACE, else ./workspace)",
    )
    common.add_argument(
        "--database",
        metavar="URL",
        help="where tags live, for a team (default: $SPURIOSCOPE_DATABASE, else a file of the "
        "workspace); passwords are better given by the environment",
    )
    common.add_argument("--json", action="store_true", help="print one JSON document")
    common.add_argument("--job", help=argparse.SUPPRESS)
    top = argparse.ArgumentParser(
        prog="python -m core",
        description="Spurioscope: which cues does an image classifier use, which are spurious, "
        "and what does that cost? The same in the browser: streamlit run app.py",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    audit = command("audit", "run, resume or extend an audit")
    audit.add_argument(
        "--data",
        required=True,
        help="a folder (class/… or train/class/…), a manifest .csv or .parquet, "
        "torchvision:NAME[?root=DIR&download=1], hf:NAME or demo:NAME",
    )
    audit.add_argument(
        "--model", required=True, help="timm:NAME, torchvision:NAME or packaged:efficientnet-lite0"
    )
    audit.add_argument("--name", help="name of the audit (default: from data and model)")
    audit.add_argument("--head", default="auto", choices=["auto", "keep", "fit"])
    audit.add_argument("--checkpoint", type=Path, metavar="FILE", help=".pth or .safetensors")
    audit.add_argument("--components", type=int, default=COMPONENTS, metavar="N")
    audit.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    audit.add_argument("--precision", default="auto", choices=["auto", "fp32", "bf16"])
    audit.add_argument("--batch-size", type=int, metavar="N")
    audit.add_argument("--workers", type=int, metavar="N", help="decoding threads")
    audit.add_argument("--limit-per-class", type=int, metavar="N")

    demo = command("demo", "prepare a demo audit that needs no data of your own")
    demo.add_argument(
        "name", nargs="?", default=DEFAULT_DEMO, help="cues (default), solar, compare, …"
    )

    command("list", "the audits of the workspace")
    show = command("show", "what an audit found")
    show.add_argument("audit", metavar="AUDIT", help="a name or the beginning of an id")
    show.add_argument(
        "--data-root", type=Path, metavar="DIR", help="the images moved: look for them below DIR"
    )
    rename = command("rename", "give an audit another name")
    rename.add_argument("audit", metavar="AUDIT")
    rename.add_argument("name", metavar="NAME")
    delete = command("delete", "delete an audit; its tags stay in the database")
    delete.add_argument("audit", metavar="AUDIT")

    export = command("export", "write parts of an audit to a file")
    export.add_argument("audit", metavar="AUDIT")
    export.add_argument(
        "what", choices=["images", "components", "alpha", "features", "heatmaps"], metavar="WHAT"
    )
    export.add_argument("--out", required=True, type=Path, metavar="F")
    export.add_argument("--class", dest="class_name", metavar="NAME", help="label, name or #index")
    export.add_argument("--neurons", action="store_true", help="alpha of neurons, not components")
    export.add_argument("--component", type=int, metavar="L", help="0-based, by eigenvalue")
    export.add_argument("--neuron", type=int, metavar="J", help="feature index")
    export.add_argument("--images", metavar="ID,ID", help="only these images")
    export.add_argument("--data-root", type=Path, metavar="DIR", help="the images moved")
    from core import (
        compare_commands,
        map_commands,
        measure_commands,
        mitigate_commands,
        report_commands,
        tag_commands,
    )

    tags = commands.add_parser("tags", help="tags: list, add, import, export, agreement")
    tag_commands.add_parser(tags, common)
    measure_commands.add_measure(command("measure", "what the tagged cues cost, as one table"))
    measure_commands.add_score(
        command("score", "the spurious score of a class for images of its cue")
    )
    measure_commands.add_factors(
        command("factors", "what the model decides by: shape, texture or background")
    )
    map_commands.add_parser(command("map", "compute the map of an audit: PCA and UMAP"))
    report_commands.add_parser(
        command("report", "audits as one HTML file for people who will never open the app")
    )
    mitigate_commands.add_mitigate(
        command("mitigate", "correct a model for its tagged cues: a new audit, before and after")
    )
    mitigate_commands.add_export(
        command("export-model", "write the audited model, corrected or not, and its card")
    )
    compare_commands.add_parser(command("compare", "several models on the same images"))
    command("doctor", "versions, device, memory, disk, and what is optional and missing")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        with _terminated_like_interrupted():
            from core import commands

            workspace = Workspace.default(options.workspace, options.database)
            result, text = commands.run(options, workspace)
    except SpurioscopeError as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            "interrupted; what is finished stays, the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, never a traceback
        name = type(error).__name__
        print(f"error: {name}: {_one_line(error)} (please report this)", file=sys.stderr)
        return 1
    return _print(result, text, as_json=options.json)


@contextlib.contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM ends a command like Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _one_line(error: Exception) -> str:
    """The whole sentence, whatever names it holds: scripts read the last line."""
    return " ".join(str(error).splitlines())


def _print(result: dict[str, Any], text: str, *, as_json: bool) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(dumps(result) if as_json else text, flush=True)
    except BrokenPipeError:
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
