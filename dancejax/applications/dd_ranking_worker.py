"""The part of `dd_ranking` that runs in the Python that has ddranking: a script of its own.

Imports nothing of this package, whose requirements need not be there.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

SETTINGS, ARRAYS, RESULT = "settings.json", "images.npz", "measured.json"
TEST_INTERVAL = 10
"""Epochs from test to test, in the package."""


def main(folder: Path) -> None:
    """Write into a repeat's folder what the package finds of what the folder above describes."""
    import numpy
    import torch

    about = json.loads((folder.parent / SETTINGS).read_text())
    with numpy.load(folder.parent / ARRAYS) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    mean, std = (torch.tensor(about[name]).view(3, 1, 1) for name in ("mean", "std"))

    def normalised(images: Any) -> Any:
        units = images.float() / 255 if images.dtype == torch.uint8 else images
        return (units.movedim(-1, -3) - mean) / std

    class Images(torch.utils.data.Dataset):
        def __init__(self, split: str) -> None:
            self.images = normalised(arrays.pop(f"{split}_images"))
            self.targets = [int(label) for label in arrays[f"{split}_labels"]]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.images[index], self.targets[index]

    made = normalised(arrays["images"]), arrays["labels"].long()
    each = _scored(about, folder, made, Images("train"), Images("test"))
    temporary = folder / f".{RESULT}.tmp"
    temporary.write_text(json.dumps(each, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / RESULT)


def _scored(
    about: dict[str, Any], folder: Path, made: tuple[Any, Any], train: Any, test: Any
) -> dict[str, list[float]]:
    """What the package measures of normalised images with their labels, in points."""
    import torch
    from ddranking.metrics import hard_label

    side = tuple(made[0].shape[2:])
    same = {label: label for label in range(about["classes"])}
    loaded = (3, side, about["mean"], about["std"], len(same), train, test, test, same, same)
    cpu = os.environ.get("JAX_PLATFORMS") == "cpu"  # what the user asks of the program
    each: dict[str, list[float]] = {}
    with mock.patch.multiple(
        hard_label,
        # It loads data sets by name and downloads them; these are the same images.
        get_dataset=lambda *_: loaded,
        # In 0.2.0 it writes a table of columns of two lengths, which pandas refuses.
        save_results=lambda results, _: each.update(results),
    ):
        scorer = hard_label.LabelRobustScoreHard(
            dataset=about["dataset"],
            ipc=about["ipc"],
            model_name=about["network"],
            data_aug_func="cutmix",
            aug_params={"beta": 1.0},
            step_size=max(1, 2 * about["epochs"] // 3),
            num_eval=1,
            im_size=side,
            num_epochs=about["epochs"],
            real_batch_size=about["batch_size"],
            syn_batch_size=about["batch_size"],
            num_workers=0,
            save_path=str(folder / RESULT),
            random_data_path=str(folder / "random"),
            device="cuda" if torch.cuda.is_available() and not cpu else "cpu",
            eval_full_data=True,
        )
        scorer.compute_metrics(image_tensor=made[0], hard_labels=made[1])
    return {name: [float(value) for value in values] for name, values in each.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
