"""torch.jit.script, which torch has deprecated: one clear error from whatever miniconv computes itself."""

import pytest
import torch

import miniconv.functional as F
import miniconv.nn as nn

pytestmark = pytest.mark.filterwarnings("ignore:`?torch.jit.script:DeprecationWarning")

LAYERS = {
    "Conv1d": (2, 3, 3),
    "Conv2d": (2, 3, 3),
    "Conv3d": (2, 3, 3),
    "ConvTranspose1d": (2, 3, 3),
    "ConvTranspose2d": (2, 3, 3),
    "ConvTranspose3d": (2, 3, 3),
    "LazyConv2d": (3, 3),
    "MaxPool1d": (2,),
    "MaxPool2d": (2,),
    "MaxPool3d": (2,),
    "AvgPool1d": (2,),
    "AvgPool2d": (2,),
    "AvgPool3d": (2,),
    "Unfold": (2,),
    "Fold": ((4, 5), (2, 3)),
}


def convolved(x, w):
    return F.conv2d(x, w, padding=1) + 1


def refusal(name):
    return (
        rf"^torch\.jit\.script cannot compile miniconv's {name}; use torch\.compile, torch\.export or torch.jit.trace$"
    )


@pytest.mark.parametrize("name", F.OWN)
def test_functions(name):
    with pytest.raises(RuntimeError, match=refusal(name)):
        torch.jit.script(getattr(F, name))


def test_a_function_that_calls_one():
    with pytest.raises(RuntimeError, match=refusal("conv2d")):
        torch.jit.script(convolved)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    layer = getattr(nn, name)(*LAYERS[name])
    for module in (layer, torch.nn.Sequential(torch.nn.ReLU(), layer)):
        with pytest.raises(RuntimeError, match=refusal(name)):
            torch.jit.script(module)
