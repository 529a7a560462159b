"""Every command of the command line, in one table. Nothing heavy at import."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from core.audits.audit_requests import (
    AuditRequest,
    DemoRequest,
    DiscoverRequest,
    MapRequest,
    PartsRequest,
    SearchRequest,
    SuggestRequest,
    TrialsRequest,
)
from core.audits.synth_request import SynthRequest
from core.commands import approximate as parts_commands
from core.commands import audits as audit_commands
from core.commands import checks as check_commands
from core.commands import comparison as compare_commands
from core.commands import confirm as confirm_commands
from core.commands import corrections as mitigate_commands
from core.commands import data_quality, doctor, tracking
from core.commands import discovering as discover_commands
from core.commands import explain as explain_commands
from core.commands import generators as generate_commands
from core.commands import image_groups as group_commands
from core.commands import maps as map_commands
from core.commands import measures as measure_commands
from core.commands import reports as report_commands
from core.commands import searching as search_commands
from core.commands import suggest as suggest_commands
from core.commands import synth as synth_commands
from core.commands import tags as tag_commands
from core.commands import trials as trial_commands
from core.commands import workers as worker_commands
from core.commands.terminal import Answer, Parser, Terminal, common_options
from core.corrections.generator_request import GeneratorRequest
from core.corrections.mitigate_request import MitigateRequest
from core.measures.measure_requests import (
    CompareRequest,
    FactorsRequest,
    MeasureRequest,
    ScoreRequest,
)
from core.quality.data_request import DataRequest
from core.storage.workspace import Workspace

"""A JSON document, and the same for people."""


def _none(_: argparse.ArgumentParser) -> None:
    """No options of its own."""


def _success(_: Mapping[str, object]) -> int:
    """Whatever the result says."""
    return 0


@dataclass(frozen=True)
class Command:
    """One command: what it is called, what it takes, what it does."""

    name: str
    text: str
    """What it does, in a line."""
    run: Callable[[argparse.Namespace, Workspace, Terminal], Answer]
    add: Callable[[argparse.ArgumentParser], None] = _none
    """Adds its options."""
    code: Callable[[Mapping[str, object]], int] = _success
    """Exit code that its result means."""
    closing: Callable[[], str] | None = None
    """What its help ends with; called when the help is printed, so that it may import anything."""


COMMANDS = {
    command.name: command
    for command in (
        Command(
            "audit",
            "run, resume or extend an audit",
            audit_commands.audit,
            AuditRequest.add_arguments,
            closing=audit_commands.sources_text,
        ),
        Command(
            "demo",
            "prepare a demo audit that needs no data of your own",
            audit_commands.demo,
            DemoRequest.add_arguments,
        ),
        Command(
            "synth",
            "write an audit of drawn features with planted cues, of any size: nothing is decoded",
            synth_commands.run,
            SynthRequest.add_arguments,
        ),
        Command(
            "work",
            "take part in an audit that is being computed, from this or another machine",
            worker_commands.run,
            worker_commands.add,
        ),
        Command("list", "the audits of the workspace", audit_commands.list_audits),
        Command("show", "what an audit found", audit_commands.show, audit_commands.add_show),
        Command(
            "verify",
            "read everything that an audit stores and say what is damaged",
            audit_commands.verify,
            audit_commands.add_verify,
            audit_commands.verified,
        ),
        Command(
            "rename",
            "give an audit another name",
            audit_commands.rename,
            audit_commands.add_rename,
        ),
        Command(
            "delete",
            "delete an audit; its tags stay in the database",
            audit_commands.delete,
            audit_commands.add_delete,
        ),
        Command(
            "export",
            "write parts of an audit to a file",
            audit_commands.export,
            audit_commands.add_export,
        ),
        Command(
            "tags",
            "tags: list, add, import, export, agreement",
            tag_commands.run,
            tag_commands.add_parser,
        ),
        Command(
            "groups",
            "named groups of images: list, add, remove, export",
            group_commands.run,
            group_commands.add_parser,
        ),
        Command(
            "measure",
            "what the tagged cues cost, as one table",
            measure_commands.measure,
            MeasureRequest.add_arguments,
        ),
        Command(
            "score",
            "the spurious score of a class for images of its cue",
            measure_commands.score,
            ScoreRequest.add_arguments,
        ),
        Command(
            "factors",
            "what the model decides by: shape, texture or background",
            measure_commands.factors,
            FactorsRequest.add_arguments,
        ),
        Command(
            "map",
            "compute the map of an audit: PCA and UMAP",
            map_commands.run,
            MapRequest.add_arguments,
        ),
        Command(
            "parts",
            "approximate parts of a class, where the architecture has no exact maps",
            parts_commands.run,
            PartsRequest.add_arguments,
        ),
        Command(
            "discover",
            "strategies of classes: clusters of explanations, and how far they stand apart",
            discover_commands.run,
            DiscoverRequest.add_arguments,
        ),
        Command(
            "trials",
            "what leading candidates do in the maps: what an audit left to a job",
            trial_commands.run,
            TrialsRequest.add_arguments,
        ),
        Command(
            "confirm",
            "what one candidate does, repeated in pixels: a few batches, so there is no --engine",
            confirm_commands.run,
            confirm_commands.add,
        ),
        Command(
            "explain",
            "what a method says of images: how little is enough, and more",
            explain_commands.run,
            explain_commands.add,
            closing=explain_commands.methods_text,
        ),
        Command(
            "search",
            "images like some others, or like a text",
            search_commands.run,
            SearchRequest.add_arguments,
        ),
        Command(
            "suggest",
            "what candidates might be called: words, each with a figure and a control",
            suggest_commands.run,
            SuggestRequest.add_arguments,
        ),
        Command(
            "data",
            "is it the data? labels, copies, and what tells the label without the object",
            data_quality.run,
            DataRequest.add_arguments,
        ),
        Command(
            "report",
            "audits as one HTML file for people who will never open the app",
            report_commands.run,
            report_commands.add_parser,
            report_commands.code,
        ),
        Command(
            "check",
            "do audits keep to rules? for continuous integration: exit code 3 where not",
            check_commands.run,
            check_commands.add,
            check_commands.code,
            closing=check_commands.closing,
        ),
        Command(
            "log",
            "an audit's figures and report as a run of MLflow or Weights & Biases",
            tracking.run,
            tracking.add,
            report_commands.code,
        ),
        Command(
            "mitigate",
            "correct a model for its tagged cues: a new audit, before and after",
            mitigate_commands.mitigate,
            MitigateRequest.add_arguments,
            closing=mitigate_commands.methods_text,
        ),
        Command(
            "generate",
            "train an audit's mask, foreground and background networks; export their images",
            generate_commands.run,
            GeneratorRequest.add_arguments,
        ),
        Command(
            "export-model",
            "write the audited model, corrected or not, and its card",
            mitigate_commands.export_model,
            mitigate_commands.add_export,
        ),
        Command(
            "compare",
            "several models on the same images",
            compare_commands.compare,
            CompareRequest.add_arguments,
        ),
        Command(
            "doctor",
            "versions, device, memory, disk, and what is optional and missing",
            doctor.doctor,
        ),
    )
}
"""By name, in the order of the help. A new command is one entry here."""


def add_commands(top: argparse.ArgumentParser) -> None:
    """Give a parser every command, each with the common options."""
    common = common_options()
    parsers = top.add_subparsers(
        dest="command", required=True, metavar="COMMAND", parser_class=Parser
    )
    for command in COMMANDS.values():
        parser = parsers.add_parser(
            command.name, help=command.text, description=command.text, parents=[common]
        )
        parser.closing = command.closing
        command.add(parser)


def run(options: argparse.Namespace, workspace: Workspace) -> Answer:
    """Run the command that ``options`` name."""
    with Terminal(workspace, options.job) as terminal:
        if isinstance(name := getattr(options, "audit", None), str) and options.job:
            terminal.started(workspace.find(name).id)
        return COMMANDS[options.command].run(options, workspace, terminal)
