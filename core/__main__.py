"""The command line: every page has a command that does the same without a browser.

Human text by default, one JSON document on standard output with ``--json``; progress on standard
error. Exit codes: 0; 2 for bad input, the last line of standard error saying what and the remedy;
3 where a rule is broken, 4 where one cannot be tested; 1 for anything else; 130 when interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence

from core.commands import plugins
from core.commands.parser import COMMANDS, add_commands, run
from core.data.far_images import allow
from core.errors import SpurioscopeError
from core.storage.files import dumps
from core.storage.workspace import Workspace


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="python -m core",
        description="Spurioscope: which cues does an image classifier use, which are spurious, "
        "and what does that cost? The same in the browser: streamlit run app.py",
    )
    add_commands(top)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    plugins.load()
    options = parser().parse_args(arguments)
    try:
        with _terminated_like_interrupted():
            allow(options.allow_images)
            workspace = Workspace.default(options.workspace, options.database, options.local)
            result, text = run(options, workspace)
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
    _print(result, text, as_json=options.json)
    return COMMANDS[options.command].code(result)


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


def _print(result: Mapping[str, object], text: str, *, as_json: bool) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may hold what it cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(dumps(result) if as_json else text, flush=True)
    except BrokenPipeError:
        sys.stderr.close()


if __name__ == "__main__":
    sys.exit(main())
