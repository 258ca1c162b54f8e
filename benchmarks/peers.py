"""What else one would train on the same rows: the peers of the benchmarks."""

import tempfile
import time
from collections.abc import Sequence

import numpy as np
import transformers
from datasets import Dataset
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC
from transformers import TrainerCallback

from training import encoders
from training.features import PROBE_STRENGTH, embed

BATCH, SEED = 32, 0


def linear() -> Pipeline:
    """TF-IDF of words and characters with a linear SVM, untrained."""
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        ),
        LinearSVC(),
    )


def frozen(texts: Sequence[str], labels: Sequence[str], held: Sequence[str], base_model: str) -> list[str]:
    """What logistic regression on the frozen encoder's mean-pooled first window says of the texts that are held."""
    encoder = encoders.load(base_model)
    model = LogisticRegression(C=PROBE_STRENGTH, max_iter=300).fit(embed(encoder, texts), labels)
    return list(model.predict(embed(encoder, held)))


class Watch(TrainerCallback):
    """Seconds from the first step to the last."""

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Start."""
        self.start = time.perf_counter()

    def on_train_end(self, *_: object, **__: object) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self.start


def trainer(texts: Sequence[str], labels: Sequence[str], held: Sequence[str], epochs: int) -> tuple[float, list[str]]:
    """Seconds of training with the Trainer as it comes, and what it then says of the texts that are held."""
    names = sorted(set(labels))
    transformers.set_seed(SEED)
    folder = str(encoders.packaged())
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names))
    every = tokenizer([*texts, *held], padding="longest", truncation=True)
    numbers = [names.index(label) for label in labels] + len(held) * [0]  # what is held has no say
    data = Dataset.from_dict({**every, "labels": numbers})
    watch = Watch()
    with tempfile.TemporaryDirectory() as work:
        learner = transformers.Trainer(
            model=model,
            args=transformers.TrainingArguments(
                output_dir=work, num_train_epochs=epochs, per_device_train_batch_size=BATCH, report_to=[], use_cpu=True,
                save_strategy="no", logging_strategy="no", disable_tqdm=True,
            ),
            train_dataset=data.select(range(len(texts))),
            callbacks=[watch],
        )  # fmt: skip
        learner.train()
        found = np.asarray(learner.predict(data.select(range(len(texts), len(data)))).predictions).argmax(axis=1)
    return watch.seconds, [names[n] for n in found]


def contrastive(texts: Sequence[str], labels: Sequence[str], held: Sequence[str], pairs: int) -> list[str]:
    """What SetFit, from so many pairs of each kind for every text, says of the texts that are held."""
    import setfit  # takes seconds to import, and few of the benchmarks want it

    model = setfit.SetFitModel.from_pretrained(str(encoders.packaged()), labels=sorted(set(labels)))
    with tempfile.TemporaryDirectory() as work:
        learner = setfit.Trainer(
            model=model,
            args=setfit.TrainingArguments(
                output_dir=work, num_iterations=pairs, batch_size=BATCH, num_epochs=1, seed=SEED, use_amp=True,
                save_strategy="no", report_to="none", show_progress_bar=False,
            ),
            train_dataset=Dataset.from_dict({"text": list(texts), "label": list(labels)}),
        )  # fmt: skip
        learner.train()
    return [str(label) for label in model.predict(list(held), show_progress_bar=False)]
