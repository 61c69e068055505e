"""The engines: one function each, from a problem and its numbers to a call that can be timed.

torch and miniconv are handed the weight on every call, so whatever they do to it is inside the time. onnxruntime and
OpenVINO are handed it once, as a constant of a model with one convolution, and prepare it beforehand: that is how they
are used. The input lies ready in the layout that the engine's name says; the output stays in the engine's own memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.layers import Operands
from miniconv import ConvProblem

Array = npt.NDArray[Any]


class Prepared(NamedTuple):
    """A convolution that is ready to run: ``run()`` is timed, ``result()`` fetches what it computed as an array."""

    run: Callable[[], Any]
    result: Callable[[], Array]


class Engine(NamedTuple):
    """One way of computing a convolution.

    Attributes:
        prepare: (problem, operands, threads) to ``Prepared``.
        packages: what must be installed; the first one's version is reported.
        foreign: it has threads of its own that may spin, and so spoil other engines in the same process.
        dtypes: what it computes.
    """

    prepare: Callable[[ConvProblem, Operands, int], Prepared]
    packages: tuple[str, ...]
    foreign: bool = False
    dtypes: tuple[str, ...] = ("float32", "float64")

    @property
    def version(self) -> str | None:
        """Its version, or None if something is not installed."""
        try:
            versions = [metadata.version(package) for package in self.packages]
        except metadata.PackageNotFoundError:
            return None
        return versions[0]


def _options(problem: ConvProblem) -> dict[str, Any]:
    """The arguments of ``conv2d`` after the operands; the workloads pad both sides of an axis alike."""
    padding = tuple(low for low, _ in problem.padding)
    return {"stride": problem.stride, "padding": padding, "dilation": problem.dilation, "groups": problem.groups}


def _on_tensors(conv2d: Callable[..., Any], problem: ConvProblem, operands: Operands, layout: str) -> Prepared:
    import torch

    memory_format = getattr(torch, layout)
    input, weight = (torch.from_numpy(x).contiguous(memory_format=memory_format) for x in operands)
    options = _options(problem)

    def run() -> Any:
        return conv2d(input, weight, None, **options)

    return Prepared(run, lambda: run().numpy())


def _torch(layout: str) -> Callable[[ConvProblem, Operands, int], Prepared]:
    def prepare(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
        import torch

        return _on_tensors(torch.nn.functional.conv2d, problem, operands, layout)

    return prepare


def _miniconv(layout: str) -> Callable[[ConvProblem, Operands, int], Prepared]:
    def prepare(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
        import miniconv.functional

        return _on_tensors(miniconv.functional.conv2d, problem, operands, layout)

    return prepare


def _miniconv_direct(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
    import miniconv
    import miniconv.functional

    prepared = _on_tensors(miniconv.functional.conv2d, problem, operands, "contiguous_format")

    def plain(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with miniconv.config(reproducible=True):
                return call()

        return run

    return Prepared(*map(plain, prepared))


def _miniconv_numpy(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
    import miniconv.functional

    options = _options(problem)

    def run() -> Array:
        return np.asarray(miniconv.functional.conv2d(*operands, None, **options))

    return Prepared(run, run)


def _onnxruntime(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    pads = [low for low, _ in problem.padding] + [high for _, high in problem.padding]
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        strides=problem.stride,
        pads=pads,
        dilations=problem.dilation,
        group=problem.groups,
    )
    graph = helper.make_graph(
        [node],
        "one convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, problem.input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, problem.output_shape)],
        [numpy_helper.from_array(operands.weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(operands.input))
    binding.bind_output("y")

    def result() -> Array:
        session.run_with_iobinding(binding)
        return np.asarray(binding.copy_outputs_to_cpu()[0])

    return Prepared(lambda: session.run_with_iobinding(binding), result)


def _openvino(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
    import openvino
    from openvino import opset13 as ops

    x = ops.parameter(problem.input_shape, dtype=np.float32)
    low, high = zip(*problem.padding)
    arguments = (list(problem.stride), list(low), list(high), list(problem.dilation))
    if problem.groups == 1:
        y = ops.convolution(x, ops.constant(operands.weight), *arguments)
    else:
        grouped = operands.weight.reshape(problem.groups, -1, *operands.weight.shape[1:])
        y = ops.group_convolution(x, ops.constant(grouped), *arguments)
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # where the processor has bfloat16, it would take that
    }
    request = openvino.Core().compile_model(openvino.Model([y], [x]), "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(operands.input, shared_memory=True))

    def result() -> Array:
        request.infer()
        return np.array(request.get_output_tensor().data)

    return Prepared(request.infer, result)


def _jax(problem: ConvProblem, operands: Operands, threads: int) -> Prepared:
    # read when jax starts its CPU client, once a process
    os.environ["PJRT_NPROC"] = os.environ["NPROC"] = str(threads)
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", problem.dtype == "float64")

    def conv(input: Any, weight: Any) -> Any:
        return jax.lax.conv_general_dilated(
            input,
            weight,
            problem.stride,
            problem.padding,
            rhs_dilation=problem.dilation,
            feature_group_count=problem.groups,
        )

    compiled = jax.jit(conv)
    input, weight = map(jax.numpy.asarray, operands)

    def run() -> Any:
        return compiled(input, weight).block_until_ready()

    return Prepared(run, lambda: np.asarray(run()))


ENGINES = {
    "miniconv": Engine(_miniconv("contiguous_format"), ("miniconv", "torch")),
    "torch": Engine(_torch("contiguous_format"), ("torch",)),
    "torch_channels_last": Engine(_torch("channels_last"), ("torch",)),
    "miniconv_channels_last": Engine(_miniconv("channels_last"), ("miniconv", "torch")),
    "miniconv_direct": Engine(_miniconv_direct, ("miniconv", "torch")),
    "miniconv_numpy": Engine(_miniconv_numpy, ("miniconv",)),
    "onnxruntime": Engine(_onnxruntime, ("onnxruntime", "onnx"), foreign=True, dtypes=("float32",)),
    "openvino": Engine(_openvino, ("openvino",), foreign=True, dtypes=("float32",)),
    "jax": Engine(_jax, ("jax",), foreign=True),
}
"""By the names that ``--engines`` takes."""

REFERENCE = "torch"
"""What every ratio is to."""


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """torch and NumPy's BLAS with so many threads; the foreign engines are told when they are prepared."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with threadpool_limits(threads):
            yield
    finally:
        torch.set_num_threads(before)
