"""Which rows meet in a batch when pairs of a category are what is learned from."""

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from datasets import Dataset
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer

TOGETHER = 4  # rows of a category that follow each other


class InGroups(Sampler[int]):
    """Every row once, in random order, but `TOGETHER` of a category at a time. Same seed, same orders."""

    def __init__(self, categories: Sequence[int], seed: int) -> None:
        self._categories = torch.tensor(categories)
        self._generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self._categories)

    def __iter__(self) -> Iterator[int]:
        groups = []
        for category in sorted(set(self._categories.tolist())):
            rows = (self._categories == category).nonzero().flatten()
            groups += rows[torch.randperm(len(rows), generator=self._generator)].split(TOGETHER)
        for n in torch.randperm(len(groups), generator=self._generator):
            yield from groups[n].tolist()


class PairTrainer(Trainer):
    """A trainer whose batches hold several rows of each category that is in them."""

    def get_train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Batches of `InGroups`."""
        rows = cast(Dataset, self.train_dataset)
        loader = DataLoader(
            rows,
            self.args.per_device_train_batch_size,
            sampler=InGroups(rows["category"], self.args.seed),
            collate_fn=self.data_collator,
        )
        prepared: DataLoader[dict[str, torch.Tensor]] = self.accelerator.prepare(loader)
        return prepared
