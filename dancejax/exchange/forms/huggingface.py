"""A Hugging Face dataset folder: Parquet files and a card."""

import json
from pathlib import Path

import numpy as np

from dancejax import names
from dancejax.data import pixels
from dancejax.errors import UserError
from dancejax.exchange import files
from dancejax.exchange.form import EIGHT_BIT, About, Arrays, Form, eight_bit


def write(path: Path, images: np.ndarray, labels: np.ndarray, about: About) -> None:
    """Write PNG bytes and labels as a Parquet file that names their features.

    Args:
      path: an empty folder.
      images: float [n, h, w, c] in [0, 1] units.
      labels: int [n].
      about: the description of the export.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("a Hugging Face dataset needs pyarrow; pip install pyarrow.") from error
    rows = [
        {"bytes": pixels.to_png(image), "path": f"{number:05d}.png"}
        for number, image in enumerate(eight_bit(images))
    ]
    features = {
        "image": {"_type": "Image"},
        "label": {"names": names.unique(about["classes"]), "_type": "ClassLabel"},
    }
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
    table = table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    (path / "data").mkdir(exist_ok=True)
    split = about.get("split", "train")
    pq.write_table(table, path / "data" / f"{split}-00000-of-00001.parquet")


def read(path: Path, about: About, split: str) -> Arrays:
    """Read a split's Parquet file."""
    try:
        import pyarrow.parquet as pq
    except ImportError as error:
        raise UserError("reading Parquet needs pyarrow; pip install pyarrow.") from error
    path = path / "data" / f"{split}-00000-of-00001.parquet"
    try:
        table = pq.read_table(path)
    except Exception as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); export again.") from error
    rows = [(row["path"], row["bytes"]) for row in table.column("image").to_pylist()]
    images = files.decode(rows, len(about["normalisation"]["mean"]), path.name)
    return images, np.array(table.column("label").to_pylist(), np.int64)


def _head(about: About) -> str:
    """The YAML head that the Hugging Face hub reads."""
    licence = json.dumps(names.clean(about.get("licence", "unknown")), ensure_ascii=False)
    listing = "\n".join(
        f"          '{i}': {json.dumps(name, ensure_ascii=False)}"
        for i, name in enumerate(names.unique(about["classes"]))
    )
    test = "  - split: test\n    path: data/test-*.parquet\n" if about.get("test") else ""
    return f"""---
license: {licence}
task_categories:
- image-classification
tags:
- dataset-condensation
- dataset-distillation
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{listing}
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
{test}---
"""


def _use(about: About) -> str:
    return "`datasets.load_dataset(THIS_FOLDER, split='train')`."


FORM = Form(
    title="a dataset folder with Parquet and a card",
    write=write,
    read=read,
    use=_use,
    pixels=EIGHT_BIT,
    eight_bit=True,
    test="as the split `test`",
    head=_head,
)
