"""What programs do to modules, done to miniconv's and to torch's from one seed: the same numbers at every step."""

import copy
import sys
import warnings
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrizations, prune

import miniconv
import miniconv.nn as own_nn

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it out, and steps.py is no test
from steps import compare

SCENARIOS = {}


def scenario(function):
    """A function of ``nn`` that gives tensors."""
    SCENARIOS[function.__name__] = function
    return function


def network(nn):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 6, (3, 2), padding=(1, 0)),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 4, (2, 3), groups=2, bias=False),
        nn.ConvTranspose2d(4, 5, (3, 2), stride=(2, 1), padding=(1, 0)),
    ).double()


def pictures():
    return torch.randn(2, 3, 7, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def gradients(model):
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def train(model, steps=2, make=torch.optim.SGD, **options):
    """Outputs and gradients of some steps, then the parameters."""
    optimizer = make(model.parameters(), **{"lr": 0.05} | options)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        y = model(pictures())
        y.square().mean().backward()
        seen += [y.detach().clone(), *gradients(model)]
        optimizer.step()
    return [*seen, *(value.detach().clone() for value in model.state_dict().values())]


@scenario
def module_hooks(nn):
    model, seen = network(nn), []
    for layer in model:
        layer.register_forward_pre_hook(lambda layer, args: (args[0] * 2,))
        layer.register_forward_hook(lambda layer, args, output: seen.append(output.detach().clone()))
        layer.register_forward_hook(lambda layer, args, kwargs, output: output + 1, with_kwargs=True)
        layer.register_full_backward_pre_hook(lambda layer, grads: (grads[0] / 2,))
        layer.register_full_backward_hook(lambda layer, inward, outward: seen.extend([*inward, *outward]))
    model(pictures().requires_grad_()).square().sum().backward()
    return [*seen, *gradients(model)]


@scenario
def tensor_hooks(nn):
    model, seen = network(nn), []
    model[0].weight.register_hook(lambda grad: grad * 3)
    model[3].weight.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.clone()))
    y = model[0](pictures())
    y.retain_grad()
    model[1:](y).square().sum().backward()
    return [*seen, y.grad, *gradients(model)]


@scenario
def graphs_kept_and_differentiated(nn):
    model, x = network(nn), pictures().requires_grad_()
    loss = model(x).square().sum()
    (first,) = torch.autograd.grad(loss, x, create_graph=True)
    first.square().sum().backward(retain_graph=True)
    loss.backward(retain_graph=True)
    loss.backward()
    return [x.grad, *gradients(model)]


@scenario
def written_in_place(nn):
    model = network(nn)
    y = model[0](pictures()).add_(1).mul_(2).relu_()
    model[4](model[3](y).add_(1)).tanh_().sum().backward()
    return gradients(model)


@scenario
def checkpointed(nn):
    model = network(nn)
    torch.utils.checkpoint.checkpoint_sequential(model, 2, pictures(), use_reentrant=False).square().sum().backward()
    return gradients(model)


@scenario
def frozen_and_zeroed(nn):
    model = network(nn)
    model[0].requires_grad_(False)
    seen = train(model)
    model.zero_grad(set_to_none=False)
    seen += gradients(model)
    model.zero_grad()
    assert all(p.grad is None for p in model[1:].parameters())
    return seen


@scenario
def moved(nn):
    model = network(nn).float().to(torch.float64, memory_format=torch.channels_last).share_memory()
    assert all(p.is_shared() for p in model.parameters())
    model._apply(lambda t: t * 2 if t.is_floating_point() else t)
    return [*train(model), *(p.detach() for p in copy.deepcopy(model).half().parameters())]


@scenario
def from_meta(nn):
    model = network(nn).to("meta").to_empty(device="cpu")
    with torch.no_grad():
        for value in model.state_dict().values():
            value.copy_((torch.arange(value.numel()) % 5).reshape(value.shape) / 32)
    return train(model)


@scenario
def states(nn):
    """state_dict into the other library's model, strict and not, copied and assigned; and what is refused."""
    source, seen = network(torch.nn), []
    for assign in (False, True):
        model = network(nn).float() if not assign else network(nn).to("meta")
        model.load_state_dict(source.state_dict(), assign=assign)
        back = network(torch.nn)
        back.load_state_dict(model.state_dict())
        seen += [*train(model.double()), *back.state_dict().values()]
    state = source.state_dict()
    del state["0.bias"]
    state["more"] = torch.zeros(1)
    assert str(model.load_state_dict(state, strict=False)) == str(source.load_state_dict(state, strict=False))
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict({**state, "0.weight": torch.zeros(1)})
    with pytest.raises(RuntimeError) as expected:
        source.load_state_dict({**state, "0.weight": torch.zeros(1)})
    assert str(caught.value) == str(expected.value)
    return seen


@scenario
def weight_norms(nn):
    model = network(nn)
    parametrizations.weight_norm(model[0])
    parametrizations.weight_norm(model[4], dim=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the old form, which many programs still have
        torch.nn.utils.weight_norm(model[3])
    seen = train(model)
    torch.nn.utils.parametrize.remove_parametrizations(model[0], "weight")
    torch.nn.utils.remove_weight_norm(model[3])
    return [*seen, *train(model)]


@scenario
def spectral_norms(nn):
    model = network(nn)
    parametrizations.spectral_norm(model[0])
    torch.nn.utils.spectral_norm(model[4])
    parametrizations.orthogonal(model[3])
    seen = train(model)
    torch.nn.utils.remove_spectral_norm(model[4])
    return [*seen, *train(model.eval())]


@scenario
def pruned(nn):
    model = network(nn)
    prune.random_unstructured(model[0], "weight", amount=0.3)
    prune.l1_unstructured(model[3], "weight", amount=5)
    prune.ln_structured(model[4], "weight", amount=0.25, n=2, dim=0)
    prune.global_unstructured([(model[0], "weight"), (model[4], "weight")], prune.L1Unstructured, amount=0.2)
    seen = train(model)
    for number in (0, 3, 4):
        prune.remove(model[number], "weight")
    return [*seen, *train(model)]


@scenario
def fused(nn):
    model = network(nn)
    train(model)
    conv, norm = model.eval()[0], model[1]
    folded = torch.nn.utils.fuse_conv_bn_eval(conv, norm)
    assert type(folded) is type(conv)
    turned = torch.nn.utils.fuse_conv_bn_eval(model[4], torch.nn.BatchNorm2d(5).double().eval(), transpose=True)
    return [folded(pictures()).detach(), *folded.state_dict().values(), *turned.state_dict().values()]


@scenario
def initialised(nn):
    layers = [torch.nn.utils.skip_init(nn.Conv2d, 3, 6, 3), nn.Conv1d(3, 6, 3), nn.ConvTranspose3d(3, 6, 3, groups=3)]
    torch.manual_seed(6)
    for layer in layers:
        for draw in ("kaiming_normal_", "xavier_uniform_", "orthogonal_", "dirac_", "trunc_normal_"):
            if draw != "dirac_" or layer.weight.dim() < 5:
                getattr(torch.nn.init, draw)(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return [p.detach() for layer in layers for p in layer.parameters()]


@scenario
def averaged(nn):
    model = network(nn)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    for _ in range(3):
        train(model, steps=1)
        average.update_parameters(model)
    torch.optim.swa_utils.update_bn([pictures()], average)
    return [average(pictures()).detach(), *average.state_dict().values()]


@scenario
def called_by_function(nn):
    models = [network(nn).eval() for _ in range(3)]
    for scale, model in enumerate(models, 1):
        vector = torch.nn.utils.parameters_to_vector(model.parameters())
        torch.nn.utils.vector_to_parameters(vector * scale, model.parameters())
    values = {name: p.detach() / 2 for name, p in models[0].named_parameters()}
    params, buffers = torch.func.stack_module_state(models)

    def call(params, buffers, x):
        return torch.func.functional_call(models[0], (params, buffers), (x,))

    together = torch.func.vmap(call, in_dims=(0, 0, None))(params, buffers, pictures())
    return [torch.func.functional_call(models[0], values, (pictures(),)).detach(), together.detach()]


for _make in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop):
    for _foreach in (False, True):

        def _optimised(nn, make=_make, foreach=_foreach):
            model = network(nn)
            seen = train(
                model, make=make, foreach=foreach, lr=1e-3, **({} if make is torch.optim.SGD else {"eps": 1e-2})
            )
            return [*seen, torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1), *gradients(model)]

        SCENARIOS[f"{_make.__name__}{'_foreach' * _foreach}"] = _optimised


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_as_torch(name):
    results = []
    for nn in (torch.nn, own_nn):
        torch.manual_seed(8)
        results.append(SCENARIOS[name](nn))
    compare(results[1], results[0])
    torch.manual_seed(8)
    with miniconv.patch() as report:
        patched = SCENARIOS[name](torch.nn)
    compare(patched, results[0])
    assert report.handed_back == {}
    assert report.taken or name == "initialised"
