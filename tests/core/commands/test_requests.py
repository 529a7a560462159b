"""What commands are asked for, as values: to a command line and back, all of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import parser
from core.audits.audit_requests import (
    AuditRequest,
    ConfirmRequest,
    DemoRequest,
    DiscoverRequest,
    ExplainRequest,
    MapRequest,
    PartsRequest,
    SearchRequest,
    SuggestRequest,
    TrialsRequest,
)
from core.audits.synth_request import SynthRequest
from core.corrections.generator_request import GeneratorRequest
from core.corrections.mitigate_request import MitigateRequest
from core.errors import InputError
from core.jobs.options import Request, folders
from core.measures.measure_requests import (
    CompareRequest,
    FactorsRequest,
    MeasureRequest,
    ScoreRequest,
)
from core.quality.data_request import DataRequest
from core.storage.audit_manifest import Provenance

ODD = ("van", "-odd", "--name", "a=b", "--class=x", "-1", "two words", "", "ä€", "'\"", "#3", "[x]")
"""Texts that a command line may misread."""

NAMES = tuple(text for text in ODD if text and not text.startswith("-"))
"""Those of them that may be the name of an audit."""

PATHS = tuple(map(Path, ("/a b/c=d", "-folder", "x", "--seed")))
FOLDERS = (
    {"van": PATHS[0]},
    {"-odd": PATHS[1], "two words": PATHS[2]},
    {"#3": PATHS[0], "y=cat": PATHS[0]},
)

ENGINE = {
    **{"engine": ("ray", "processes"), "address": ("10.0.0.1:6379",)},
    **{"threads": (2,), "workers": (3,)},
}
"""Values of the options that commands of any engine share."""

VALUES: dict[type[Request], dict[str, tuple[Any, ...]]] = {
    AuditRequest: {
        **{"classes": ("number", "/a/classes.txt"), "weights": ODD, "input_range": (255.0, 0.5)},
        **{
            "mean": ((0.485, 0.456, 0.406), (-1.0, 0.1, 1 / 3)),
            "std": ((0.5,), (58.4, 57.1, 57.4)),
        },
        **{"input_size": ((224, 224), (96, 64)), "crop": (0.875, 1.0), "crop_mode": ("squash",)},
        **{"interpolation": ("bicubic",), "colours": ("bgr",), "levels": ((0.0, 4095.0),)},
        "windows": ("scaled",),
        "data": ("/data", "-odd", "hf:x?y=z", "demo:cues"),
        "model": ODD,
        "name": NAMES,
        "head": ("keep", "fit"),
        "checkpoint": PATHS,
        "components": (1, 512),
        "parts": (0, 1, 12),
        "device": ("cuda:1", "-odd"),
        "precision": ("fp32", "tf32", "fp16", "bf16"),
        "runtime": ("eager", "onnx"),
        "shrink": (True,),
        "batch_size": (1, 256),
        **ENGINE,
        "limit_per_class": (7,),
        "also": ({"v2": "/a b/c=d"}, {"a": "hf:x?y=z", "b-2": "-odd"}),
    },
    GeneratorRequest: {
        **{"audit": ODD, "settings": ("wildlife", "-odd"), "steps": (1, 4000), "seed": (3,)},
        **{"out": PATHS, "images": (1, 500), "textures": ("made",)},
    },
    SynthRequest: {
        "images": (500, 1_280_000),
        "classes": (2, 7),
        "dim": (2, 2048),
        "name": ("n", "a b"),
        "out": (Path("w"), Path("/a b")),
        "components": (1, 65),
        "maps": (5, 10**7),
        "parts": (1, 9),
        "seed": (7,),
    },
    DemoRequest: {"name": ("solar", "compare")},
    PartsRequest: {"audit": ODD, "class_name": ODD, "number": (1, 12)},
    DiscoverRequest: {
        "audit": ODD,
        "method": ("look", "npfv"),
        "class_name": ODD,
        "kind": ("part", "-odd"),
        "count": (3,),
        "space": (("psi",), ("heatmap", "part")),
        "clusters": (2, 9),
        "neighbours": (3,),
        "seed": (7,),
        "out": PATHS,
    },
    TrialsRequest: {"audit": ODD, **ENGINE},
    MapRequest: {"audit": ODD, "class_name": ODD, "pca_only": (True,)},
    ConfirmRequest: {"audit": ODD, "class_name": ODD, "candidate": ("part-0", "-odd")},
    ExplainRequest: {
        "audit": ODD,
        "class_name": ODD,
        "method": ODD,
        "candidate": ("part-0", "-odd"),
        "images": ("-odd", "a,b"),
        "count": (3,),
        "settings": ({"fill": "grey"}, {"-odd": "1", "tau": "-0.5", "a": "b=c"}),
        "also": (("b",), ("-odd", "two words")),
        "seed": (7, -1),
        "out": PATHS,
    },
    DataRequest: {"audit": ODD, "what": (("labels",), ("copies", "slices"))},
    SearchRequest: {
        "audit": ODD,
        "text": ODD,
        "like": ("-odd", "a,b"),
        "class_name": ODD,
        "top": (3,),
        "text_model": PATHS,
    },
    SuggestRequest: {
        "audit": ODD,
        "class_name": ODD,
        "candidate": ("part-0", "-odd"),
        "network": (True,),
        "text_model": PATHS,
        "words": ("snow", "-odd,a=b"),
    },
    FactorsRequest: {"audit": ODD, "class_name": ODD},
    ScoreRequest: {"audit": ODD, "class_name": ODD, "cue_images": PATHS},
    MeasureRequest: {
        "audit": ODD,
        "what": ("gap", "noise", "flip", "groups"),
        "threshold": (1, 0, -2),
        "sigma": ((0.25,), (0.1, 1 / 3, 1e-9)),
    },
    CompareRequest: {
        "audits": (("a", "b"), ("-a", "b"), ("--stored", "-1", "a=b")),
        "baseline": ODD,
        "carry_tags_from": ODD,
        "cue_images": FOLDERS,
        "stored": (True,),
        "axes": (("all images", "-odd"),),
        "published": PATHS,
        "columns": (("val", "-odd"), ("a b", "c=d")),
    },
    MitigateRequest: {
        "audit": ODD,
        "method": ODD,
        "name": NAMES,
        "classes": (("van",), ("-odd", "two words", "")),
        "cues": (("van/pca-0", "-odd/neuron-12"), ("a=b/pca-1",)),
        "strength": ("sweep", 0.0, 2.0, -1.0, 1 / 3, 1e-9, 1e22),
        "options": ({"cav": "signal"}, {"rate": "-0.1", "fit": "a=b"}),
        "attribute": ODD,
        "masks": (True,),
        "threshold": (1, 0, -2),
        "pictures": (False,),
        "cue_images": FOLDERS,
        "seed": (7, -1),
    },
}
"""For every command, values of every field other than their defaults."""


NEEDED = {AuditRequest: ("data", "model")}
"""Fields that may be left out only where others are given."""


def combined(kind: type[Request]) -> Iterator[Request]:
    """Every value of every field alone, then all fields at once, each value in some row."""
    values = VALUES[kind]
    least = {
        f.name: values[f.name][0]
        for f in fields(kind)
        if (f.default is MISSING and f.default_factory is MISSING) or f.name in NEEDED.get(kind, ())
    }
    for name, of in values.items():
        for value in of:
            yield kind(**{**least, name: value})
    rows = max(map(len, values.values()))
    for shift in range(rows):
        yield kind(**{n: of[(shift + i) % len(of)] for i, (n, of) in enumerate(values.items())})
    for one, two in itertools.combinations(values, 2):
        yield kind(**{**least, one: values[one][-1], two: values[two][-1]})


def test_every_field_of_every_request_is_tried() -> None:
    assert set(VALUES) == set(Request.__subclasses__())
    untried = {"class_name", "cue_images"}  # of measure: they belong together, see below
    untried |= {"against", "typical_of", "ensemble"}  # likewise
    for kind, values in VALUES.items():
        left = {f.name for f in fields(kind)} - set(values)
        assert left == (untried if kind is MeasureRequest else set())


@pytest.mark.parametrize("kind", VALUES, ids=lambda k: k.command)
def test_a_request_is_read_from_its_own_arguments(kind: type[Request]) -> None:
    whole = parser()
    common = ["--workspace", "/w", "--job", "00000001-ab"]
    for request in combined(kind):
        arguments = request.arguments()
        assert kind.parse(arguments) == request
        assert request.is_asked_by(arguments)
        end = [*arguments, "--"].index("--")  # as a job starts it
        options = whole.parse_args([*arguments[:end], *common, *arguments[end:]])
        assert (options.command, options.workspace, options.job) == (kind.command, *common[1::2])
        assert kind.from_options(options) == request
        assert request.title


def test_the_score_of_measure_is_read_too() -> None:
    for name, path in itertools.product(ODD, PATHS):
        request = MeasureRequest("a", "score", class_name=name, cue_images=path)
        assert MeasureRequest.parse(request.arguments()) == request
    with pytest.raises(InputError, match="--what score needs --class"):
        MeasureRequest("a", "score")
    with pytest.raises(InputError, match="belong together"):
        MeasureRequest("a", "gap", class_name="van", cue_images=Path("x"))


def test_sets_of_images_of_measure_are_read_too() -> None:
    for name, other in itertools.product(ODD, ODD):
        request = MeasureRequest("a", "ood", against=name, typical_of=other)
        assert MeasureRequest.parse(request.arguments()) == request
        request = MeasureRequest("a", "calibration", ensemble=(name, other))
        assert MeasureRequest.parse(request.arguments()) == request
    with pytest.raises(InputError, match="--ensemble belongs to"):
        MeasureRequest("a", "gap", ensemble=("b",))


def test_folders_of_classes() -> None:
    given = ["van=x", "y=cat=/a=b", "dog=~/c", "eel=d=e"]
    read = {"van": Path("x"), "y=cat": Path("/a=b"), "dog": Path("~/c"), "eel": Path("d=e")}
    assert folders(given) == read
    for pair in ("van", "van=", "=x", ""):
        with pytest.raises(InputError, match="give CLASS=DIR"):
            folders([pair])


def test_defaults_are_left_out() -> None:
    assert DemoRequest().arguments() == ["demo"]
    assert MeasureRequest("a").arguments() == ["measure", "a"]
    assert AuditRequest("d", "m").arguments() == ["audit", "--data", "d", "--model", "m"]
    request = MitigateRequest("a", "pclarc", "b")
    assert request.arguments() == ["mitigate", "a", "--method", "pclarc", "--name", "b"]


def test_command_lines_of_before_ask_for_the_same() -> None:
    """In another order, with defaults, with values after an equals sign."""
    before = ["mitigate", "a", "--method", "pclarc", "--cue", "van/pca-0", "--strength", "auto"]
    request = MitigateRequest("a", "pclarc", "b", cues=("van/pca-0",))
    assert request.is_asked_by([*before, "--name", "b"])
    assert not request.is_asked_by([*before, "--name", "c"])
    assert not request.is_asked_by(["mitigate", "a"])
    assert not request.is_asked_by(["demo"])
    assert not request.is_asked_by([])
    assert MapRequest("a", "eel").is_asked_by(["map", "a", "--class=eel"])
    assert MeasureRequest("a").is_asked_by(["measure", "a", "--what", "all"])
    audit = ["audit", "--data", "d", "--model", "m", "--head", "auto", "--components", "64"]
    wanted = AuditRequest("d", "m", components=64)
    assert wanted.is_asked_by([*audit, "--device", "auto", "--precision", "auto"])


def test_what_is_added_to_an_audit_needs_its_name_alone() -> None:
    added = AuditRequest(name="mine", also={"v2": "/d"})
    assert added.arguments() == ["audit", "--name", "mine", "--also", "v2=/d"]
    assert AuditRequest.parse(added.arguments()) == added
    assert (added.only_adds, added.title) == (True, "mine · v2")


def test_jobs_are_called_as_before() -> None:
    assert AuditRequest("demo:cues", "timm:x", name="mine").title == "demo:cues · timm:x"
    assert MitigateRequest("a", "pclarc", "my  new").title == "my new · pclarc"
    assert CompareRequest(("a", "b", "c")).title == "Compare 3 models"
    assert DemoRequest().title == "Demo"


def test_a_manifest_keeps_what_was_asked_for() -> None:
    for request in combined(MitigateRequest):
        assert isinstance(request, MitigateRequest)
        said = json.loads(json.dumps(request.to_json()))
        done = Provenance.from_json({"parent": request.audit, "parent_name": "a", **said})
        # classes have become cues; what is measured is no part of what comes out
        attribute = request.attribute or None
        kept = replace(request, classes=(), pictures=True, cue_images={}, attribute=attribute)
        assert MitigateRequest.again(done, request.name) == kept


def test_a_manifest_of_before_thresholds_were_kept() -> None:
    done = MitigateRequest("a", "pclarc", "b", strength=2.0, threshold=1).to_json()
    del done["threshold"]
    old = Provenance.from_json({"parent": "a", "parent_name": "a", **done})
    assert MitigateRequest.again(old, "c").threshold is None
    assert done.keys() == {
        *("method", "cues", "options", "asked_strength", "attribute", "masks", "seed")
    }
