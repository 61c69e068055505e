"""What a picture of receptive fields says, in both languages."""

from __future__ import annotations

__all__ = ["TEXTS"]

TEXTS = {
    "en": {
        "title": "receptive fields on the input {size}",
        "layer": "{name} at {at}: field {field}, stride {stride}, centre {centre}",
        "outside": "a frame that leaves the picture lies in the padding",
    },
    "zh": {
        "title": "输入 {size} 上的感受野",
        "layer": "{name} 在 {at}：感受野 {field}，步幅 {stride}，中心 {centre}",
        "outside": "超出图像的边框位于填充区",
    },
}
"""What is written, in both languages."""
