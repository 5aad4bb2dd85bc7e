"""The ImageNet sets of the papers by name: whole at 64 pixels, subsets of 10 and 100 classes.

Read from an ImageNet folder (train/WNID, val/WNID) or from TFDS's imagenet2012; and TinyImageNet
from its own folder.
"""

from pathlib import Path
from typing import NamedTuple

from dancejax.data import folder, tfds_source
from dancejax.data.arrays import Arrays
from dancejax.errors import UserError

_HUNDRED = """
n02869837 n01749939 n02488291 n02107142 n13037406 n02091831 n04517823 n04589890 n03062245 n01773797
n01735189 n07831146 n07753275 n03085013 n04485082 n02105505 n01983481 n02788148 n03530642 n04435653
n02086910 n02859443 n13040303 n03594734 n02085620 n02099849 n01558993 n04493381 n02109047 n04111531
n02877765 n04429376 n02009229 n01978455 n02106550 n01820546 n01692333 n07714571 n02974003 n02114855
n03785016 n03764736 n03775546 n02087046 n07836838 n04099969 n04592741 n03891251 n02701002 n03379051
n02259212 n07715103 n03947888 n04026417 n02326432 n03637318 n01980166 n02113799 n02086240 n03903868
n02483362 n04127249 n02089973 n03017168 n02093428 n02804414 n02396427 n04418357 n02172182 n01729322
n02113978 n03787032 n02089867 n02119022 n03777754 n04238763 n02231487 n03032252 n02138441 n02104029
n03837869 n03494278 n04136333 n03794056 n03492542 n02018207 n04067472 n03930630 n03584829 n02123045
n04229816 n02100583 n03642806 n04336792 n03259280 n02116738 n02108089 n03424325 n01855672 n02090622
"""
_TEN = {
    "imagenette": "n01440764 n02102040 n02979186 n03000684 n03028079 "
    "n03394916 n03417042 n03425413 n03445777 n03888257",
    "imagewoof": "n02096294 n02093754 n02111889 n02088364 n02086240 "
    "n02089973 n02087394 n02115641 n02099601 n02105641",
    "imagefruit": "n07753275 n07753592 n07745940 n07747607 n07749582 "
    "n07768694 n07753113 n07720875 n07718472 n07760859",
    "imagemeow": "n02123045 n02123159 n02123394 n02123597 n02124075 "
    "n02129165 n02129604 n02128925 n02128757 n02127052",
    "imagesquawk": "n01806143 n02007558 n01818515 n02051845 n02056570 "
    "n01614925 n01843383 n01518878 n01860187 n01819313",
    "imageyellow": "n02206856 n12057211 n07753592 n07749582 n12144580 "
    "n04146614 n03530642 n02129165 n01773797 n01531178",
}


class Subset(NamedTuple):
    """Classes in the order of their labels (None: all, sorted), and the papers' image side."""

    classes: tuple[str, ...] | None
    side: int


SUBSETS = {
    "imagenet1k": Subset(None, 64),
    **{name: Subset(tuple(wnids.split()), 128) for name, wnids in _TEN.items()},
    "imagenet10": Subset(tuple(_HUNDRED.split()[:10]), 224),
    "imagenet100": Subset(tuple(_HUNDRED.split()), 224),
}
TINY = "tiny_imagenet"
NAMES = (TINY, *SUBSETS)
_FOLDERS = (".", "imagenet", "ImageNet", "imagenet2012", "ILSVRC2012", "ILSVRC/Data/CLS-LOC")
_TINY_FOLDERS = ("tiny-imagenet-200", "tiny_imagenet", "tiny-imagenet", ".")


def read(name: str, data_dir: Path, split: str, *, image_size: int | None) -> Arrays:
    """Read one split of an ImageNet set of the papers, always RGB.

    Decoded images are kept for the next start.

    Args:
      name: one of NAMES.
      data_dir: where to look for it.
      split: "train" or "test"; the images of ImageNet's validation set are for testing.
      image_size: to which images are resized by their shorter side and cropped to the centre. None
        takes the papers' side: 64 for TinyImageNet and ImageNet-1K, 128 for the subsets of ten, 224
        for ImageNet-10 and -100.

    Raises:
      UserError: the set, a class or a file is missing or broken.
    """
    if name == TINY:
        root = _first(data_dir, _TINY_FOLDERS)
        if root is None:
            raise UserError(
                f"TinyImageNet is not under {data_dir}; give the data_dir that holds "
                "tiny-imagenet-200 with its train and val folders."
            )
        return folder.read(root, split, image_size=image_size or 64, seed=0)
    classes, side = SUBSETS[name]
    root = _first(data_dir, _FOLDERS)
    if root is not None:
        return folder.read_classes(root, split, classes=classes, image_size=image_size or side)
    found = tfds_source.find("imagenet2012", data_dir)
    if found is not None:
        return tfds_source.read(
            found, "imagenet2012", split, image_size=image_size or side, classes=classes
        )
    raise UserError(
        f"{name} needs ImageNet: give the data_dir that holds its folders train/WNID and val/WNID, "
        "or one in which TFDS has prepared imagenet2012."
    )


def _first(data_dir: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the folders that has train and val in it."""
    for name in names:
        root = data_dir / name
        if (root / "train").is_dir() and (root / "val").is_dir():
            return root.resolve()
    return None
