"""Paths as users give them, and what goes on where there is no home folder."""

import os
import pwd
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from dancejax import data
from dancejax.data import folder, tfds_source
from dancejax.errors import UserError
from dancejax.runs import backend, notes, paths
from launch import doctor


@pytest.fixture(autouse=True)
def _forget_what_was_said():
    notes._say.cache_clear()


@pytest.fixture
def homeless(monkeypatch):
    """As `docker run --user 12345`: no HOME, and the system knows no such user."""

    def unknown(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(pwd, "getpwnam", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "TFDS_DATA_DIR", "DANCEJAX_NO_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_expand(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert paths.expand("~/x") == Path("/home/ann/x")
    assert paths.expand(Path("a/b")) == Path("a/b")
    assert paths.home() == Path("/home/ann")


@pytest.mark.parametrize(
    ("path", "noun"), [("", "empty"), ("a\0b", "NUL"), ("~nosuchuser/x", "home folder")]
)
def test_paths_that_cannot_be(path, noun):
    with pytest.raises(UserError, match=f"--workdir .*{noun}"):
        paths.expand(path, "--workdir")


@pytest.mark.parametrize("given", ["", "relative", "~/cache"])
def test_odd_values_of_xdg_cache_home_count_as_unset(monkeypatch, given):
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert paths.cache_home() == Path("/home/ann/.cache")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert paths.cache_folder("xla") == Path("/var/cache/dancejax/xla")


@pytest.mark.parametrize("given", ["", "relative"])
def test_a_home_that_is_no_absolute_path_is_none(monkeypatch, homeless, given):
    monkeypatch.setenv("HOME", given)
    assert paths.home() is None
    assert paths.cache_home() is None


def test_tfds_data_dir(monkeypatch, homeless):
    assert tfds_source.default_data_dir() is None
    monkeypatch.setenv("HOME", "/home/ann")
    for given in ("", None):
        monkeypatch.setenv("TFDS_DATA_DIR", given) if given is not None else None
        assert tfds_source.default_data_dir() == Path("/home/ann/tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", "~/sets")
    assert tfds_source.default_data_dir() == Path("/home/ann/sets")
    monkeypatch.setenv("TFDS_DATA_DIR", "~nosuchuser/sets")
    with pytest.raises(UserError, match="TFDS_DATA_DIR"):
        data.load("cifar10")


def test_without_a_home_nothing_is_kept_and_nothing_fails(homeless, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder, "_KEPT", 1)
    for number in range(8):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(path)
    assert paths.cache_folder("xla") is None
    before = jax.config.jax_compilation_cache_dir
    backend.enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before
    assert sum(len(data.load(tmp_path, split=split)) for split in ("train", "test")) == 8
    assert len(data.load("fashion_mnist_mini", split="test")) == 2000
    assert capsys.readouterr().err.count("no home folder") == 1
    for name in ("cifar10", "tiny_imagenet"):
        with pytest.raises(UserError, match="give data_dir"):
            data.load(name)
    with pytest.raises(UserError, match="no data set"):
        data.load("zzz")
    with pytest.raises(UserError, match="home folder"):
        data.load("~/photos")
    with pytest.raises(UserError, match="data_dir"):
        data.load("cifar10", data_dir="~/sets")


def test_the_doctor_works_without_a_home(homeless, monkeypatch):
    monkeypatch.setattr(doctor.backend, "matmul_speed", lambda side: 1.0)
    found = doctor.machine()
    assert found["compilation cache"] == "off"


def test_a_cache_that_cannot_be_written_to_is_off(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    before = jax.config.jax_compilation_cache_dir
    backend.enable_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == before
    assert "not kept" in capsys.readouterr().err


@pytest.mark.parametrize("path", ["a" * 5000, "./" + "a" * 5000, "./" + "a" * 5000 + ".npz"])
def test_a_name_too_long_for_the_system(path):
    with pytest.raises(UserError):
        data.load(path)


def test_a_home_in_front_of_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2)
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(10) % 2)
    assert data.load("~/set.npz").name == "set"
    with pytest.raises(UserError, match=str(tmp_path / "sets")):
        data.load("cifar10", data_dir=os.path.join("~", "sets"))


def test_what_is_closed_is_the_outermost_folder(tmp_path, monkeypatch):
    place = tmp_path / "shut" / "inner" / "file"
    place.parent.mkdir(parents=True)
    assert paths.closed(place) == place
    shut = {str(tmp_path / "shut"), str(tmp_path / "shut" / "inner")}
    monkeypatch.setattr(paths.os, "access", lambda path, mode: str(path) not in shut)
    assert paths.closed(place) == tmp_path / "shut"
