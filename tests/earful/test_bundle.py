import hashlib
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earful import bundle, taxonomy
from earful.bundle import CARD, FILES, MANIFEST, MODEL, POLICY, TAXONOMY, TOKENIZER
from earful.errors import (
    BundleError,
    BundleFileMissing,
    BundleFormatUnknown,
    BundleHashMismatch,
    BundleLabelsDisagree,
    BundleManifestInvalid,
    BundleNotFound,
    BundleSmokeTestFailed,
    InputError,
)
from earful.tagger import Tagger
from tests.conftest import Trained

MADE = {"format", "files"}  # what `write` adds to a manifest
CPUINFO = Path("/proc/cpuinfo")


@pytest.fixture
def copy(trained: Trained, tmp_path: Path) -> Path:
    return shutil.copytree(trained.bundle, tmp_path / "bundle")


def replace(folder: Path, name: str, content: bytes) -> None:
    """Put another file into a bundle, and its hash into the manifest."""
    (folder / name).write_bytes(content)
    edit(folder, lambda manifest: manifest["files"].update({name: hashlib.sha256(content).hexdigest()}))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_bytes())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def parts(folder: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What `write` needs to make the same bundle again."""
    manifest = json.loads((folder / MANIFEST).read_bytes())
    content = {name: (folder / name).read_bytes() for name in FILES}
    return content, {key: value for key, value in manifest.items() if key not in MADE}


def test_a_trained_bundle_loads_with_all_that_it_holds(trained: Trained) -> None:
    loaded = bundle.load(trained.bundle)
    assert {path.name for path in trained.bundle.iterdir()} == {MANIFEST, *FILES}
    assert loaded.manifest.labels.category == loaded.taxonomy.names
    assert loaded.manifest.smoke
    assert loaded.digest == "sha256:" + hashlib.sha256((trained.bundle / MANIFEST).read_bytes()).hexdigest()


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def emptied(content: bytes) -> bytes:
    return b""


def flipped(share: float) -> Callable[[bytes], bytes]:
    """One bit changed, that far into the file."""

    def flip(content: bytes) -> bytes:
        place = int(share * (len(content) - 1))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    flip.__name__ = f"flipped at {share}"
    return flip


DAMAGE = [truncated, emptied, *(flipped(share) for share in (0.0, 0.1, 0.5, 0.9, 1.0))]


@pytest.mark.skipif(not CPUINFO.is_file(), reason="only Linux lists the processor's instructions in a file")
def test_products_of_int8_are_widened_only_where_the_processor_lacks_the_instruction(trained: Trained) -> None:
    options = bundle.load(trained.bundle).session.get_session_options()
    try:
        widened = options.get_session_config_entry("session.x64quantprecision") == "1"
    except RuntimeError:  # it was never set
        widened = False
    assert widened != bool(bundle.VNNI & set(CPUINFO.read_text().split()))


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_refused(copy: Path, name: str, damage: Callable[[bytes], bytes]) -> None:
    (copy / name).write_bytes(damage((copy / name).read_bytes()))
    with pytest.raises(BundleHashMismatch, match=f"{name} is not the file that was exported"):
        bundle.load(copy)


@pytest.mark.parametrize(("name", "other"), [(MODEL, TOKENIZER), (TAXONOMY, POLICY), (CARD, MODEL)])
def test_swapped_files_are_refused(copy: Path, name: str, other: str) -> None:
    (copy / name).rename(copy / "aside")
    (copy / other).rename(copy / name)
    (copy / "aside").rename(copy / other)
    with pytest.raises(BundleHashMismatch):
        bundle.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_deleted_file_is_refused_even_if_a_folder_has_its_name(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleFileMissing, match=f"{name} is missing"):
        bundle.load(copy)
    (copy / name).mkdir()
    with pytest.raises(BundleFileMissing, match=f"{name} is missing"):
        bundle.load(copy)


@pytest.mark.parametrize("name", FILES)
def test_a_file_without_a_hash_is_refused(copy: Path, name: str) -> None:
    edit(copy, lambda manifest: manifest["files"].pop(name))
    with pytest.raises(BundleHashMismatch, match=name):
        bundle.load(copy)


def test_where_there_is_no_bundle_that_is_said(copy: Path, tmp_path: Path) -> None:
    (copy / MANIFEST).unlink()
    for place in (copy, copy / MODEL, tmp_path / "nowhere"):
        with pytest.raises(BundleNotFound, match=f"{place}: there is no bundle here"):
            bundle.load(place)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"null", b"{}", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(copy: Path, content: bytes) -> None:
    (copy / MANIFEST).write_bytes(content)
    with pytest.raises(BundleManifestInvalid, match="is not a bundle manifest"):
        bundle.load(copy)


def test_a_truncated_manifest_is_refused(copy: Path) -> None:
    (copy / MANIFEST).write_bytes(truncated((copy / MANIFEST).read_bytes()))
    with pytest.raises(BundleManifestInvalid):
        bundle.load(copy)


@pytest.mark.parametrize("share", [n / 20 for n in range(21)])
def test_a_flip_in_the_manifest_is_refused_or_makes_another_bundle(trained: Trained, copy: Path, share: float) -> None:
    (copy / MANIFEST).write_bytes(flipped(share)((copy / MANIFEST).read_bytes()))
    try:
        digest = Tagger.load(copy).bundle.digest
    except BundleError:
        return
    assert digest != bundle.load(trained.bundle).digest


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None, [1]])
def test_an_unknown_format_version_is_refused(copy: Path, version: object) -> None:
    edit(copy, lambda manifest: manifest.update(format=version))
    with pytest.raises(BundleFormatUnknown, match="this Earful reads format 1"):
        bundle.load(copy)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda manifest: manifest.pop("labels"), "labels"),
        (lambda manifest: manifest["windows"].update(size="many"), "windows.size"),
        (lambda manifest: manifest["smoke"][1].pop("confidence"), "smoke.1.confidence"),
        (lambda manifest: manifest.update(unheard="of"), "unheard"),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused_by_its_place(
    copy: Path, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    edit(copy, change)
    with pytest.raises(BundleManifestInvalid, match=f"{MANIFEST}: {place}: "):
        bundle.load(copy)


@pytest.mark.parametrize("windows", [{"size": 16, "overlap": 20}, {"size": 0}, {"overlap": -1}, {"size": 10**9}])
def test_windows_that_cannot_advance_are_refused(copy: Path, windows: dict[str, int]) -> None:
    edit(copy, lambda manifest: manifest["windows"].update(windows))
    with pytest.raises(BundleManifestInvalid, match=r"leaves no room|windows\.(size|overlap)"):
        Tagger.load(copy)


@pytest.mark.parametrize("name", [MODEL, TOKENIZER, TAXONOMY, POLICY])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe not that", b'{"unheard": "of"}'])
def test_a_file_with_the_right_hash_that_cannot_be_read_is_refused(copy: Path, name: str, content: bytes) -> None:
    replace(copy, name, content)
    with pytest.raises(BundleError, match=str(copy)):
        bundle.load(copy)


def reversed_labels(manifest: dict[str, Any], kind: str) -> None:
    manifest["labels"][kind].reverse()


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: reversed_labels(manifest, "category"),
        lambda manifest: reversed_labels(manifest, "urgency"),
        lambda manifest: manifest["labels"]["category"].pop(),
        lambda manifest: manifest["labels"]["category"].append("more"),
        lambda manifest: manifest["labels"].update(urgency=[]),
        lambda manifest: manifest["labels"]["urgency"].pop(),
        lambda manifest: manifest["taxonomy"].update(digest="sha256:0"),
        lambda manifest: manifest["smoke"][0].update(category="nowhere"),
    ],
    ids=["order", "urgency order", "fewer", "more", "no urgency", "fewer levels", "other taxonomy", "strange smoke"],
)
def test_a_manifest_whose_labels_disagree_is_refused(copy: Path, change: Callable[[dict[str, Any]], object]) -> None:
    edit(copy, change)
    with pytest.raises(BundleLabelsDisagree):
        bundle.load(copy)


def test_a_model_that_answers_fewer_categories_than_its_taxonomy_is_refused(copy: Path) -> None:
    more = taxonomy.load(copy / TAXONOMY).to_toml() + '\n[[categories]]\nname = "more"\nowner = "nobody"\n'
    replace(copy, TAXONOMY, more.encode())
    edit(copy, lambda manifest: manifest["labels"]["category"].append("more"))
    edit(copy, lambda manifest: manifest["taxonomy"].update(digest=taxonomy.parse(more).digest))
    with pytest.raises(BundleLabelsDisagree, match="17 categories, but the model answers 16"):
        bundle.load(copy)


def test_a_policy_that_asks_where_a_text_lies_is_refused_with_a_model_that_does_not_say(copy: Path) -> None:
    assert bundle.load(copy).policy.scope is not None
    model = onnx.load_from_string((copy / MODEL).read_bytes())
    kept = [output for output in model.graph.output if output.name not in ("position", "nearness")]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    replace(copy, MODEL, model.SerializeToString())
    with pytest.raises(BundleLabelsDisagree, match="the model does not say where a text lies"):
        bundle.load(copy)


@pytest.mark.parametrize(
    "change",
    [
        lambda answer: answer.update(confidence=answer["confidence"] + 0.2),
        lambda answer: answer.update(confidence=answer["confidence"] - 0.2),
        lambda answer: answer.update(confidence=float("nan")),
        lambda answer: answer.update(category="safety", confidence=0.99),
    ],
    ids=["more sure", "less sure", "not a number", "another category"],
)
def test_a_bundle_that_does_not_repeat_a_recorded_answer_is_refused(
    copy: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(copy, lambda manifest: change(manifest["smoke"][-1]))
    with pytest.raises(BundleSmokeTestFailed):
        Tagger.load(copy)


@settings(max_examples=8, deadline=None)
@given(
    card=st.binary(),
    manifest=st.fixed_dictionaries(
        {
            "base_model": st.text(),
            "run_id": st.none() | st.text(),
            "created_at": st.text(),
            "metrics": st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
        }
    ),
)
def test_what_is_written_is_what_is_loaded(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory, card: bytes, manifest: dict[str, Any]
) -> None:
    content, given_manifest = parts(trained.bundle)
    folder = tmp_path_factory.mktemp("written") / "deep" / "bundle"
    written = bundle.write(folder, {**content, CARD: card}, **{**given_manifest, **manifest})
    loaded = bundle.load(folder)
    assert loaded.manifest == written
    assert loaded.manifest.model_dump(include=set(manifest)) == manifest
    assert loaded.taxonomy == bundle.load(trained.bundle).taxonomy
    assert (folder / CARD).read_bytes() == card
    shutil.rmtree(folder)


def test_writing_replaces_an_older_bundle_whole_and_leaves_nothing_beside_it(trained: Trained, copy: Path) -> None:
    content, manifest = parts(trained.bundle)
    (copy / "from-an-older-format.bin").write_bytes(b"old")
    bundle.write(copy, content, **{**manifest, "run_id": "second"})
    assert bundle.load(copy).manifest.run_id == "second"
    assert {path.name for path in copy.iterdir()} == {MANIFEST, *FILES}
    assert list(copy.parent.iterdir()) == [copy]


def test_writing_through_a_link_replaces_what_it_points_at(trained: Trained, copy: Path, tmp_path: Path) -> None:
    content, manifest = parts(trained.bundle)
    link = tmp_path / "latest"
    link.symlink_to(copy)
    bundle.write(link, content, **{**manifest, "run_id": "second"})
    assert bundle.load(link).manifest.run_id == "second"
    assert sorted(tmp_path.iterdir()) == [copy, link]


@contextmanager
def full_disk(left: int) -> Iterator[None]:
    """No file can grow beyond `left` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_writing_that_fails_half_way_leaves_the_older_bundle_as_it_was(trained: Trained, copy: Path) -> None:
    content, manifest = parts(trained.bundle)
    with full_disk(left=len(content[MODEL]) // 2), pytest.raises(OSError, match="too large"):
        bundle.write(copy, content, **{**manifest, "run_id": "second"})
    assert bundle.load(copy).digest == bundle.load(trained.bundle).digest
    assert list(copy.parent.iterdir()) == [copy]


def a_file(place: Path) -> None:
    place.write_text("mine")


def a_folder_of_papers(place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("mine")


def a_web_application(place: Path) -> None:
    place.mkdir()
    (place / "manifest.json").write_text('{"name": "mine", "start_url": "/"}')
    (place / "index.html").write_text("mine")


@pytest.mark.parametrize("occupy", [a_file, a_folder_of_papers, a_web_application], ids=lambda occupy: occupy.__name__)
def test_writing_over_anything_else_is_refused(
    trained: Trained, tmp_path: Path, occupy: Callable[[Path], None]
) -> None:
    content, manifest = parts(trained.bundle)
    occupy(tmp_path / "out")
    before = sorted(os.walk(tmp_path))
    with pytest.raises(InputError, match="exists and is not a bundle; choose another --out"):
        bundle.write(tmp_path / "out", content, **manifest)
    assert sorted(os.walk(tmp_path)) == before


def test_an_empty_folder_may_be_written_to(trained: Trained, tmp_path: Path) -> None:
    content, manifest = parts(trained.bundle)
    bundle.write(tmp_path, content, **manifest)
    assert bundle.load(tmp_path).manifest.smoke
