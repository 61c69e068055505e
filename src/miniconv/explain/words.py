"""What a trace and its command say, in both languages: the one place of all their texts."""

from __future__ import annotations

from functools import partial

from miniconv.language import Texts, said_of

__all__ = ["TEXTS", "said"]

TEXTS: Texts = {
    # the formula
    "sum": {"en": "{left} = {bias}sum over {over} of {product}", "zh": "{left} = {bias}对 {over} 求和:{product}"},
    "where": {"en": "where {relation}", "zh": "其中 {relation}"},
    "and": {"en": ", ", "zh": "、"},
    "ic in group": {"en": "ic in oc's group", "zh": "ic(oc 所在分组内)"},
    "oc in group": {"en": "oc in ic's group", "zh": "oc(ic 所在分组内)"},
    # the table
    "one term": {"en": "{element}: 1 term", "zh": "{element}:共 1 项"},
    "terms": {"en": "{element}: {count} terms", "zh": "{element}:共 {count} 项"},
    "value": {"en": "value", "zh": "值"},
    "product": {"en": "product", "zh": "乘积"},
    "running sum": {"en": "running sum", "zh": "累加和"},
    "more rows": {"en": "... {count} more ...", "zh": "…… 省略 {count} 项 ……"},
    "dropped": {"en": "left out, to fit the width: {columns}", "zh": "为适应终端宽度,省略了以下列:{columns}"},
    "zeros": {"en": "{mark}: a zero of the border", "zh": "{mark}:填充区的零"},
    "border": {"en": "{mark}: in the border, {mode}", "zh": "{mark}:位于填充区,填充模式 {mode}"},
    # the sum
    "more products": {"en": "... ({count} more)", "zh": "……(另有 {count} 项)"},
    "bias": {"en": "{value} (bias)", "zh": "{value}(偏置)"},
    "rounded": {"en": "{sum} in {dtype}; exactly {exact}", "zh": "{sum}({dtype});精确值为 {exact}"},
    # the command
    "shapes": {
        "en": "input {input}, weight {weight}, output {output}",
        "zh": "输入 input {input},卷积核 weight {weight},输出 output {output}",
    },
    "size": {"en": "output size: {sizes}", "zh": "输出大小:{sizes}"},
    "drawn": {
        "en": "the numbers are made up, the same every time; --npz FILE takes yours",
        "zh": "这里的数字是生成的(每次都相同);用 --npz FILE 换成你自己的数据",
    },
    "at the border": {
        "en": "shown: the first element whose window meets the border; --at {axes} for another",
        "zh": "显示的是窗口最先碰到边界的那个元素;用 --at {axes} 指定其他元素",
    },
    "in the middle": {
        "en": "shown: the element in the middle; --at {axes} for another",
        "zh": "显示的是位于中间的元素;用 --at {axes} 指定其他元素",
    },
    "shortened": {
        "en": "{shown} of {count} terms are shown; --all shows every one",
        "zh": "共 {count} 项,只显示了 {shown} 项;加 --all 显示全部",
    },
    "wrote": {"en": "wrote {path} ({size} kB): open it in a browser", "zh": "已写入 {path}({size} kB),请用浏览器打开"},
}
"""Every text by its name, in each language; the placeholders of the languages agree."""


said = partial(said_of, TEXTS)
"""One text by its name, in one language, its placeholders filled by what is named."""
