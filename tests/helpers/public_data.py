"""Tiny data sets in the formats of the hub, encoded images and text, and a small tokeniser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

WORDS = ("the", "of", "and", "in", "a", "to", "was", "is", "for", "on", "as", "with", "by", "that", "from", "at", "his")


def image_rows(count: int, *, shape: tuple[int, ...], image: str, labels: dict[str, int], seed: int) -> dict[str, list[Any]]:
    """Images with a bright stripe whose place tells the class; labels: column -> number of classes."""
    rng = np.random.default_rng(seed)
    classes = max(labels.values())
    found = rng.permutation(np.arange(count) % classes)
    pixels = rng.integers(0, 40, (count, *shape))
    for picture, stripe in zip(pixels, found * shape[1] // classes, strict=True):
        picture[:, stripe : stripe + 2] += 200
    rows: dict[str, list[Any]] = {image: [PIL.Image.fromarray(picture) for picture in pixels.astype(np.uint8)]}
    return rows | {column: (found * several // classes).tolist() for column, several in labels.items()}


def image_splits(sizes: dict[str, int], *, shape: tuple[int, ...], image: str, labels: dict[str, int]) -> Any:
    """A datasets.DatasetDict of PNG-encoded images."""
    import datasets

    features = datasets.Features(
        {image: datasets.Image(), **{column: datasets.ClassLabel(num_classes=n) for column, n in labels.items()}}
    )
    return datasets.DatasetDict(
        {
            split: datasets.Dataset.from_dict(
                image_rows(count, shape=shape, image=image, labels=labels, seed=seed), features=features
            )
            for seed, (split, count) in enumerate(sizes.items())
        }
    )


def mnist_splits(train: int = 120, test: int = 40) -> Any:
    """As ylecun/mnist."""
    return image_splits({"train": train, "test": test}, shape=(28, 28), image="image", labels={"label": 10})


def cifar_splits(classes: int, train: int = 60, test: int = 20) -> Any:
    """As uoft-cs/cifar10 or uoft-cs/cifar100."""
    labels = {"label": 10} if classes == 10 else {"fine_label": 100, "coarse_label": 20}
    return image_splits({"train": train, "test": test}, shape=(32, 32, 3), image="img", labels=labels)


def text_splits(rows: int = 400) -> Any:
    """As Salesforce/wikitext: titles, paragraphs and empty rows."""
    import datasets

    rng = np.random.default_rng(0)
    parts = {}
    for split, count in (("train", rows), ("validation", rows // 4), ("test", rows // 4)):
        texts = [f" {' '.join(rng.choice(WORDS, 12))} . \n" for _ in range(count)]
        texts[::10] = [f" = {row} = \n" for row in range(len(texts[::10]))]
        texts[1::10] = [""] * len(texts[1::10])
        parts[split] = datasets.Dataset.from_dict({"text": texts})
    return datasets.DatasetDict(parts)


def as_parquet(splits: Any, folder: Path) -> Path:
    """Write one file for each split, named as on the hub."""
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        rows.to_parquet(folder / f"{split}-00000-of-00001.parquet")
    return folder


def write_tokenizer(folder: Path, vocabulary: int = 320) -> Path:
    """Train byte pairs on the text and save vocab.json and merges.txt, as GPT-2's are."""
    import tokenizers

    tokenizer = tokenizers.ByteLevelBPETokenizer()
    texts = [row for split in text_splits().values() for row in split["text"]]
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=["<|endoftext|>"], show_progress=False)
    folder.mkdir(parents=True)
    tokenizer.save_model(str(folder))
    return folder
