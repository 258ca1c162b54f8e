"""Speed of the whole Tagger beside the transformers text-classification pipeline: same texts, one run, interleaved.

    python -m benchmarks.speed --bundle FOLDER --data FOLDER

The texts are Banking77's (about 15 tokens). The pipeline is given an encoder of the same shape with a head as wide,
batches of 32, as its documentation shows. Rounds alternate, and the ratio is the median of the rounds' ratios.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import transformers

from earful.feedback import Feedback
from earful.tagger import Tagger
from training import encoders


def pipeline(labels: int) -> Callable[[list[str]], object]:
    """The peer, as most people would write it."""
    folder = str(encoders.packaged())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=labels)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    classify = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    return lambda texts: list(classify(texts, batch_size=32, truncation=True))


def rate(run: Callable[[list[str]], object], texts: list[str]) -> float:
    """Texts per second."""
    start = time.perf_counter()
    run(texts)
    return len(texts) / (time.perf_counter() - start)


def main() -> None:
    """Print both rates by round, and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with (options.data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    tagger = Tagger.load(options.bundle)
    peer = pipeline(len(tagger.bundle.taxonomy.names))
    ours: Callable[[list[str]], object] = lambda some: tagger.tag([Feedback(text=text) for text in some])  # noqa: E731
    rate(ours, texts[:200])
    rate(peer, texts[:200])
    ratios = []
    for number in range(options.rounds):
        part = texts[number :: options.rounds]
        fast, slow = rate(ours, part), rate(peer, part)
        ratios.append(fast / slow)
        print(f"round {number + 1}: Tagger {fast:,.0f} texts/s, pipeline {slow:,.0f}, ratio {ratios[-1]:.2f}")
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
