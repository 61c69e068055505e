"""onnxruntime's convolutions: each call runs a model of a single node, Conv or ConvTranspose."""

import functools

import numpy as np
import onnxruntime
from onnx import TensorProto, helper


def per_axis(value, dims):
    """One number for each spatial axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def conv(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Input (N, C_in, ...), weight (C_out, C_in / groups, ...), bias (C_out,), all float32."""
    return run("Conv", input, weight, bias, groups, strides=stride, pads=padding, dilations=dilation)


def conv_transpose(input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Input (N, C_in, ...), weight (C_in, C_out / groups, ...), bias (C_out,), all float32."""
    numbers = {"strides": stride, "pads": padding, "dilations": dilation, "output_padding": output_padding}
    return run("ConvTranspose", input, weight, bias, groups, **numbers)


def run(node, input, weight, bias, groups, **numbers):
    """The result of one node; ``pads`` is told for both sides of every axis."""
    dims = weight.ndim - 2
    attributes = {name: per_axis(value, dims) for name, value in numbers.items()}
    attributes["pads"] *= 2
    operands = [input, weight] if bias is None else [input, weight, bias]
    loaded = session(node, dims, len(operands), groups, tuple(attributes.items()))
    return loaded.run(None, dict(zip("xwb", map(np.ascontiguousarray, operands))))[0]


@functools.lru_cache(maxsize=64)
def session(node, dims, operands, groups, attributes):
    """The model of one node, loaded."""
    names = list("xwb"[:operands])
    ranks = [dims + 2, dims + 2, 1]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank) for name, rank in zip(names, ranks)]
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * (dims + 2))
    graph = helper.make_graph(
        [helper.make_node(node, names, ["y"], group=groups, **dict(attributes))], "one node", infos, [result]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
