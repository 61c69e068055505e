"""What drawings say, in both languages."""

from __future__ import annotations

__all__ = ["TEXTS", "TIMES"]

TIMES = "\N{MULTIPLICATION SIGN}"
"""What stands between two factors."""

TEXTS = {
    "en": {
        "bias": "bias",
        "products": "products",
        "sum": "sum",
        "added to": "adds to",
        "feeds": "{name} = {value} feeds {count} outputs",
        "border": "dashed: the border, {mode}",
        "zeros": "zeros",
        "reflect": "reflected",
        "replicate": "replicated",
        "circular": "circular",
        "cut": "dashed: what the padding cuts off",
        "stands": "dot: the first tap of a window stands here",
        "lands": "dot: the first tap of an input's kernel lands here",
        "unreached": "crossed out: no window reaches it",
        "greys": "black: the least number of the input, or of a channel of the output; white: the greatest",
        "wraps": "wrapped to {dtype}",
        "title": "{of} of {problem}",
    },
    "zh": {
        "bias": "偏置",
        "products": "乘积",
        "sum": "和",
        "added to": "加到",
        "feeds": "{name} = {value} 参与 {count} 个输出",
        "border": "虚线：填充区，{mode}",
        "zeros": "零填充",
        "reflect": "反射填充",
        "replicate": "复制边缘填充",
        "circular": "循环填充",
        "cut": "虚线：被 padding 裁掉的部分",
        "stands": "圆点：窗口的第一个抽头在此",
        "lands": "圆点：一个输入的卷积核的第一个抽头落在此",
        "unreached": "打叉：没有窗口到达",
        "greys": "黑：输入（或输出的一个通道）中最小的数，白：最大的数",
        "wraps": "按 {dtype} 回绕",
        "title": "{problem} 的 {of}",
    },
}
"""Every text by its language and its key."""
