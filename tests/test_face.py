"""What `import dancejax` offers: its names, and the README's ten lines on own arrays."""

import os
import re
from pathlib import Path

import dancejax as dc

SHORTER = {
    "width=32": "width=4",
    "count=3, epochs=10": "count=1, epochs=1",
    "batch_real=64": "batch_real=8",
    "steps=300": "steps=2",
    "epochs=100, repeats=3": "epochs=2, repeats=2",
}
README = Path(__file__).parents[1] / "README.md"


def test_every_name_is_there_and_explained():
    assert len(dc.__all__) <= 16
    for name in dc.__all__:
        assert getattr(dc, name).__doc__
        assert f"`{name}`" in (dc.__doc__ or ""), name
    assert {"condense", "evaluate", "train_experts"} <= set(dir(dc))


def example() -> str:
    text = README.read_text(encoding="utf-8")
    return re.search(r"```python\n(import dancejax as dc\n.*?)```", text, re.DOTALL)[1]


def test_the_ten_lines_of_the_readme(tmp_path, monkeypatch, train, capsys):
    """On images that a user might have: as integers, with labels that are not 0, 1, 2."""
    monkeypatch.chdir(tmp_path)
    lines = [line for line in example().splitlines() if line.strip()]
    assert len(lines) <= 11
    code = example()
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    scope = {
        "x": train.images[..., 0],
        "y": train.labels.astype("int64") * 10 + 5,
    }
    exec(code, scope)
    assert os.path.exists("sets/mine/manifest.json")
    assert scope["small"].classes == ("5", "15", "25")
    assert dc.CondensedSet.load("sets/mine").method == "dance"
    mean, std = map(float, capsys.readouterr().out.split())
    assert 0 <= mean <= 100 and std >= 0
    assert f"{mean:.2f}" in repr(scope["result"]) and "<table>" in scope["result"]._repr_html_()
