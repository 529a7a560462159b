"""The words of this project: one definition each, for the app, the report and the command line.

A measure is defined by its record (:mod:`core.measures.registry`), as a term of the same form.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import InputError


@dataclass(frozen=True)
class Term:
    """What a word means here."""

    name: str
    """As it stands on the screen, in lower case unless it is a name."""
    definition: str
    """One or two sentences, without the word itself."""
    unit: str = ""
    direction: str = ""
    """What higher means."""
    source: str = ""
    """Paper and section; empty where the word is everybody's."""

    @property
    def text(self) -> str:
        """Definition, unit, direction and source as plain sentences."""
        said = [self.definition]
        if self.unit:
            said.append(f"Unit: {self.unit}.")
        if self.direction:
            said.append(f"{self.direction[0].upper()}{self.direction[1:]}.")
        if self.source:
            said.append(f"Source: {self.source}.")
        return " ".join(said)


_NEUHAUS = "Neuhaus et al. 2023"
_MOAYERI = "Moayeri et al. 2023"
_SINGLA = "Singla & Feizi 2022"

_ALL = (
    Term(
        "above its control",
        "Said of an accuracy gap that is larger than random directions open which follow the logit "
        "as closely: mixtures of the class's components, whatever the candidate's kind. Tested by "
        "ranks over all held-out images, and corrected over all candidates of all classes and "
        "kinds. A core feature can be above its control, too.",
        source="Mann & Whitney 1947; Benjamini & Hochberg 1995",
    ),
    Term(
        "accuracy",
        "The share of images that are predicted as their own class. On images that a fitted head "
        "was trained on, predictions out of fold are counted.",
        "percent or share",
        "higher is better",
    ),
    Term(
        "accuracy gap",
        "Accuracy on the k held-out images of a class that show a candidate most minus accuracy "
        "on the k that show it least; k is a third of them, at least 10 and at most 100, never "
        "more than half. Every direction that has a share of the logit opens one, a core feature "
        "included, and the largest of many is too large: see above its control.",
        "percentage points",
        "above zero: the model does better where the candidate is strong",
        f"{_MOAYERI}, section 3",
    ),
    Term(
        "adjudication",
        "A candidate on which people differ, settled by somebody who looked at it again. It "
        "decides, but it is not counted as a vote.",
    ),
    Term(
        "adversarial split",
        "The images of an audit divided again so that a tagged cue goes with its class where a "
        "model is trained, and not where it is tested. No pixel and no label is changed.",
        source="Atanov et al. 2022, section 5",
    ),
    Term(
        "agreement score",
        "How alike two heads answer that were trained on disjoint images of one labelling: Cohen's "
        "kappa on further images. A cue that is learnt from fewer images than its class is a "
        "shortcut that a network finds first.",
        "-1 to 1, 0 is chance",
        "higher: easier to learn",
        "Atanov et al. 2022, section 3",
    ),
    Term(
        "alpha",
        "What a component or neuron adds to the logit of the class on one image, compared with "
        "the mean over the class's training images.",
        "logit units",
        "above zero: raises the logit of the class",
        f"{_NEUHAUS}, section 3",
    ),
    Term(
        "AUROC",
        "The probability that an image with the attribute gets a larger value than one without "
        "it: area under the ROC curve.",
        direction="0.5 is chance, 1 tells all apart",
        source="Hanley & McNeil 1982",
    ),
    Term(
        "calibration",
        "Whether a model is right as often as it says: of images that it is 80 % sure of, 80 % "
        "should be predicted correctly. A cue can make it too sure where it is shown, and too "
        "timid where it is not.",
        source="Guo et al. 2017",
    ),
    Term(
        "candidate",
        "What can be tagged: a component or a single neuron of a class.",
    ),
    Term(
        "carried direction",
        "What a tagged candidate of another model corresponds to in this one: the direction of its "
        "features that varies most with that candidate on the same images.",
        source=f"{_NEUHAUS}, section 5",
    ),
    Term(
        "clarifying",
        "Said of a spurious gap above zero: the cue helps where it is present.",
        source=f"{_MOAYERI}, section 3",
    ),
    Term(
        "cluster",
        "Images of a class whose explanations are alike, by where they look, by channels or by "
        "parts; its alpha is the affinity to the cluster's centre, 1 in it and 1/2 a typical "
        "distance away. A small cluster that stands apart is a strategy of its own.",
        "0 to 1",
        source="Lapuschkin et al. 2019",
    ),
    Term(
        "co-training",
        "A head on shape and a head on texture label images for each other, those first that they "
        "are surest of. It undoes a cue that is in one of the two where images without a label "
        "show the classes without it.",
        source="Jain et al. 2022, section 5",
    ),
    Term(
        "Cohen's kappa",
        "Agreement of two people on what both answered, beyond what chance gives.",
        direction="1 is full agreement, 0 is chance",
        source="Cohen 1960",
    ),
    Term(
        "completeness",
        "Whether the best pixels of a heatmap alone give a label what the whole image gives it: "
        "the ratio of both probabilities, at most 1, of the worst of several labels.",
        direction="1 is best",
        source="Gupta et al. 2022",
    ),
    Term(
        "component",
        "A direction in which the weighted activations of a class vary together: an eigenvector "
        "of their covariance. The alphas of all components of an image add up to its logit minus "
        "the class's mean.",
        source=f"{_NEUHAUS}, section 3",
    ),
    Term(
        "concept relevance",
        "What a channel, component or part of a network adds to a class in one image, and where: "
        "the class explained through it alone. Maps of all channels sum to that of the class.",
        "logit units",
        source="Achtibat et al. 2023",
    ),
    Term(
        "confusing",
        "Said of a spurious gap below zero: the model does worse where the cue is present.",
        source=f"{_MOAYERI}, section 3",
    ),
    Term("core", "Tag of a candidate that shows the object itself, or an essential part of it."),
    Term(
        "decision",
        "What enough people say about a candidate: more than half of its answers, unless another "
        "number is asked for.",
        source=f"{_SINGLA}: 3 of 5",
    ),
    Term(
        "effective robustness",
        "How far a model's accuracy on one set of images is from the line through all models, "
        "given its accuracy on another set.",
        "percentage points",
        "positive: better than the other models let expect",
        "Taori et al. 2020",
    ),
    Term("encoder", "The part of a model that turns an image into features."),
    Term(
        "ensemble",
        "Several models of the same classes that answer with the mean of their probabilities. "
        "Models that lean on one cue err together where it is missing.",
        source="Lakshminarayanan et al. 2017",
    ),
    Term(
        "evidence on parts",
        "Which share of the positive part of a class's map, or of a candidate's, lies on each "
        "annotated part of the object, beside the area of that part.",
        "share",
        "above the area: more than an even map has there",
        "Sitawarin et al. 2023",
    ),
    Term(
        "exact map",
        "Where in the image a component or neuron is: a map whose mean over all positions is "
        "exactly its alpha. Orange raises the logit, blue lowers it, strength is opacity, and the "
        "white line stands at half of the maximum.",
        "logit units",
        source=f"{_NEUHAUS}, section 3; {_SINGLA}, section 4",
    ),
    Term("feature", "One number that the encoder gives for an image, before the linear head."),
    Term(
        "feature prior",
        "What a view of an image leaves to go by: shape in its edges, texture in its shuffled "
        "patches. A cue that is in one of the two can be told from the other.",
        source="Jain et al. 2022, section 3",
    ),
    Term(
        "feature visualisation",
        "A picture that raises the alpha of a candidate as far as it goes. It shows what the "
        "candidate answers to; whether images of the class look so, it does not say.",
        source="Neuhaus et al. 2023, Singla & Feizi 2022, Olah et al. 2017",
    ),
    Term(
        "fingerprint",
        "A short name for the very data, model and settings of an audit: two audits with the same "
        "one are the same.",
    ),
    Term(
        "Fleiss' kappa",
        "Agreement of several people with the same number of answers, beyond what chance gives.",
        direction="1 is full agreement, 0 is chance",
        source="Fleiss 1971",
    ),
    Term(
        "flip",
        "An image whose prediction changes: between two models, or when a cue is pasted on it.",
    ),
    Term(
        "harmed",
        "Said of a class where a candidate tagged spurious, put with pixels into other classes' "
        "images, turns more of them into it than the same shape from elsewhere in the class, or "
        "where its own images are lost without it; never by a gap alone. The bounds allow for the "
        "candidate having been chosen by its figures. A verdict is as good as its tag.",
        source="Fisher 1935, section 21; Benjamini & Yekutieli 2005",
    ),
    Term("head", "The linear layer that turns features into the logits of the classes."),
    Term(
        "held-out images",
        "Images on which nothing was fitted: every split but train, or out-of-fold predictions "
        "where there is only one split.",
    ),
    Term(
        "Holm's correction",
        "Makes p-values larger so that among all differences of a table the chance of calling any "
        "of them different by accident stays below 5 %.",
        source="Holm 1979",
    ),
    Term(
        "interval",
        "Where the true value lies with 95 % confidence. For the gaps of many candidates it is "
        "corrected for their number (Bonferroni); that of the worst group or the largest gap "
        "allows for choosing it.",
        source="Newcombe 1998, method 10; Wilson 1927",
    ),
    Term(
        "Krippendorff's alpha",
        "Agreement of several people, some of whom left candidates out.",
        direction="1 is full agreement, 0 is chance",
        source="Krippendorff 2004",
    ),
    Term(
        "lean",
        "The share put in minus the same for the same shape from elsewhere in the class. Its "
        "interval is corrected over all candidates of all kinds and classes.",
        "share",
        "above zero: the class leans on the candidate, core or not",
    ),
    Term(
        "leaned on",
        "A candidate that turns more images into its class than its control does. A core feature "
        "is leaned on, too, and no harm is claimed before somebody tags it as spurious.",
    ),
    Term(
        "linear probe",
        "A head that is fitted on the features of an encoder: what the encoder knows about "
        "classes that it was not trained on.",
    ),
    Term(
        "logit",
        "The number that the head gives a class before it becomes a probability.",
        direction="higher: more probable",
    ),
    Term(
        "neuron",
        "A single feature of the encoder, as it counts for one class.",
        source=f"{_SINGLA}, section 3",
    ),
    Term(
        "out of distribution",
        "Said of images unlike those that a model was trained on. Scores of logits and features "
        "tell some of them; images that show a cue may look typical whatever else they show.",
        source="Hendrycks & Gimpel 2017",
    ),
    Term(
        "paired bootstrap",
        "The images are drawn again many times, the same ones for every model; how much a "
        "difference moves says how sure it is.",
        source="Efron & Tibshirani 1993, section 16",
    ),
    Term(
        "part",
        "One of a few things that a class's margin over the other classes is made of: what the "
        "channels give together, place by place. It sees a cue that is on every image of its "
        "class.",
    ),
    Term(
        "planted cue",
        "A cue that was drawn into rendered images on purpose, so that what an audit finds can be "
        "checked against what is there.",
    ),
    Term(
        "put in",
        "The share of other classes' images, of those that were not given the class before, that "
        "turn into it once the region where a candidate reaches half of its largest value is put "
        "into their maps. No pixel is changed and no network run, so it ranks candidates like "
        "pasted pixels do but is higher.",
        "share",
        "higher: the candidate alone makes the class",
    ),
    Term(
        "ranking",
        "The images of a class from highest to lowest spuriosity.",
        source=f"{_MOAYERI}, section 3",
    ),
    Term(
        "residual",
        "What the shown components of an image leave out of its logit. With it the sum is exact.",
        "logit units",
    ),
    Term(
        "severity",
        "How far a picture is corrupted, by noise, blur, weather or compression, in five steps "
        "from hardly to hardly recognisable. Strengths are this project's own, so that figures "
        "compare with each other and with no published table.",
        "1 to 5",
        "higher: worse pictures",
        "in the manner of Hendrycks & Dietterich 2019",
    ),
    Term(
        "soundness",
        "Whether the best pixels of a heatmap alone do not give a label more than the whole image "
        "gives it: the ratio of both probabilities, at most 1, of the worst of several labels.",
        direction="1 is best",
        source="Gupta et al. 2022",
    ),
    Term("split", "Which part of the data an image belongs to: train, val or test."),
    Term(
        "spotlight",
        "A photo dimmed but for where a component or neuron reaches half of its maximum in that "
        "image: the region that trials cut out. Nothing lies over the region itself.",
    ),
    Term(
        "spuriosity",
        "The mean z-score of the spurious candidates of a class on one image.",
        direction="above zero: more of the spurious cues than usual in the class",
        source=f"{_MOAYERI}, section 3",
    ),
    Term(
        "spurious",
        "Tag of a candidate that could be there without the object: a background, another object, "
        "a watermark.",
    ),
    Term(
        "spurious gap",
        "Accuracy on the k images of highest spuriosity minus accuracy on the k of lowest.",
        "percentage points",
        "above zero: the cues help where they are present (clarifying); below: they confuse",
        f"{_MOAYERI}, section 3",
    ),
    Term(
        "sufficient subset",
        "The smallest part of an image that a model is still sure of, once everything else is "
        "filled: parts are taken away one after the other, those first whose loss hurts the "
        "confidence least. The fill matters: what it is given alone, and what the same part is "
        "given on other fills, is told.",
        "share of the image",
        source="Carter et al. 2019 and 2021",
    ),
    Term(
        "tag",
        "What one person says about a candidate: core, spurious or unsure. Every tag is kept with "
        "its time; taking one back is an entry, too.",
    ),
    Term(
        "taken away",
        "The share of a class's right images that are no longer given it once the candidate's "
        "region in their maps is filled with the mean place of other classes.",
        "share",
        "higher: the class cannot do without it",
    ),
    Term(
        "temperature",
        "What logits are divided by so that a model is as sure as it is right. It changes no "
        "prediction, and is one number for all images, with the cue or without it.",
        direction="above 1 the model was too sure",
        source="Guo et al. 2017, section 4.2",
    ),
    Term(
        "UMAP",
        "A map on which similar images are neighbours. Distances between far groups mean little.",
        source="McInnes et al. 2018",
    ),
    Term(
        "universal patch",
        "One small patch that gradients find, put anywhere into images of other classes so that as "
        "many as possible become a class: what a shortcut of this size can do at least, whether or "
        "not any image shows it.",
        "share of images turned",
        "higher: the class is easier to fake",
        "Brown et al. 2017",
    ),
    Term("unsure", "Tag of a candidate that could not be told. It decides nothing."),
    Term(
        "variance share",
        "The share of the variance of a class's logit that a component makes up.",
        "percent",
        "higher: the logit depends more on it",
    ),
    Term(
        "weighted activations",
        "The features of an image, each times its weight in the head for one class: their sum is "
        "the logit without the bias.",
        source=f"{_NEUHAUS}, section 3",
    ),
)

TERMS = {term.name: term for term in _ALL}
"""Every term by its name, in alphabetical order."""


def term(name: str) -> Term:
    """A term by its name.

    Raises
    ------
    InputError
        If there is no such term.
    """
    if name not in TERMS:
        raise InputError(f"{name!r} is no term of the glossary; see core/glossary.py")
    return TERMS[name]
