"""A finished audit, read: the one object that pages and commands ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.audits.audit_summary import Summary
from core.audits.audited import AuditedClass
from core.audits.class_arrays import ClassArrays, ClassSizes, class_arrays
from core.audits.image_rows import read_candidates, read_images
from core.audits.upload import is_taken_in, upload
from core.candidates.candidate import Candidate, Functional
from core.candidates.key import CandidateKey
from core.candidates.part_kind import ApproximatePart
from core.errors import InputError, UnreadableImageError, WorkspaceError
from core.features.bits import stored_values
from core.features.places import Places
from core.features.shards import FeatureStore
from core.features.spectra import Spectra
from core.models.linear import Head, head_key, read_head
from core.storage import digests
from core.storage.files import here, read_array, read_bytes, read_value
from core.storage.layout import AuditFiles, UploadFiles
from core.storage.table_columns import as_names
from core.storage.workspace import Workspace, read_manifest
from core.types import FloatArray, IntArray, Preprocess

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray
    from PIL import Image

    from core.models.model import Model


BLOCK = 64
"""Images whose maps are in memory at a time."""


class Audit:
    """Reads what :func:`core.audits.run.run_audit` wrote; computes only maps that are missing.

    Parameters
    ----------
    folder : ``workspace/audits/<id>``.

    Raises
    ------
    WorkspaceError
        If the audit has not been finished yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.files = folder, AuditFiles(folder)
        self.manifest = read_manifest(folder)
        if not self.files.summary.exists():
            raise WorkspaceError(
                f"audit {self.manifest.name!r} is not finished; run the same audit command "
                "again to go on, or resume it on the page New audit"
            )
        self.summary = read_value(self.files.summary, Summary)

    @classmethod
    def open(cls, workspace: Workspace, audit: str) -> Audit:
        """An audit by name or by a prefix of its id."""
        return cls(workspace.folder(workspace.find(audit).id))

    @property
    def id(self) -> str:
        """Short id; the folder's name."""
        return self.manifest.id

    @property
    def of_data(self) -> Audit:
        """The audit without what people added to its attributes (:mod:`core.tags.saved_groups`)."""
        return self

    @property
    def name(self) -> str:
        """Name given by the user."""
        return self.manifest.name

    @property
    def root(self) -> Path:
        """Folder that image paths start from."""
        return Path(self.manifest.data.root)

    @cached_property
    def drawn(self) -> Spectra | None:
        """What draws its images and maps, where nothing was decoded (:func:`run_synth`)."""
        return Spectra.of_source(self.manifest.data.source)

    @property
    def exact_maps(self) -> bool:
        """Whether heatmaps average to alpha exactly."""
        return self.manifest.model.map_kind != "none"

    @property
    def classes(self) -> tuple[AuditedClass, ...]:
        """Facts of every audited class, by label."""
        return self.summary.classes

    @property
    def preprocess(self) -> Preprocess:
        """How images are brought to the encoder's size."""
        return self.manifest.preprocess

    @cached_property
    def images(self) -> pd.DataFrame:
        """Every readable image with its prediction, indexed by ``image_id``."""
        self.images_digest  # noqa: B018  of what is read, should it be replaced meanwhile
        return read_images(self.files)

    @cached_property
    def images_digest(self) -> str:
        """Changes with the table of images; empty where an earlier version kept none."""
        return digests.whole_of(self.files.images)

    @cached_property
    def _places(self) -> Places:
        return Places(as_names(self.images.index))

    def rows_of(self, image_ids: Sequence[str]) -> IntArray:
        """Rows of ``images`` (n,) by ids, -1 where there is none; cheaper than its index."""
        return self._places.of(image_ids)

    def images_of(self, image_ids: Sequence[str]) -> pd.DataFrame:
        """The rows themselves; KeyError where the audit has no such image.

        ``images.loc`` makes and keeps a text of Python of every id: 100 MB of a million images.
        """
        rows = self.rows_of(image_ids)
        if len(rows) and rows.min() < 0:
            raise KeyError(image_ids[int(rows.argmin())])
        return self.images.iloc[rows]

    @cached_property
    def properties(self) -> pd.DataFrame:
        """What every readable image looks like, indexed like ``images``.

        :data:`core.data.properties.COLUMNS`, and ``aspect``, width over height of the file's image.
        """
        found = self.store.properties.reindex(self.images.index)
        return found.assign(aspect=self.images["width"] / self.images["height"])

    @cached_property
    def held_out(self) -> np.ndarray:
        """(N,) bool: the rows of ``images`` that figures are measured on."""
        from core.audits.subject import fitting_rows, held_out_rows

        return held_out_rows(self.folder, fitting_rows(self.images))

    @cached_property
    def candidates(self) -> pd.DataFrame:
        """Every candidate of every class (:data:`core.candidates.search.COLUMNS`)."""
        return read_candidates(self.files)

    @cached_property
    def controlled(self) -> pd.DataFrame:
        """The same beside what random directions open, computed where none was stored."""
        from core.audits.controls import controlled

        return controlled(self)

    @cached_property
    def store(self) -> FeatureStore:
        """Features and stored maps."""
        return FeatureStore(self.folder)

    @cached_property
    def head(self) -> Head:
        """The head that is explained."""
        return read_head(self.folder)

    @cached_property
    def head_key(self) -> str:
        """What the head, and everything that follows from it, was computed from."""
        return head_key(self.folder)

    def class_facts(self, wanted: str) -> AuditedClass:
        """A class by raw label, displayed name or ``#index``.

        Raises
        ------
        InputError
            If none matches; close names are given.
        """
        for key in ("label", "name"):
            for facts in self.classes:
                if getattr(facts, key) == wanted:
                    return facts
        if wanted.startswith("#"):
            for facts in self.classes:
                if str(facts.class_idx) == wanted[1:]:
                    return facts
        import difflib

        names = [facts.name for facts in self.classes]
        near = difflib.get_close_matches(wanted, names, n=3) or names[:5]
        raise InputError(
            f"audit {self.name!r} has no class {wanted!r}; for example: {', '.join(near)}"
        )

    @cached_property
    def class_names(self) -> dict[str, str]:
        """What each class is called on the screen, by its raw label."""
        return {facts.label: facts.name for facts in self.classes}

    def count(self, facts: AuditedClass, kind: str) -> int:
        """How many candidates of a kind a class has; any feature may be asked for as a neuron."""
        width = int(self.head.weight.shape[1])
        return ClassSizes(facts.class_idx, facts.n_components, width, self.files).of(kind)

    def arrays_of(self, wanted: str) -> ClassArrays:
        """:meth:`class_arrays` of a class by its name (:meth:`class_facts`)."""
        return self.class_arrays(self.class_facts(wanted).class_idx)

    def class_arrays(self, class_idx: int) -> ClassArrays:
        """Components, neurons and alphas of one class; arrays stay on disk until touched."""
        return class_arrays(self.files, self.head, class_idx)

    def candidate(self, key: CandidateKey | str) -> Candidate:
        """A candidate by its key, or by its text, ``van/pca-0``.

        Raises
        ------
        InputError
            If the text names none, or the class has none of this kind and number.
        """
        if isinstance(key, str):
            key = CandidateKey.parse(key, outputs=self.head.outputs)
        return self.arrays_of(key.label).candidate(key.kind, key.number)

    def upload(self, content: bytes, model: Model) -> str:
        """Take in an image from outside; the id under which it can be explained.

        Raises as :func:`core.audits.upload.upload` does.
        """
        return upload(self.files, content, model, self.preprocess)

    def _uploaded(self, image_id: str) -> UploadFiles | None:
        """Files of an upload; what an earlier version stored is computed anew, once."""
        from core.storage.roles import read_only

        files = self.files.upload(image_id)
        if not (image_id.startswith("up") and image_id.isalnum() and files.folder.is_dir()):
            return None
        if not is_taken_in(files):
            if read_only():
                return None
            self.upload(read_bytes(files.image), self.load_model())
        return files

    def features(self, image_ids: Sequence[str]) -> FloatArray:
        """Features (n, D) float32 of images of the audit, or of one that was uploaded."""
        if len(image_ids) == 1 and (files := self._uploaded(image_ids[0])):
            return read_array(files.features)
        return self.store.features(image_ids)

    def path(self, image_id: str) -> Path:
        """File of an image of this audit.

        Raises
        ------
        InputError
            If the audit holds no such image.
        """
        if files := self._uploaded(image_id):
            return here(files.image)
        if (row := self.rows_of([image_id])[0]) < 0:
            raise InputError(f"audit {self.name!r} holds no image {image_id!r}")
        return self.root / str(self.images["path"].iat[row])

    def image(self, image_id: str) -> Image.Image:
        """The upright RGB image.

        Raises
        ------
        UnreadableImageError
            If the file is gone or damaged; the remedy is named.
        """
        from core.data.decode import large_alone, read_image
        from core.data.foreign import read_foreign

        if self.drawn:
            return self.drawn.picture(int(self.path(image_id).stem, 16))
        path = self._there(image_id)
        if self._uploaded(image_id):
            return read_foreign(path, self.preprocess.black_and_white).image
        with large_alone(path):
            return read_image(path, levels=self.preprocess.black_and_white).image

    def pixels(self, image_id: str) -> NDArray[np.uint8]:
        """What the encoder sees of an image, (h, w, 3), as in the pass; raises like :meth:`image`.

        An upload is decoded whole.
        """
        from core.data.decode import large_alone
        from core.data.preprocess import apply, as_seen

        if not self.preprocess.shrink or self._uploaded(image_id):
            return apply(self.preprocess, self.image(image_id))
        path = self._there(image_id)
        with large_alone(path):
            return as_seen(self.preprocess, path)[0]

    def _there(self, image_id: str) -> Path:
        path = self.path(image_id)
        if not path.exists():
            raise UnreadableImageError(
                f"{path} is not there any more; if the data moved: python -m core show "
                f"{self.name!r} --data-root NEW"
            )
        return path

    def load_model(self, *, exported: bool = False) -> Model:
        """The audited model with the head that is explained, on its device, at its precision.

        Parameters
        ----------
        exported : as it is, on the CPU in fp32.
        """
        from core.audits.shard_work import network_of
        from core.models.device import choose_device

        if self.drawn:
            raise InputError(f"audit {self.name!r} is of drawn features: it has no network to run")
        compute = self.manifest.compute
        model = network_of(self.folder, self.manifest)
        model.use_head(self.head)
        if exported:
            return model
        try:
            device = choose_device(compute.device)
        except InputError:
            device = "cpu"
        return model.to(device, compute.precision).use_runtime(compute.runtime)

    def maps(
        self, image_ids: Sequence[str], model: Model | None = None, *, padded: bool = True
    ) -> FloatArray:
        """Pooled-layer maps (n, D, h, w) float32: from the pass, else computed as the pass did.

        Parameters
        ----------
        model : the loaded model, to save loading it here.
        padded : in batches of the pass's size, so that the bits are those of the pass. A single
            image to look at needs neither its bits nor its memory.

        Raises
        ------
        InputError
            If the architecture has no exact maps.
        """
        if not self.exact_maps:
            raise InputError(
                f"{self.manifest.model.name} has no pooled maps: its heatmaps are Grad-CAM "
                "approximations"
            )
        if len(image_ids) == 1 and (files := self._uploaded(image_ids[0])):
            return stored_values(read_array(files.maps))
        if self.store.has_maps(image_ids):
            return self.store.maps(image_ids)
        if self.drawn:
            return self.drawn.maps([int(i, 16) for i in image_ids], self.features(image_ids))
        from core.features.extract import encode_padded

        model = model or self.load_model()
        size = self.manifest.compute.batch_size
        parts = []
        for start in range(0, len(image_ids), size):
            pixels = [self.pixels(i) for i in image_ids[start : start + size]]
            batch = size if padded else len(pixels)
            maps = encode_padded(model, np.stack(pixels), batch).maps
            assert maps is not None
            parts.append(maps.float().cpu().numpy())
        return np.concatenate(parts)

    def alpha(
        self, candidate: Functional, image_ids: Sequence[str], model: Model | None = None
    ) -> FloatArray:
        """Alpha (n,) float64 of a candidate on any images, from what it needs of them.

        Parameters
        ----------
        model : the loaded model, for maps that were not kept.

        Raises
        ------
        InputError
            If it needs maps, and they were not kept; the remedy is named.
        """
        return self._over(candidate, candidate.alpha, image_ids, model)

    def known_alpha(self, candidate: Functional, image_ids: Sequence[str]) -> FloatArray:
        """:meth:`alpha` (n,) without the model: NaN of images whose maps it needs and none has."""
        if candidate.needs == "features":
            return self.alpha(candidate, image_ids)
        known = self.store.mapped(image_ids) if self.exact_maps else np.zeros(len(image_ids), bool)
        found = np.full(len(image_ids), np.nan)
        if known.any():
            found[known] = self.alpha(
                candidate, [i for i, kept in zip(image_ids, known, strict=True) if kept]
            )
        return found

    def slope(
        self, candidate: Functional, image_ids: Sequence[str], model: Model | None = None
    ) -> FloatArray:
        """Change of alpha with the features, (n, D), as for :meth:`alpha`."""
        return self._over(candidate, candidate.slope, image_ids, model)

    def _over(
        self,
        candidate: Functional,
        function: Callable[[FloatArray], FloatArray],
        image_ids: Sequence[str],
        model: Model | None,
    ) -> FloatArray:
        """A function of what a candidate needs, a block of images at a time where it is maps."""
        if candidate.needs == "features":
            return function(self.features(image_ids))
        if isinstance(candidate, ApproximatePart):
            return self._of_contributions(candidate, function, image_ids, model)
        if model is None and not self.maps_kept(image_ids):
            raise InputError(
                f"no maps are kept of these images of audit {self.name!r}, from which this is "
                "computed; run the same audit again, which keeps them where they fit"
            )
        parts = [
            function(self.maps(image_ids[start : start + BLOCK], model))
            for start in range(0, max(len(image_ids), 1), BLOCK)
        ]
        return np.concatenate(parts)

    def contributions(self, direction: FloatArray, image_id: str, model: Model) -> FloatArray:
        """What channels and places add to q . phi of an image, (C, h, w), to first order."""
        from core.explain.contributions import contributions

        return contributions(model, self.pixels(image_id), direction)

    def _of_contributions(
        self,
        candidate: ApproximatePart,
        function: Callable[[FloatArray], FloatArray],
        image_ids: Sequence[str],
        model: Model | None,
    ) -> FloatArray:
        """A function of contributions, an image at a time."""
        model = model or self.load_model()
        parts = [self.contributions(candidate.margin, i, model)[None] for i in image_ids]
        return np.concatenate([function(part) for part in parts])

    def maps_kept(self, image_ids: Sequence[str]) -> bool:
        """Whether exact maps of all these images can be read without the model."""
        if not self.exact_maps:
            return False
        uploaded = len(image_ids) == 1 and self._uploaded(image_ids[0]) is not None
        return uploaded or self.drawn is not None or self.store.has_maps(image_ids)

    def heatmaps(
        self,
        candidate: Functional,
        image_ids: Sequence[str],
        model: Model | None = None,
        *,
        padded: bool = True,
    ) -> FloatArray:
        """Maps (n, h, w) float32 of one candidate; the mean over h, w is alpha where exact.

        Where the architecture has no exact map, Grad-CAM on alpha
        (:func:`core.explain.attribution.attribute`). ``padded`` as for :meth:`maps`.
        """
        if isinstance(candidate, ApproximatePart):
            return self._of_contributions(candidate, candidate.heatmap, image_ids, model)
        if not self.exact_maps:
            return self._approximate(candidate, image_ids, model)
        found = []
        for start in range(0, len(image_ids), BLOCK):
            maps = self.maps(image_ids[start : start + BLOCK], model, padded=padded)
            found.append(candidate.heatmap(maps))
        return np.concatenate(found)

    def _approximate(
        self, candidate: Functional, image_ids: Sequence[str], model: Model | None
    ) -> FloatArray:
        from core.explain.attribution import attribute

        model = model or self.load_model()
        found = []
        for image_id in image_ids:
            pixels = self.pixels(image_id)
            direction = self.slope(candidate, [image_id], model)[0]
            found.append(attribute(model, pixels, direction, "grad_cam"))
        return np.stack(found)
