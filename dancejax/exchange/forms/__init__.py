"""The forms of export: a new one is a file here, and a line of FORMS."""

from dancejax.errors import UserError
from dancejax.exchange.form import Form
from dancejax.exchange.forms import ddranking, huggingface, npz, png, tensors, tfds, torch
from dancejax.text import meant

FORMS: dict[str, Form] = {
    "png": png.FORM,
    "npz": npz.FORM,
    "safetensors": tensors.FORM,
    "torch": torch.FORM,
    "ddranking": ddranking.FORM,
    "tfds": tfds.FORM,
    "huggingface": huggingface.FORM,
}


def find(name: str) -> Form:
    """Return a form by name. Raises UserError where there is none of that name."""
    if name not in FORMS:
        raise UserError(
            f"unknown form {name!r}; choose one of {', '.join(FORMS)}.{meant(name, FORMS)}"
        )
    return FORMS[name]


def with_test() -> list[str]:
    """Return the names of the forms that have a place for test images."""
    return [name for name, form in FORMS.items() if form.test]


def with_stored() -> list[str]:
    """Return the names of the forms whose readers can decode stored images."""
    return [name for name, form in FORMS.items() if form.stored]
