"""The bundle: one folder with everything needed to tag, and nothing that runs code when it is loaded."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import onnxruntime
from archspec.cpu.detect import detected_info
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Tokenizer

from earful import taxonomy as taxonomies
from earful import topics as topic_files
from earful.drift import Reference
from earful.errors import (
    BundleError,
    BundleFileMissing,
    BundleFormatUnknown,
    BundleHashMismatch,
    BundleLabelsDisagree,
    BundleManifestInvalid,
    BundleNotFound,
    InputError,
    TaxonomyError,
)
from earful.policy import Policy
from earful.taxonomy import URGENCIES, Taxonomy
from earful.topics import Topics

FORMAT = 1
MANIFEST, MODEL, TOKENIZER = "manifest.json", "model.onnx", "tokenizer.json"
TAXONOMY, POLICY, CARD = "taxonomy.toml", "policy.json", "card.md"
FILES = (MODEL, TOKENIZER, TAXONOMY, POLICY, CARD)
TOPIC_FILES = topic_files.FILES  # of a bundle that has topics, beside the others
VNNI = {"avx512_vnni", "avx_vnni"}  # instructions that add up products of int8 without overflowing


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TaxonomyRef(_Part):
    """Which taxonomy the bundle was trained for."""

    name: str
    version: str
    digest: str


class Labels(_Part):
    """What the model's outputs stand for, in order; `urgency` is empty when there was nothing to learn it from."""

    category: tuple[str, ...]
    urgency: tuple[str, ...]


class Windows(_Part):
    """How long texts are cut, in tokens."""

    size: Annotated[int, Field(ge=3, le=8192)]  # the longest that encoders of this kind read
    overlap: Annotated[int, Field(ge=0)]
    pad_id: Annotated[int, Field(ge=0)]


class SmokeAnswer(_Part):
    """An answer recorded at export, which a loaded bundle must give again."""

    text: str
    category: str
    confidence: float


class Manifest(_Part):
    """What `manifest.json` says. `files` maps each other file to the sha256 of its bytes."""

    format: int
    files: dict[str, str]
    base_model: str
    taxonomy: TaxonomyRef
    labels: Labels
    windows: Windows
    run_id: str | None
    created_at: str
    metrics: dict[str, float]
    smoke: tuple[SmokeAnswer, ...]
    reference: Reference | None = None  # what it was measured on was like; None in bundles from before that was kept


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, in memory. `digest` is the sha256 of the manifest, which holds that of every other file.

    `topics` is None if it has none.
    """

    folder: Path
    manifest: Manifest
    taxonomy: Taxonomy
    policy: Policy
    tokenizer: Tokenizer
    session: onnxruntime.InferenceSession
    digest: str
    topics: Topics | None


def load(folder: Path, threads: int | None = None) -> Bundle:
    """Read and verify a bundle. What is verified is what is used: every file is read once.

    `threads` is how many cores one inference may use; all of them by default. Raises the `BundleError` that fits:
    see `earful.errors`.
    """
    raw = _read(folder, MANIFEST) if folder.is_dir() else None
    if raw is None:
        raise BundleNotFound(f"{folder}: there is no bundle here (no {MANIFEST})")
    manifest = _parse_manifest(folder, raw)
    extra = [name for name in TOPIC_FILES if name in manifest.files]
    content = {name: _read_verified(folder, name, manifest) for name in (*FILES, *extra)}
    bundle = _assemble(folder, manifest, content, threads, digest="sha256:" + hashlib.sha256(raw).hexdigest())
    _check_labels(bundle)
    return bundle


def _read(folder: Path, name: str) -> bytes | None:
    try:
        return (folder / name).read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except OSError as error:
        raise BundleError(f"{folder / name}: cannot be read: {error.strerror}") from error


def _parse_manifest(folder: Path, raw: bytes) -> Manifest:
    try:
        content = json.loads(raw)
        found = content["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleManifestInvalid(
            f"{folder / MANIFEST}: is not a bundle manifest; export the bundle again"
        ) from error
    if type(found) is not int or found != FORMAT:
        raise BundleFormatUnknown(
            f"{folder}: has bundle format {found!r}, and this Earful reads format {FORMAT}; "
            "use the Earful that made it, or train again"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BundleManifestInvalid(f"{folder / MANIFEST}: {place}: {first['msg']}") from error


def _read_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    content = _read(folder, name)
    if content is None:
        raise BundleFileMissing(f"{folder}: {name} is missing; copy the whole folder, or export it again")
    if hashlib.sha256(content).hexdigest() != manifest.files.get(name):
        raise BundleHashMismatch(f"{folder}: {name} is not the file that was exported; copy the bundle again")
    return content


def _assemble(
    folder: Path, manifest: Manifest, content: Mapping[str, bytes], threads: int | None, digest: str
) -> Bundle:
    try:
        return Bundle(
            folder=folder,
            manifest=manifest,
            taxonomy=taxonomies.parse(content[TAXONOMY].decode()),
            policy=Policy.model_validate_json(content[POLICY]),
            tokenizer=Tokenizer.from_buffer(content[TOKENIZER]),
            session=open_session(content[MODEL], threads),
            digest=digest,
            topics=topic_files.read(content) if set(TOPIC_FILES) & content.keys() else None,
        )
    except (TaxonomyError, ValueError, BundleError) as error:
        raise BundleError(f"{folder}: {error}") from error
    except Exception as error:  # tokenizers and onnxruntime raise bare Exception for a file they cannot read
        raise BundleError(f"{folder}: the tokenizer or the model cannot be read: {error}") from error


def open_session(model: bytes, threads: int | None = None) -> onnxruntime.InferenceSession:
    """An inference session on the processor, over `threads` cores (all by default)."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only: the optimiser's warnings are not for users
    # What the processor itself reports: by its model, one of a virtual machine often passes for a plainer one.
    if not VNNI & detected_info().features:
        # Sums of int8 products overflow there: one label in forty was another one. Widening them halves the speed.
        options.add_session_config_entry("session.x64quantprecision", "1")
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _check_labels(bundle: Bundle) -> None:
    labels, shapes = bundle.manifest.labels, {out.name: out.shape[-1] for out in bundle.session.get_outputs()}
    problems = []
    if labels.category != bundle.taxonomy.names:
        problems.append("the manifest's categories are not the taxonomy's")
    if shapes.get("category") != len(labels.category):
        problems.append(f"{len(labels.category)} categories, but the model answers {shapes.get('category')}")
    if labels.urgency not in ((), URGENCIES):
        problems.append(f"urgency levels {labels.urgency} are not {URGENCIES}")
    if shapes.get("urgency") != (len(labels.urgency) - 1 if labels.urgency else None):
        problems.append("the model's urgency output does not fit the manifest's levels")
    if shapes.get("present", len(labels.category)) != len(labels.category):
        problems.append(
            f"{len(labels.category)} categories, but the model says of {shapes['present']} if they are present"
        )
    problems += _policy_problems(bundle, shapes.keys())
    if bundle.topics is not None and bundle.topics.centres.shape[1] != shapes.get("embedding"):
        problems.append("the topics do not lie in the space that the model places texts in")
    if bundle.manifest.taxonomy.digest != bundle.taxonomy.digest:
        problems.append("the taxonomy is not the one that the manifest names")
    if any(answer.category not in labels.category for answer in bundle.manifest.smoke):
        problems.append("a recorded answer names no category of the manifest")
    if problems:
        raise BundleLabelsDisagree(f"{bundle.folder}: {'; '.join(problems)}")


def _policy_problems(bundle: Bundle, outputs: Collection[str]) -> list[str]:
    policy, categories = bundle.policy, len(bundle.manifest.labels.category)
    problems = []
    if policy.scope is not None and not {"position", "nearness"} <= set(outputs):
        problems.append("the policy says what is out of scope, but the model does not say where a text lies")
    if len(policy.review_below) not in (0, categories):
        problems.append(f"{categories} categories, but {len(policy.review_below)} thresholds of review")
    return problems


def write_with_topics(source: Path, topics: Topics, folder: Path) -> Manifest:
    """Write the bundle in `source` again, to `folder`, with these topics in place of its own. Raises as `write`."""
    manifest = Manifest.model_validate_json((source / MANIFEST).read_bytes())
    content = {name: (source / name).read_bytes() for name in FILES}
    return write(folder, content | topics.files(), **manifest.model_dump(exclude={"format", "files"}))


def check_writable(folder: Path) -> None:
    """Raises `InputError` if `folder` holds something that is not a bundle, or no bundle can be written there.

    Nothing of a user's is replaced, and nobody waits for a training that cannot be kept.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent).cleanup()
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}; choose another --out") from error
    if folder.exists() and not _holds_bundle(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder}: exists and is not a bundle; choose another --out")


def _holds_bundle(folder: Path) -> bool:
    """Whether there is a manifest of ours, of any format; web applications have a `manifest.json` too."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"format", "files"} <= content.keys()


def write(folder: Path, content: Mapping[str, bytes], **manifest: Any) -> Manifest:
    """Write a bundle beside `folder`, then rename it into place; an older bundle there is replaced whole.

    `content` maps each of `FILES`, and of `TOPIC_FILES` if it has topics, to its bytes; `manifest` has the fields of
    `Manifest` but `format` and `files`.
    Raises `InputError` if `folder` holds something else.
    """
    check_writable(folder)
    folder = folder.resolve()  # a link stays, and what it points at is replaced
    names = (*FILES, *(name for name in TOPIC_FILES if name in content))
    files = {name: hashlib.sha256(content[name]).hexdigest() for name in names}
    made = Manifest(format=FORMAT, files=files, **manifest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        beside.chmod(0o755)
        for name in names:
            (beside / name).write_bytes(content[name])
        (beside / MANIFEST).write_text(made.model_dump_json(indent=2) + "\n", encoding="utf-8")
        _swap(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return made


def _swap(new: Path, place: Path) -> None:
    """Put `new` in `place`; what was there before ends up where `new` was."""
    if not place.exists():
        new.rename(place)
        return
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    place.rename(old)
    new.rename(place)
    shutil.rmtree(old)
