"""Published architectures under patch(): transformers' own code, unchanged, with every convolution taken.

The configurations are small and the weights random, so nothing is downloaded. The layers are the published ones:
strided, depthwise and 1x1 convolutions, kernels of 2, 3, 4 and 7, kernel and stride up to 8 in the attention.
"""

import sys
from pathlib import Path

import pytest
import torch

import miniconv

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and steps.py is no test
from steps import Convolutions, compare

transformers = pytest.importorskip("transformers")

LABELS = 5
# the classes' prefix and task, the configuration, the input, and the convolutions forward and backward: of
# DeepLab's, one makes features that only the classifier needs
ARCHITECTURES = {
    "resnet18": (
        ("ResNet", "ImageClassification"),
        {"embedding_size": 8, "hidden_sizes": [8, 12, 16, 20], "depths": [2, 2, 2, 2], "layer_type": "basic"},
        (2, 3, 68, 100),
        (20, 20),
    ),
    "resnet-bottleneck": (
        ("ResNet", "ImageClassification"),
        {"embedding_size": 8, "hidden_sizes": [12, 16, 20, 24], "depths": [1, 2, 1, 1], "layer_type": "bottleneck"},
        (2, 3, 68, 100),
        (20, 20),
    ),
    "mobilenet_v2": (("MobileNetV2", "ImageClassification"), {"depth_multiplier": 0.25}, (2, 3, 68, 100), (52, 52)),
    "mobilenet_v2-deeplab": (
        ("MobileNetV2", "SemanticSegmentation"),
        {"depth_multiplier": 0.25, "output_stride": 8, "tf_padding": False},
        (2, 3, 68, 100),
        (56, 55),
    ),
    "convnext": (
        ("ConvNext", "ImageClassification"),
        {"hidden_sizes": [8, 12, 16, 20], "depths": [1, 1, 2, 1], "drop_path_rate": 0.2},
        (2, 3, 68, 100),
        (9, 9),
    ),
    "segformer": (
        ("Segformer", "SemanticSegmentation"),
        {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 20, 24], "num_attention_heads": [1, 2, 4, 4],
         "decoder_hidden_size": 16},
        (2, 3, 68, 100),
        (13, 13),
    ),
}  # fmt: skip


def build(name, dtype):
    """The network, and a batch for it, from one seed."""
    (family, task), options, shape, _ = ARCHITECTURES[name]
    torch.manual_seed(11)
    config = getattr(transformers, family + "Config")(num_labels=LABELS, **options)
    model = getattr(transformers, f"{family}For{task}")(config).train().to(dtype)
    labels = torch.randint(LABELS, (shape[0], *shape[2:]) if "Segmentation" in task else shape[:1])
    return model, {"pixel_values": torch.randn(shape, dtype=dtype), "labels": labels}


def gamma(terms):
    """The relative error that a float32 sum of this many products may have, against the sum of their sizes."""
    unit = (terms + 2) * torch.finfo(torch.float32).eps / 2
    return unit / (1 - unit)


def judge(layer, input, output, grad_output, grad_input):
    """Output and gradients of one layer in float32 within gamma_(L+2) * S of those that float64 gives."""
    options = (layer.stride, layer.padding, layer.dilation, False, (0, 0), layer.groups)
    results = {
        "output": (output, input.shape[1] // layer.groups * layer.weight[0, 0].numel()),
        "input": (grad_input, layer.out_channels // layer.groups * layer.weight[0, 0].numel()),
        "weight": (layer.weight.grad, output.shape[0] * output[0, 0].numel()),
        "bias": (None if layer.bias is None else layer.bias.grad, output.shape[0] * output[0, 0].numel()),
    }

    def in_float64(change):
        x, w, g = (change(t.detach().double()) for t in (input, layer.weight, grad_output))
        b = None if layer.bias is None else change(layer.bias.detach().double())
        forward = torch.ops.aten.convolution(x, w, b, *options)
        backward = torch.ops.aten.convolution_backward(g, x, w, [layer.out_channels], *options, (True, True, True))
        return dict(zip(results, (forward, *backward), strict=True))

    exact, sizes = in_float64(lambda t: t), in_float64(torch.abs)
    for name, (got, terms) in results.items():
        if got is not None:
            smallest = (terms + 2) * torch.finfo(torch.float32).smallest_normal * torch.finfo(torch.float32).eps
            assert ((got.double() - exact[name]).abs() <= gamma(terms) * sizes[name] + smallest).all(), (layer, name)


def train(name):
    """Loss, logits and gradients of one step, then the state after it and the logits of inference."""
    model, batch = build(name, torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    output = model(**batch)
    output.loss.backward()
    optimizer.step()
    seen = [output.loss.detach(), output.logits.detach()]
    seen += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    seen += [value.detach().clone() for value in model.state_dict().values() if value.is_floating_point()]
    with torch.inference_mode():
        return [*seen, model.eval()(pixel_values=batch["pixel_values"]).logits.clone()]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_convolution_is_taken(name):
    forward, backward = ARCHITECTURES[name][-1]
    with Convolutions() as convolutions:
        expected = train(name)
    assert convolutions.count == forward + backward + forward  # the last in inference
    with miniconv.patch() as report:
        got = train(name)
    compare(got, expected)
    assert report.taken == {"conv2d": 2 * forward, "conv2d backward": backward}
    assert report.handed_back == {}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_layer_is_within_the_bound_in_float32(name):
    model, batch = build(name, torch.float32)
    batch["pixel_values"].requires_grad_()
    seen = {}

    def keep(layer, *tensors):
        (first,), second = tensors[0], tensors[1]
        second = second[0] if isinstance(second, tuple) else second
        seen.setdefault(layer, []).extend(None if t is None else t.detach().clone() for t in (first, second))

    layers = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    for layer in layers:
        layer.register_forward_hook(keep)
        layer.register_full_backward_hook(keep)
    with miniconv.patch() as report:
        model(**batch).loss.backward()
    assert report.handed_back == {}
    complete = [(layer, *tensors) for layer, tensors in seen.items() if len(tensors) == 4]
    assert (len(seen), len(complete)) == ARCHITECTURES[name][-1]
    for layer, input, output, grad_input, grad_output in complete:
        judge(layer, input, output, grad_output, grad_input)
