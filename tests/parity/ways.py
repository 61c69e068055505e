"""The ways in which programs reach torch's convolutions, and what is then counted: for the tests of patch()."""

import threading
import warnings

import torch
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


def integers(*shape, dtype=torch.float64, grad=True):
    """Small integers: every sum below is exact, in any order, in bfloat16 too."""
    generator = torch.Generator().manual_seed(sum(shape))
    drawn = torch.randint(-1, 2, shape, generator=generator)
    return drawn.to(dtype).requires_grad_(grad and dtype.is_floating_point)


def operands(dtype=torch.float64):
    return integers(2, 4, 7, 5, dtype=dtype), integers(6, 2, 3, 2, dtype=dtype), integers(6, dtype=dtype)


OPTIONS = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}


def gradients(y, *leaves, **options):
    """y and the gradients of a sum that weights its elements with 0, 1 and 2."""
    factor = torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape) % 3
    return [y, *torch.autograd.grad((y * factor).sum(), leaves, **options)]


def ordinary(dims):
    x, w, b = integers(2, 4, *(7, 5, 6)[:dims]), integers(6, 2, *(3, 2, 3)[:dims]), integers(6)
    options = {"stride": (2, 1, 3)[:dims], "padding": (1, 2, 0)[:dims], "dilation": (1, 2, 1)[:dims], "groups": 2}
    return gradients(getattr(F, f"conv{dims}d")(x, w, b, **options), x, w, b)


def transposed(dims):
    x, w, b = integers(2, 4, *(3, 4, 2)[:dims]), integers(4, 3, *(3, 2, 3)[:dims]), integers(6)
    options = {"stride": (2, 1, 3)[:dims], "padding": (1, 0, 2)[:dims], "dilation": (1, 2, 1)[:dims], "groups": 2}
    options["output_padding"] = (1, 1, 0)[:dims]
    return gradients(getattr(F, f"conv_transpose{dims}d")(x, w, b, **options), x, w, b)


def unbatched():
    x, w, b = operands()
    return gradients(F.conv2d(x[0], w, b, **OPTIONS), x, w, b)


def module():
    conv = integer_module()
    x = integers(2, 4, 7, 5)
    return gradients(conv(x), x, *conv.parameters())


def integer_module(**options):
    conv = torch.nn.Conv2d(4, 6, (3, 2), dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.copy_(integers(*parameter.shape))
    return conv


def lazy_module():
    conv = torch.nn.LazyConv2d(6, (3, 2), dtype=torch.float64)
    with torch.no_grad():
        y = conv(integers(2, 4, 7, 5))
    return [torch.zeros_like(y)]  # the weights are drawn anew: only the call itself is looked at


def padding_mode():
    conv = integer_module(padding=(1, 2), padding_mode="reflect")
    x = integers(2, 4, 7, 5)
    return gradients(conv(x), x, *conv.parameters())


def same():
    x, w, b = operands()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # said once a process
        return gradients(F.conv2d(x, w, b, padding="same", groups=2), x, w, b)


def double_backward():
    x, w, b = operands()
    first = gradients(F.conv2d(x, w, b, **OPTIONS), x, w, b, create_graph=True)
    return gradients(first[1].square() + first[2].sum(), x, w)[1:]


def forward_mode():
    x, w, b = operands()
    return list(torch.func.jvp(lambda *o: F.conv2d(*o, **OPTIONS), (x, w, b), (x + 1, w - 1, b)))


def dual_numbers():
    x, w, b = operands()
    with torch.autograd.forward_ad.dual_level():
        y = F.conv2d(torch.autograd.forward_ad.make_dual(x, x + 1), w, b, **OPTIONS)
        return list(torch.autograd.forward_ad.unpack_dual(y))


def vmap_input():
    x, w, b = integers(3, 2, 4, 7, 5), *operands()[1:]
    return [torch.vmap(lambda x: F.conv2d(x, w, b, **OPTIONS), in_dims=0, out_dims=1)(x)]


def vmap_weight():
    x, w = operands()[0], integers(6, 2, 3, 2, 3)
    return [torch.vmap(lambda w: F.conv2d(x, w, **OPTIONS), in_dims=-1)(w)]


def per_sample_gradients():
    x, w, b = operands()
    one = torch.func.grad(lambda w, x: F.conv2d(x, w, b, **OPTIONS).square().sum())
    return [torch.vmap(one, in_dims=(None, 0))(w, x)]


def hessian():
    x = integers(1, 1, 3, 2)
    return [torch.func.hessian(lambda w: F.conv2d(x, w).pow(3).sum())(integers(1, 1, 2, 1))]


def autocast():
    x, w, b = operands(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = F.conv2d(x, w, b, **OPTIONS)
    return gradients(y, x, w, b)


def checkpointed():
    x, w, b = operands()
    return gradients(checkpoint(lambda x: F.conv2d(x, w, b, **OPTIONS).relu(), x, use_reentrant=False), x, w, b)


def inference_mode():
    with torch.inference_mode():
        y = F.conv2d(*operands(), **OPTIONS)
    assert y.is_inference()
    return [y]


def another_thread():
    results = []
    thread = threading.Thread(target=lambda: results.extend(ordinary(2)))
    thread.start()
    thread.join()
    return results


def channels_last():
    x, w, b = operands()
    x, w = (t.to(memory_format=torch.channels_last).detach().requires_grad_() for t in (x, w))
    return gradients(F.conv2d(x, w, b, **OPTIONS), x, w, b)


def views():
    x, w = integers(2, 5, 4, 7).permute(0, 2, 3, 1).detach(), integers(6, 2, 1, 2).detach().expand(6, 2, 3, 2)
    return [F.conv2d(x, w, **OPTIONS), F.conv2d(torch.complex(x, x).conj().imag, w, **OPTIONS)]


def complex_numbers():
    x, w, b = (torch.complex(t, t - 1).detach().requires_grad_() for t in operands())
    y = F.conv2d(x, w, b, **OPTIONS)
    return [y, *torch.autograd.grad((y.real + 2 * y.imag).sum(), (x, w, b))]


def long_integers():
    return [F.conv2d(*operands(torch.int64), **OPTIONS)]


def empty_batch():
    x, w, b = operands()
    return gradients(F.conv2d(x[:0], w, b, **OPTIONS), x, w, b)


def named_gradients():
    x, w, b = operands()
    g = F.conv2d(x, w, b, **OPTIONS).detach()
    return [
        torch.nn.grad.conv2d_weight(x, w.shape, g, **OPTIONS),
        torch.nn.grad.conv2d_input(x.shape, w, g, **OPTIONS),
    ]


def direct():
    x, w, b = operands()
    numbers = ([2, 1], [1, 2], [1, 2], False, [0, 0], 2)
    flags = (False, False, False, False)
    return gradients(torch.convolution(x, w, b, *numbers) + torch._convolution(x, w, b, *numbers, *flags), x, w, b)


def traced():
    conv, x = integer_module(), integers(2, 4, 7, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        conv = torch.jit.trace(conv, x, check_trace=False)
        return gradients(conv(x), x, *conv.parameters())


def exported():
    conv, x = integer_module(), integers(2, 4, 7, 5)
    return [torch.export.export(conv, (x,)).module()(x)]


ONCE = {"conv2d": 1}
BOTH = {"conv2d": 1, "conv2d backward": 1}
WAYS = {
    "conv1d": (lambda: ordinary(1), {"conv1d": 1, "conv1d backward": 1}),
    "conv2d": (lambda: ordinary(2), BOTH),
    "conv3d": (lambda: ordinary(3), {"conv3d": 1, "conv3d backward": 1}),
    "conv_transpose1d": (lambda: transposed(1), {"conv_transpose1d": 1, "conv_transpose1d backward": 1}),
    "conv_transpose2d": (lambda: transposed(2), {"conv_transpose2d": 1, "conv_transpose2d backward": 1}),
    "conv_transpose3d": (lambda: transposed(3), {"conv_transpose3d": 1, "conv_transpose3d backward": 1}),
    "unbatched": (unbatched, BOTH),
    "module": (module, BOTH),
    "lazy_module": (lazy_module, ONCE),
    "padding_mode": (padding_mode, BOTH),
    "same": (same, BOTH),
    "double_backward": (double_backward, None),
    "forward_mode": (forward_mode, {"conv2d": 3}),
    "dual_numbers": (dual_numbers, {"conv2d": 3}),
    "vmap_input": (vmap_input, ONCE),
    "vmap_weight": (vmap_weight, ONCE),
    "per_sample_gradients": (per_sample_gradients, None),
    "hessian": (hessian, None),
    "autocast": (autocast, BOTH),
    "checkpointed": (checkpointed, {"conv2d": 2, "conv2d backward": 1}),
    "inference_mode": (inference_mode, ONCE),
    "another_thread": (another_thread, BOTH),
    "channels_last": (channels_last, BOTH),
    "views": (views, {"conv2d": 2}),
    "complex_numbers": (complex_numbers, {"conv2d": 3, "conv2d backward": 3}),
    "long_integers": (long_integers, ONCE),
    "empty_batch": (empty_batch, BOTH),
    "named_gradients": (named_gradients, {"conv2d": 1, "conv2d backward": 2}),
    "direct": (direct, {"conv2d": 2, "conv2d backward": 2}),
    "traced": (traced, {"conv2d": 2, "conv2d backward": 1}),
    "exported": (exported, ONCE),
}
"""How torch's convolutions are reached, and what is then counted (None: torch decides; all of it is taken)."""

REFUSED = {
    "channels": (lambda: F.conv2d(torch.ones(1, 3, 5, 5), torch.ones(2, 4, 3, 3)), "to have 4 channels"),
    "bool": (lambda: F.conv2d(torch.ones(1, 1, 5, 5).bool(), torch.ones(1, 1, 3, 3).bool()), "'Bool'"),
    "unbatched": (
        lambda: torch.convolution(torch.ones(1, 5, 5), torch.ones(1, 1, 3, 3), None, [1], [0], [1], False, [0], 1),
        "another number of axes",
    ),
    "four axes": (
        lambda: torch.convolution(
            torch.ones((1,) * 6), torch.ones((1,) * 6), None, [1] * 4, [0] * 4, [1] * 4, False, [0] * 4, 1
        ),
        "",
    ),
}
"""Problems that both refuse, and a part of the reason that is counted."""
