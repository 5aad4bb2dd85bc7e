"""What `import dancejax` offers: its names, and the README's ten lines on own arrays."""

import os
import re
from pathlib import Path

import dancejax as dc

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
    (tmp_path / "runs").mkdir()
    lines = [line for line in example().splitlines() if line.strip()]
    assert len(lines) <= 11
    code = example().replace("count=3", "count=1, config=quick").replace("steps=300", "steps=2")
    code = code.replace("small, test, network)", "small, test, network, protocol, repeats=2)")
    from dancejax.training import experts, protocols

    scope = {
        "x": train.images[..., 0],
        "y": train.labels.astype("int64") * 10 + 5,
        "quick": experts.expert_training(28, epochs=1),
        "protocol": protocols.protocol("dance", "mine", epochs=2),
    }
    exec(code, scope)
    assert os.path.exists("runs/mine/manifest.json")
    assert scope["small"].classes == ("5", "15", "25")
    assert dc.CondensedSet.load("runs/mine").method == "dance"
    mean, std = map(float, capsys.readouterr().out.split())
    assert 0 <= mean <= 100 and std >= 0
    assert f"{mean:.2f}" in repr(scope["result"]) and "<table>" in scope["result"]._repr_html_()
