"""The layers against torch's: constructor, numbers from a seed, text, state, errors, third-party habits."""

import copy
import inspect
import io
import pickle

import pytest
import torch

import miniconv.nn as nn

# the class, its arguments, and the spatial size of an input
FORMS = [
    ("Conv2d", (4, 6, 3), {}, (9, 10)),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}, (9, 10)),
    ("Conv2d", (4, 6, 3), {"groups": 2, "bias": False}, (9, 10)),
    ("Conv2d", (4, 6, 3), {"bias": None, "padding": "same"}, (9, 10)),
    ("Conv2d", (4, 4, [3, 5]), {"padding": "valid", "groups": 4, "dtype": torch.float64}, (9, 10)),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "reflect"}, (9, 10)),
    ("Conv2d", (4, 6, (2, 3)), {"padding": "same", "padding_mode": "circular", "dilation": (1, 2)}, (9, 10)),
    ("Conv2d", (4, 6, 3), {"padding": (2, 1), "padding_mode": "replicate"}, (9, 10)),
    ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "groups": 2}, (9,)),
    ("Conv1d", (4, 6, (5,)), {"padding": "same", "padding_mode": "circular", "dilation": 2}, (11,)),
    ("Conv3d", (4, 6, (3, 2, 1)), {"stride": (1, 2, 3), "padding": (1, 0, 2), "bias": False}, (4, 5, 6)),
    ("Conv3d", (4, 8, 2), {"padding": "same", "groups": 4, "padding_mode": "replicate"}, (4, 5, 6)),
    ("ConvTranspose1d", (4, 6, 3), {"stride": 2, "padding": 1, "output_padding": 1}, (9,)),
    ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": (2, 3), "padding": (1, 0), "output_padding": (0, 2)}, (5, 6)),
    ("ConvTranspose2d", (4, 6, 3), {"groups": 2, "dilation": (2, 1), "bias": False, "output_padding": (1, 0)}, (5, 6)),
    ("ConvTranspose3d", (4, 6, (3, 2, 1)), {"stride": (1, 2, 3), "padding": (1, 0, 0), "groups": 2}, (3, 4, 5)),
]


def pair(name, args, kwargs, seed=3):
    """The same layer twice, built from the same seed, and the random state behind each."""
    made = []
    for module in (nn, torch.nn):
        torch.manual_seed(seed)
        made.append((getattr(module, name)(*args, **kwargs), torch.get_rng_state()))
    return made


@pytest.mark.parametrize(("name", "args", "kwargs", "size"), FORMS)
def test_same_seed_same_layer(name, args, kwargs, size):
    (ours, our_state), (theirs, their_state) = pair(name, args, kwargs)
    assert torch.equal(our_state, their_state)
    assert isinstance(ours, getattr(torch.nn, name))
    assert repr(ours) == repr(theirs)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)
    for attribute in ours.__constants__:
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    ours_border, theirs_border = ours._reversed_padding_repeated_twice, theirs._reversed_padding_repeated_twice
    assert (type(ours_border), ours_border) == (type(theirs_border), theirs_border)
    assert (ours.output_padding, ours.transposed) == (theirs.output_padding, theirs.transposed)


@pytest.mark.parametrize("name", [*dict.fromkeys(form[0] for form in FORMS)])
def test_signatures(name):
    for prefix in ("", "Lazy"):
        parameters = [inspect.signature(getattr(m, prefix + name)).parameters.values() for m in (nn, torch.nn)]
        ours, theirs = ([(p.name, p.default, p.kind) for p in each] for each in parameters)
        assert ours == theirs


def fill_with_integers(layer):
    """Small integers: every order of summation is exact."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.arange(parameter.numel()).reshape(parameter.shape) % 7 - 3)


def integers(shape, dtype=torch.float32):
    return (torch.arange(torch.Size(shape).numel()).reshape(shape) % 11 - 5).to(dtype)


@pytest.mark.parametrize(("name", "args", "kwargs", "size"), FORMS)
def test_same_numbers(name, args, kwargs, size):
    (ours, _), (theirs, _) = pair(name, args, kwargs)
    fill_with_integers(ours)
    fill_with_integers(theirs)
    for shape in ((2, 4, *size), (4, *size)):
        input = integers(shape, ours.weight.dtype)
        ours.zero_grad()
        theirs.zero_grad()
        got, expected = ours(input), theirs(input)
        assert torch.equal(got, expected)
        assert got.stride() == expected.stride()
        got.square().sum().backward()
        expected.square().sum().backward()
        for mine, torchs in zip(ours.parameters(), theirs.parameters()):
            assert torch.equal(mine.grad, torchs.grad)


@pytest.mark.parametrize(("name", "args", "kwargs", "size"), FORMS)
def test_lazy_becomes_the_plain_class(name, args, kwargs, size):
    made = []
    for module in (nn, torch.nn):
        torch.manual_seed(5)
        layer = getattr(module, "Lazy" + name)(*args[1:], **kwargs)
        text = repr(layer)
        made.append((layer, layer(integers((2, 4, *size), kwargs.get("dtype", torch.float32))), text))
    (ours, got, our_text), (theirs, expected, their_text) = made
    assert type(ours) is getattr(nn, name)
    assert our_text == their_text
    assert repr(ours) == repr(theirs)
    assert torch.equal(ours.weight, theirs.weight)
    assert torch.allclose(got, expected, atol=1e-4)


def test_lazy_errors():
    for module in (nn, torch.nn):
        with pytest.raises(RuntimeError) as caught:
            module.LazyConv2d(6, 3)(torch.zeros(8, 8))
        assert str(caught.value) == (
            "Expected 3D (unbatched) or 4D (batched) input to LazyConv2d, but got input of size: torch.Size([8, 8])"
        )


@pytest.mark.parametrize("size", [[17, 17], [2, 6, 18, 17], [6, 17, 18], [17], [17, 19], [16, 17], [1, 2, 17, 17, 17]])
@pytest.mark.parametrize("batch", [(2,), ()])
def test_output_size_of_transposed(size, batch):
    (ours, _), (theirs, _) = pair("ConvTranspose2d", (4, 6, 3), {"stride": 2})
    fill_with_integers(ours)
    fill_with_integers(theirs)
    input = integers((*batch, 4, 8, 8))

    def answer(layer):
        try:
            return layer(input, output_size=size)
        except ValueError as error:
            return str(error)

    got, expected = answer(ours), answer(theirs)
    assert type(got) is type(expected)
    assert got == expected if isinstance(got, str) else torch.equal(got, expected)


def test_transposed_takes_no_other_padding_mode():
    for module in (nn, torch.nn):
        with pytest.raises(ValueError, match='Only "zeros" padding mode is supported for ConvTranspose2d'):
            module.ConvTranspose2d(4, 6, 3, padding_mode="reflect")


def test_seed_is_the_same_for_a_channels_last_weight():
    torch.manual_seed(0)
    ours = nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    ours.reset_parameters()
    torch.manual_seed(0)
    theirs = torch.nn.Conv2d(4, 6, 3).to(memory_format=torch.channels_last)
    theirs.reset_parameters()
    assert torch.equal(ours.weight, theirs.weight)
    assert ours.weight.stride() == theirs.weight.stride()


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((4, 6, 3), {"groups": 0, "padding_mode": "constant"}),
        ((3, 6, 3), {"groups": 2}),
        ((4, 5, 3), {"groups": 2}),
        ((4, 6, 3), {"padding": "SAME"}),
        ((4, 6, 3), {"padding": "same", "stride": (1, 2)}),
        ((4, 6, 3), {"padding_mode": "constant"}),
    ],
)
def test_constructor_errors(args, kwargs):
    with pytest.raises(ValueError) as theirs:  # noqa: PT011 - the text is compared below
        torch.nn.Conv2d(*args, **kwargs)
    with pytest.raises(ValueError) as ours:  # noqa: PT011
        nn.Conv2d(*args, **kwargs)

    def without_order(text):  # a set is printed in an order that differs from process to process
        return sorted(text.replace("{", " ").replace("}", " ").replace(",", " ").split())

    assert without_order(str(ours.value)) == without_order(str(theirs.value))


@pytest.mark.parametrize(
    ("padding", "mode", "shape"),
    [
        ((9, 9), "reflect", (2, 4, 8, 9)),
        ((9, 9), "circular", (2, 4, 8, 9)),
        ((2, 1), "reflect", (4, 2, 9)),
        ((1, 1), "zeros", (2, 3, 8, 9)),
        ((1, 1), "zeros", (8, 9)),
    ],
)
def test_forward_errors(padding, mode, shape):
    (ours, _), (theirs, _) = pair("Conv2d", (4, 6, 3), {"padding": padding, "padding_mode": mode})
    input = torch.ones(shape)
    with pytest.raises((RuntimeError, ValueError)) as expected:
        theirs(input)
    with pytest.raises(type(expected.value)) as got:
        ours(input)
    assert str(got.value).splitlines()[0] == str(expected.value).splitlines()[0]


def test_zero_elements_warn_as_in_torch():
    with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
        nn.Conv2d(0, 6, 3)


def test_is_a_torch_layer():
    layer = nn.Conv2d(2, 3, 3)
    assert isinstance(layer, torch.nn.Conv2d)
    for method in ("__init__", "forward", "_conv_forward", "reset_parameters", "extra_repr"):
        assert getattr(nn.Conv2d, method).__module__ == "miniconv.nn.convolution"


def test_state_goes_both_ways():
    ours, theirs = nn.Conv2d(4, 6, 3), torch.nn.Conv2d(4, 6, 3)
    input = torch.randn(2, 4, 7, 8)
    theirs.load_state_dict(ours.state_dict())
    ours_again = nn.Conv2d(4, 6, 3)
    ours_again.load_state_dict(theirs.state_dict())
    assert torch.equal(ours_again(input), ours(input))


def test_pickle_and_deepcopy():
    layer = nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular")
    input = torch.randn(2, 4, 7, 8)
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert type(twin) is nn.Conv2d
        assert twin.weight is not layer.weight
        assert torch.equal(twin(input), layer(input))
    file = io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(input), layer(input))


def test_old_pickles_get_a_padding_mode():
    layer = nn.Conv2d(4, 6, 3)
    state = layer.__dict__.copy()
    del state["padding_mode"]
    old = nn.Conv2d.__new__(nn.Conv2d)
    old.__setstate__(state)
    assert old.padding_mode == "zeros"


def test_conv_forward_is_the_point_of_override():
    class Doubled(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):
            return super()._conv_forward(input, 2 * weight, bias)

    layer = Doubled(4, 6, 3, bias=False)
    input = torch.randn(1, 4, 7, 8)
    plain = nn.Conv2d(4, 6, 3, bias=False)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(input), 2 * plain(input))


def test_meta_device_and_skip_init():
    layer = nn.Conv2d(4, 6, 3, device="meta")
    assert layer(torch.empty(2, 4, 7, 8, device="meta")).shape == (2, 6, 5, 6)
    assert torch.nn.utils.skip_init(nn.Conv2d, 4, 6, 3).weight.shape == (6, 4, 3, 3)


def test_a_layer_trains():
    """A few steps of SGD on integers, step by step equal to torch's layer."""
    (ours, _), (theirs, _) = pair("Conv2d", (2, 3, 3), {"dtype": torch.float64})
    input = torch.randn(4, 2, 6, 7, dtype=torch.float64)
    optimizers = [torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9) for layer in (ours, theirs)]
    for _ in range(5):
        for layer, optimizer in zip((ours, theirs), optimizers):
            optimizer.zero_grad()
            layer(input).square().mean().backward()
            optimizer.step()
    worst = max(float((a - b).detach().abs().max()) for a, b in zip(ours.parameters(), theirs.parameters()))
    assert worst < 64 * torch.finfo(torch.float64).eps


def test_names_are_handed_through():
    assert nn.Linear is torch.nn.Linear
    assert nn.functional.conv2d is not torch.nn.functional.conv2d
    assert nn.functional.gelu is torch.nn.functional.gelu
    assert set(dir(torch.nn)) - {n for n in dir(torch.nn) if n.startswith("__")} <= set(dir(nn))
    with pytest.raises(AttributeError, match="no attribute 'Conv9d'"):
        nn.Conv9d  # noqa: B018
    for name in nn.OWN:
        assert getattr(nn, name).__module__.startswith("miniconv.nn")
