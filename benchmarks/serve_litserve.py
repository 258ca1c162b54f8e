"""LitServe on a bundle's model file: in a module of its own, since its workers import the class by name."""

from pathlib import Path

import litserve
import numpy as np

from earful import bundle as bundles
from earful.tagger import pad
from earful.text import Windower

BATCH = 32
WAIT = 0.005  # seconds that a batch waits for company


class Classifier(litserve.LitAPI):  # type: ignore[misc]
    """Texts in, the name of the likeliest category out."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_batch_size=BATCH, batch_timeout=WAIT, api_path="/classify")
        self.folder = folder

    def setup(self, device: str) -> None:
        """Load the bundle."""
        bundle = bundles.load(self.folder)
        windows = bundle.manifest.windows
        self.names, self.session, self.padding = bundle.taxonomy.names, bundle.session, windows.pad_id
        self.cut = Windower(bundle.tokenizer, windows.size, windows.overlap)

    def decode_request(self, request: dict[str, str]) -> str:
        """The text."""
        return request["text"]

    def predict(self, texts: list[str]) -> list[int]:
        """The likeliest category of each text's first window, by number."""
        ids, mask = pad([windows[0] for windows in self.cut(texts)], self.padding)
        logits = self.session.run(["category"], {"input_ids": ids, "attention_mask": mask})[0]
        return [int(n) for n in np.asarray(logits).argmax(axis=1)]

    def encode_response(self, output: int) -> dict[str, str]:
        """The answer."""
        return {"label": self.names[output]}


def serve(port: int, folder: Path) -> None:
    """Listen until stopped."""
    server = litserve.LitServer(Classifier(folder), accelerator="cpu")
    server.run(port=port, generate_client_file=False, log_level="warning")
