"""The names of torch that miniconv does not build: torch's own objects, under every form of import."""

import importlib

import pytest
import torch

PAIRS = {"miniconv.functional": torch.nn.functional, "miniconv.nn": torch.nn}


def star(name):
    """What ``from name import *`` binds."""
    names = {}
    exec(f"from {name} import *", names)
    del names["__builtins__"]
    return names


@pytest.mark.parametrize("name", PAIRS)
def test_star_gives_every_public_name(name):
    ours, torchs = importlib.import_module(name), star(PAIRS[name].__name__)
    got = star(name)
    assert set(got) == {*torchs, *ours.OWN, "OWN"}
    assert list(ours.__all__).count("OWN") == 1
    assert len(ours.__all__) == len(set(ours.__all__))
    for public, value in got.items():
        assert value is getattr(ours, public)
        if public not in (*ours.OWN, "OWN", "functional"):
            assert value is torchs[public]


@pytest.mark.parametrize("name", PAIRS)
def test_every_name_that_torch_has_is_there(name):
    """Private ones too: all but what Python itself adds to a module."""
    ours, theirs = importlib.import_module(name), PAIRS[name]
    names = [public for public in dir(theirs) if not public.startswith("__")]
    assert set(names) <= set(dir(ours))
    handed_through = [public for public in names if public not in vars(ours)]
    assert len(handed_through) > 100
    assert all(getattr(ours, public) is getattr(theirs, public) for public in handed_through)
    shadowed = [public for public in names if getattr(ours, public) is not getattr(theirs, public)]
    assert set(shadowed) <= {*ours.OWN, "functional"}


def test_functional_is_found_from_nn():
    nn, functional = map(importlib.import_module, ("miniconv.nn", "miniconv.functional"))
    assert nn.functional is star("miniconv.nn")["functional"] is functional
    import miniconv.nn.functional as F
    from miniconv.nn.functional import conv2d

    assert F is functional
    assert conv2d is functional.conv2d
