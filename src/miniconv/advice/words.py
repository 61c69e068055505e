"""What a note says, in both languages: the one place of all its texts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from miniconv.language import Texts, said_of

__all__ = ["TEXTS", "said", "written"]

TEXTS: Texts = {
    # what helps
    "one": {"en": "This makes it legal: {change}", "zh": "这样改即可:{change}"},
    "several": {"en": "Each of these alone makes it legal:", "zh": "以下任意一项改动即可:"},
    "together": {"en": "These together make it legal: {change}", "zh": "以下改动需同时进行:{change}"},
    "shape": {"en": "{operand} of shape {shape}", "zh": "形状为 {shape} 的 {operand}"},
    # sizes
    "window": {
        "en": "Axis {axis}: input {size} + padding {low} + {high} = {padded}, but the kernel spans ({kernel} - 1) * "
        "{dilation} + 1 = {extent}, and {extent} > {padded}.",
        "zh": "{axis} 轴:输入 {size} + 填充 {low} + {high} = {padded},而卷积核的跨度为 ({kernel} - 1) * {dilation} "
        "+ 1 = {extent},{extent} > {padded}。",
    },
    "output too small": {
        "en": "Axis {axis}: ({size} - 1) * {stride} - {low} - {high} + ({kernel} - 1) * {dilation} + {extra} + 1 = "
        "{output} output cells, but there must be at least {least}.",
        "zh": "{axis} 轴:输出大小为 ({size} - 1) * {stride} - {low} - {high} + ({kernel} - 1) * {dilation} + {extra} "
        "+ 1 = {output},至少应为 {least}。",
    },
    "output_padding": {
        "en": "Axis {axis}: output_padding {extra} must be below the stride {stride} or the dilation {dilation}.",
        "zh": "{axis} 轴:output_padding 为 {extra},必须小于步幅 {stride} 或空洞 {dilation}。",
    },
    "empty input": {
        "en": "Axis {axis} of the input {input} has no cells: something before has left nothing of it.",
        "zh": "输入 {input} 的 {axis} 轴没有元素:前面的某一步已经把它减到零了。",
    },
    "empty kernel": {
        "en": "Axis {axis} of the kernel has no cells: weight {weight}.",
        "zh": "卷积核的 {axis} 轴没有元素:weight 的形状为 {weight}。",
    },
    # channels and groups
    "channels": {
        "en": "weight {weight} with groups={groups} reads {second} * {groups} = {expected} input channels, but the "
        "input {input}, read as {meant}, has {got}.",
        "zh": "weight {weight} 在 groups={groups} 时读取 {second} * {groups} = {expected} 个输入通道,而输入 {input} 按 "
        "{meant} 解读,有 {got} 个通道。",
    },
    "channels transposed": {
        "en": "A transposed convolution's weight begins with its input channels: {weight} has {expected}, but the "
        "input {input}, read as {meant}, has {got}.",
        "zh": "转置卷积的 weight 第一维是输入通道数:{weight} 为 {expected},而输入 {input} 按 {meant} 解读,有 {got} "
        "个通道。",
    },
    "groups": {
        "en": "groups says into how many independent parts the channels are split: at least 1, but it is {groups}.",
        "zh": "groups 表示通道分成多少个独立的分组,至少为 1,这里是 {groups}。",
    },
    "groups too many": {
        "en": "Each of {groups} groups needs a share of the first axis of weight {weight}, but that is {got}.",
        "zh": "{groups} 个分组要均分 weight {weight} 的第一维,而它只有 {got}。",
    },
    "not divisible": {
        "en": "{name} {count} cannot be split into {groups} equal groups: {count} = {groups} * {quotient} + {rest}.",
        "zh": "{name} 为 {count},无法均分为 {groups} 个分组:{count} = {groups} * {quotient} + {rest}。",
    },
    "bias": {
        "en": "There is one bias for each output channel: shape ({channels},), but it has shape {shape}.",
        "zh": "每个输出通道有一个偏置:形状应为 ({channels},),这里是 {shape}。",
    },
    # axes
    "input axes": {
        "en": "{op} takes an input {batched}, or {unbatched} without a batch; {input} has {got} axes.",
        "zh": "{op} 的输入是 {batched},不带批次维时是 {unbatched};{input} 有 {got} 维。",
    },
    "weight axes": {
        "en": "{op} takes a weight of {needed} axes, {meant}; {weight} has {got}.",
        "zh": "{op} 的 weight 应有 {needed} 维:{meant};{weight} 有 {got} 维。",
    },
    "values": {
        "en": "{name} has {count} values, but {op} has {dims} spatial axes: it takes one integer, or {dims}.",
        "zh": "{name} 有 {count} 个值,而 {op} 有 {dims} 个空间维:应给一个整数,或 {dims} 个。",
    },
    "least": {
        "en": "Axis {axis}: {name} is {value}, but at least {least}.",
        "zh": "{axis} 轴:{name} 为 {value},至少应为 {least}。",
    },
    "sides": {
        "en": "Padding by sides is ((low, high), ...): one pair for each of the {dims} spatial axes.",
        "zh": "按边填充写作 ((low, high), ...):{dims} 个空间维各一对。",
    },
    "too large": {
        "en": "{name} is {value}, but at most {most}.",
        "zh": "{name} 为 {value},最大为 {most}。",
    },
    # types
    "type": {
        "en": "{name} is {value}, of type {kind}; it takes an integer{list}.",
        "zh": "{name} 为 {value},类型是 {kind};应为整数{list}。",
    },
    "or a list": {"en": ", or one for each axis", "zh": ",或每个轴一个整数"},
    "float": {
        "en": "{name} is {value}, a float; // divides into an integer, where / does not.",
        "zh": "{name} 为 {value},是浮点数;/ 的结果是浮点数,// 才得到整数。",
    },
    "kinds": {
        "en": "{name} is of type {kind}; operands are all tensors, or all NumPy arrays.",
        "zh": "{name} 的类型是 {kind};各操作数必须都是张量,或都是 NumPy 数组。",
    },
    "dtypes": {
        "en": "{given}: all have one dtype, and none is converted by itself.",
        "zh": "{given}:各操作数的 dtype 必须相同,不会自动转换。",
    },
    "is": {"en": "{name} is {dtype}", "zh": "{name} 为 {dtype}"},
    "and": {"en": ", ", "zh": ","},
    "dtype": {"en": "Nothing is convolved in {dtype}.", "zh": "不支持 {dtype} 类型的卷积。"},
    # padding as a word, and its modes
    "word": {
        "en": "padding takes integers, 'valid' (none) or 'same' (the output is as large as the input), but not {word}.",
        "zh": "padding 可取整数、'valid'(不填充)或 'same'(输出与输入一样大),不能是 {word}。",
    },
    "same": {
        "en": "'same' makes the output as large as the input, and stride {stride} makes it smaller.",
        "zh": "'same' 要求输出与输入一样大,而步幅 {stride} 会使输出变小。",
    },
    "padding_mode": {
        "en": "padding_mode is one of {modes}, but got {mode}.",
        "zh": "padding_mode 应为 {modes} 之一,这里是 {mode}。",
    },
    "border": {
        "en": "Axis {axis}: {mode} copies cells of the input, at most {most} on each side of {size}; padding is {pad}.",
        "zh": "{axis} 轴:{mode} 从输入中复制元素,大小为 {size} 的轴每侧最多填充 {most} 个;这里填充 {pad}。",
    },
    "output_size": {
        "en": "Axis {axis}: a stride of {stride} leaves the sizes {smallest} to {largest} to choose from; {wanted} is "
        "none of them.",
        "zh": "{axis} 轴:步幅为 {stride} 时输出大小只能取 {smallest} 到 {largest},不能是 {wanted}。",
    },
}
"""Every text by its name, in each language; the placeholders of the languages agree."""


said = partial(said_of, TEXTS)
"""One text by its name, in one language, its placeholders filled by what is named."""


def written(name: str, values: Mapping[str, Any], language: str) -> str:
    """One fact in one language; lists and dtypes are put into words here."""
    filled = dict(values)
    if name == "type":
        filled["list"] = said(values["list"], language) if values["list"] else ""
    if name == "dtypes":
        listed = [said("is", language, name=operand, dtype=dtype) for operand, dtype in values["given"].items()]
        filled["given"] = said("and", language).join(listed)
    return said(name, language, **filled)
