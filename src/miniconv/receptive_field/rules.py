"""What each of torch's operators does to what its operands' elements see."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from miniconv.receptive_field.axis import Steps, Unfollowed
from miniconv.receptive_field.call import Call, per_axis
from miniconv.receptive_field.state import NOWHERE, State, merged
from miniconv.receptive_field.window_rules import WINDOW_RULES

__all__ = ["ELEMENTWISE", "RULES"]


def _slice(call: Call) -> State:
    """Every so-manieth place from a start."""
    state, given = call.state(), call.given
    at = state.index(given.get("dim", 0))
    if call.shape == state.shape:
        return state
    start, size = given.get("start") or 0, state.shape[at]
    start = min(max(start + size if start < 0 else start, 0), size)
    return state.moved(at, Steps(given.get("step", 1), ((start,),)), call.shape[at])


def _split(call: Call) -> State:
    """Parts along an axis that does not run along the picture, or their product: all see the same."""
    state = call.state()
    at = state.index(call.given.get("dim", 0))
    if any(along != NOWHERE for _, along in state.axes[at]):
        raise Unfollowed(f"{call.name} along the picture")
    if call.name == "aten::unbind":
        return state.selected(at, 0)
    return State((*state.axes[:at], ((call.shape[at], NOWHERE),), *state.axes[at + 1 :]), state.fields)


def _joined(call: Call) -> State:
    """Tensors side by side: whoever looks at any of them sees what all of them do."""
    states, new = call.states(call.given["tensors"]), call.name == "aten::stack"
    at = call.given.get("dim", 0) % len(call.shape)
    rows = [State((*s.axes[:at], ((1, NOWHERE),), *s.axes[at:]), s.fields) for s in states] if new else states
    if any(along != NOWHERE for state in rows for _, along in state.axes[at]):
        raise Unfollowed("tensors side by side along the picture")
    even = [State((*s.axes[:at], ((call.shape[at], NOWHERE),), *s.axes[at + 1 :]), s.fields) for s in rows]
    return merged(even, call.shape)


def _product(call: Call) -> State:
    """A matrix product with something that does not see the picture."""
    names = {
        "mm": ("self", "mat2"),
        "bmm": ("self", "mat2"),
        "addmm": ("mat1", "mat2"),
        "baddbmm": ("batch1", "batch2"),
    }
    left, right = names[call.name.partition("::")[2]]
    if not call.states([call.given[right]]):
        state = call.state(left).reduced([-1], "one")
        return State((*state.axes[:-1], ((call.shape[-1], NOWHERE),)), state.fields)
    if not call.states([call.given[left]]):
        state = call.state(right).reduced([-2], "one")
        return State((*state.axes[:-2], ((call.shape[-2], NOWHERE),), state.axes[-1]), state.fields)
    raise Unfollowed("a matrix product of two tensors that both see the picture")


def _attention(call: Call) -> State:
    """Every query meets every key and value."""
    states = call.states()
    even = [state.reduced(range(len(state.axes)), "one") for state in states]
    return merged(even, (1,) * len(call.shape)).widened(call.shape)


def _reduction(call: Call) -> State:
    """A sum, mean or maximum over some axes, or over all."""
    state, dims = call.state(), call.given.get("dim")
    dims = list(range(len(state.axes))) if dims is None or dims == [] else per_axis(dims, 1)
    return state.reduced(dims, "one" if call.given.get("keepdim") else "gone")


def _softmax(call: Call) -> State:
    return call.state().reduced([call.given["dim"]], "same")


def _layer_norm(call: Call) -> State:
    return call.state().reduced(range(-len(call.given["normalized_shape"]), 0), "same")


def _group_norm(call: Call) -> State:
    state = call.state()
    return state.reduced(range(1, len(state.axes)), "same")


def _batch_norm(call: Call) -> State:
    """By running statistics element by element; without them over the whole picture."""
    state = call.state()
    return state.reduced([0, *range(2, len(state.axes))], "same") if call.given.get("training") else state


def _permuted(call: Call) -> State:
    state, given = call.state(), call.given
    if "dims" in given:
        return state.permuted(given["dims"])
    order = list(range(len(state.axes)))
    one, other = (state.index(at) for at in ((given["dim0"], given["dim1"]) if "dim0" in given else (0, -1)))
    order[one], order[other] = other, one
    return state.permuted(order)


def _unsqueezed(call: Call) -> State:
    state = call.state()
    at = call.given["dim"] % len(call.shape)
    return State((*state.axes[:at], ((1, NOWHERE),), *state.axes[at:]), state.fields)


def _squeezed(call: Call) -> State:
    """Axes of size 1 taken away."""
    state, dims = call.state(), call.given.get("dim")
    ones = [at for at, size in enumerate(state.shape) if size == 1]
    kept = ones if dims is None else [state.index(at) for at in per_axis(dims, 1)]
    for at in sorted(set(ones) & set(kept), reverse=True):
        state = state.selected(at, 0)
    return state


def _selected(call: Call) -> State:
    state = call.state()
    return state.selected(state.index(call.given["dim"]), call.given["index"])


def _viewed(call: Call) -> State:
    return call.state().viewed(call.shape)


def _expanded(call: Call) -> State:
    return call.state().widened(call.shape)


def _same(call: Call) -> State:
    return call.state()


_REDUCTIONS = ("mean", "sum", "amax", "amin", "max", "min", "var", "linalg_vector_norm", "logsumexp")
_BATCH_NORMS = ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")

RULES: Mapping[str, Callable[[Call], State]] = {
    **WINDOW_RULES,
    **dict.fromkeys(("aten::channel_shuffle", "aten::native_channel_shuffle"), _same),
    "aten::slice": _slice,
    "aten::select": _selected,
    **dict.fromkeys(("aten::split", "aten::split_with_sizes", "aten::unbind", "aten::glu"), _split),
    **dict.fromkeys(("aten::cat", "aten::stack"), _joined),
    **dict.fromkeys(("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"), _product),
    **{f"aten::_scaled_dot_product_{kind}": _attention for kind in ("flash_attention_for_cpu", "attention_math")},
    **{f"aten::{name}": _reduction for name in _REDUCTIONS},
    **dict.fromkeys(("aten::_softmax", "aten::_log_softmax"), _softmax),
    "aten::native_layer_norm": _layer_norm,
    "aten::native_group_norm": _group_norm,
    **{f"aten::{name}": _batch_norm for name in _BATCH_NORMS},
    **dict.fromkeys(("aten::permute", "aten::transpose", "aten::t"), _permuted),
    **dict.fromkeys(("aten::view", "aten::_unsafe_view", "aten::reshape"), _viewed),
    "aten::unsqueeze": _unsqueezed,
    "aten::squeeze": _squeezed,
    "aten::expand": _expanded,
}
"""What each operator does; all that is not here and not element by element is not followed."""

ELEMENTWISE = frozenset(
    f"aten::{name}"
    for name in (
        "_prelu_kernel", "hardswish", "hardswish_", "clone", "_to_copy", "detach", "alias", "lift_fresh",
        "native_dropout",
    )
)  # fmt: skip
"""Operators that look at one element at a time without torch's tag that says so."""
