"""What the encoder makes of texts before it is fine-tuned: enough for a probe that is fitted in seconds."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from earful.text import Windower, normalise
from training.encoders import Encoder
from training.network import Collator, FeedbackNetwork, has_bf16

BATCH = 64
TOKENS = 256  # of each text that are read: most of what a probe can use, at a fraction of the time of all
PROBE_STRENGTH = 10.0  # C of a logistic regression on such features, which are of unit length

Floats = NDArray[np.float32]


def embed(encoder: Encoder, texts: Sequence[str], progress: Callable[[int], None] = lambda _: None) -> Floats:
    """Unit vectors (texts, width): the mean over the first `TOKENS` tokens of each text."""
    network = FeedbackNetwork(encoder.model, 1, 0).eval()
    size = min(TOKENS, encoder.longest)
    windows = [some[:1] for some in Windower(encoder.tokenizer, size, 0)([normalise(text) for text in texts])]
    order = sorted(range(len(texts)), key=lambda n: len(windows[n][0]))
    found = np.zeros((len(texts), encoder.model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        batch = Collator(encoder.pad_id)(
            [{"windows": windows[n], "category": 0, "secondary": 0, "urgency": 0} for n in part]
        )
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=has_bf16()):
            found[part] = torch.nn.functional.normalize(network.features(**batch).float()).numpy()
        progress(len(part))
    return found
