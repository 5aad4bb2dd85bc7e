"""What the evaluation of the package ddranking takes: PNG files in numbered folders."""

from __future__ import annotations

from dancejax import condensed
from dancejax.exchange.form import EIGHT_BIT, About, Form
from dancejax.exchange.forms import png


def _details(made: condensed.CondensedSet) -> About:
    digits = len(str(made.num_classes - 1))
    return {"folders": [f"{i:0{digits}d}" for i in range(made.num_classes)]}


def _use(about: About) -> str:
    if about.get("soft_labels"):
        return (
            "`ddranking.metrics.LabelRobustScoreSoft(...).compute_metrics(image_path='images', "
            "soft_labels=torch.from_numpy(numpy.load('soft_labels.npy')).float(), syn_lr=0.01)`: "
            "its custom_train_trans must turn images to tensors and normalise them as above."
        )
    return (
        "`ddranking.metrics.LabelRobustScoreHard(...).compute_metrics(image_path='images', "
        "syn_lr=0.01)`: its custom_train_trans must turn images to tensors and normalise them as "
        "above."
    )


FORM = Form(
    title="what that package's evaluation takes",
    write=png.write,
    read=png.read,
    use=_use,
    pixels=EIGHT_BIT,
    eight_bit=True,
    parts=("images",),
    details=_details,
)
