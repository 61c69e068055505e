"""Blocks that networks are built of, with miniconv's own convolution and batch norm inside.

The first four are those of differentiable architecture search (Liu, Simonyan and Yang, "DARTS", ICLR 2019); the last
two those of residual networks (He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016).
No convolution here has a bias: the batch norm behind it takes the mean away, and its variance does not see it.
"""

from __future__ import annotations

import torch

from miniconv.nn.convolution import Conv2d
from miniconv.nn.normalisation import BatchNorm2d

__all__ = ["BasicBlock", "Bottleneck", "ConvBNReLU", "DilConv", "Identity", "SepConv"]

Size = int | tuple[int, int]
EPS = 1e-3
"""What the first three blocks add to the variance (torch's own default is 1e-5)."""


class ConvBNReLU(torch.nn.Module):
    """Convolution, batch norm, ReLU.

    Args:
        C_in: input channels.
        C_out: output channels.
        kernel_size, stride, padding: of the convolution, one integer or (height, width).
        affine: whether the batch norm learns a factor and an offset for each channel.

    Attributes:
        op: the Sequential of the three.

    Shape:
        (N, C_in, H_in, W_in) to (N, C_out, H_out, W_out), sizes as for ``Conv2d``.

    Cost:
        K_h * K_w * C_in * C_out parameters in the convolution, and as many multiply-adds an output position.

    >>> sum(p.numel() for p in ConvBNReLU(3, 8, 3, 1, 1, affine=False).parameters())
    216
    """

    def __init__(
        self, C_in: int, C_out: int, kernel_size: Size, stride: Size, padding: Size, affine: bool = True
    ) -> None:
        super().__init__()
        self.op = torch.nn.Sequential(
            Conv2d(C_in, C_out, kernel_size, stride=stride, padding=padding, bias=False),
            BatchNorm2d(C_out, eps=EPS, affine=affine),
            torch.nn.ReLU(inplace=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output for ``x``."""
        out: torch.Tensor = self.op(x)
        return out


class DilConv(torch.nn.Module):
    """ReLU, a dilated depthwise convolution, a 1x1 convolution, batch norm.

    Args:
        C_in: input channels.
        C_out: output channels.
        kernel_size, stride, padding, dilation: of the depthwise convolution, one integer or (height, width).
        affine: whether the batch norm learns a factor and an offset for each channel.

    Attributes:
        op: the Sequential of the four.

    Shape:
        (N, C_in, H_in, W_in) to (N, C_out, H_out, W_out), sizes as for ``Conv2d``.

    Cost:
        K_h * K_w * C_in + C_in * C_out parameters in the convolutions, where an ordinary one has
        K_h * K_w * C_in * C_out; dilation adds none.

    >>> sum(p.numel() for p in DilConv(16, 32, 3, 1, 2, 2, affine=False).parameters())
    656
    """

    def __init__(
        self,
        C_in: int,
        C_out: int,
        kernel_size: Size,
        stride: Size,
        padding: Size,
        dilation: Size,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.op = torch.nn.Sequential(
            torch.nn.ReLU(inplace=False),
            Conv2d(C_in, C_in, kernel_size, stride, padding, dilation, groups=C_in, bias=False),
            Conv2d(C_in, C_out, kernel_size=1, padding=0, bias=False),
            BatchNorm2d(C_out, eps=EPS, affine=affine),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output for ``x``."""
        out: torch.Tensor = self.op(x)
        return out


class SepConv(DilConv):
    """Depthwise separable convolution: ReLU, a depthwise convolution, a 1x1 convolution, batch norm.

    ``DilConv`` without the dilation, which see for attributes, shape and cost.

    Args:
        C_in: input channels.
        C_out: output channels.
        kernel_size, stride, padding: of the depthwise convolution, one integer or (height, width).
        affine: whether the batch norm learns a factor and an offset for each channel.

    >>> sum(p.numel() for p in SepConv(16, 32, 3, 1, 1, affine=False).parameters())
    656
    """

    def __init__(
        self, C_in: int, C_out: int, kernel_size: Size, stride: Size, padding: Size, affine: bool = True
    ) -> None:
        super().__init__(C_in, C_out, kernel_size, stride, padding, 1, affine)


class Identity(torch.nn.Identity):
    """Returns its input: a shortcut. Arguments are accepted and ignored, as torch's does.

    >>> Identity()(7)
    7
    """


class BasicBlock(torch.nn.Module):
    r"""Two 3x3 convolutions with batch norm, and the input added to their result.

    .. math:: y = \text{relu}(F(x) + \text{shortcut}(x))

    The shortcut is the input itself where shapes agree, else a 1x1 convolution with the stride and a batch norm.
    Parameter names are torchvision's, so that weights cross over.

    Args:
        C_in: input channels.
        C_out: output channels.
        stride: of the first convolution; the first block of a stage has it.

    Attributes:
        expansion: output channels for each channel between the convolutions: 1.

    Shape:
        (N, C_in, H, W) to (N, C_out, ceil(H / stride), ceil(W / stride)).

    >>> BasicBlock(8, 16, stride=2)(torch.zeros(1, 8, 12, 10)).shape
    torch.Size([1, 16, 6, 5])
    """

    expansion = 1

    def __init__(self, C_in: int, C_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = Conv2d(C_in, C_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(C_out)
        self.conv2 = Conv2d(C_out, C_out, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(C_out)
        self.downsample = _shortcut(C_in, C_out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output for ``x``."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return torch.relu(out + self.downsample(x))


class Bottleneck(torch.nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, and the input added to their result.

    The first 1x1 narrows to C_mid channels, the last widens to 4 * C_mid, so that the 3x3 between them is cheap. The
    stride is on the 3x3, as in torchvision (the paper has it on the first 1x1). Shortcut and names as ``BasicBlock``'s.

    Args:
        C_in: input channels.
        C_mid: channels between the convolutions; the output has ``expansion`` times as many.
        stride: of the 3x3 convolution; the first block of a stage has it.

    Attributes:
        expansion: 4.

    Shape:
        (N, C_in, H, W) to (N, 4 * C_mid, ceil(H / stride), ceil(W / stride)).

    >>> Bottleneck(16, 8, stride=2)(torch.zeros(1, 16, 12, 10)).shape
    torch.Size([1, 32, 6, 5])
    """

    expansion = 4

    def __init__(self, C_in: int, C_mid: int, stride: int = 1) -> None:
        super().__init__()
        C_out = C_mid * self.expansion
        self.conv1 = Conv2d(C_in, C_mid, 1, bias=False)
        self.bn1 = BatchNorm2d(C_mid)
        self.conv2 = Conv2d(C_mid, C_mid, 3, stride=stride, padding=1, bias=False)
        self.bn2 = BatchNorm2d(C_mid)
        self.conv3 = Conv2d(C_mid, C_out, 1, bias=False)
        self.bn3 = BatchNorm2d(C_out)
        self.downsample = _shortcut(C_in, C_out, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output for ``x``."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return torch.relu(out + self.downsample(x))


def _shortcut(C_in: int, C_out: int, stride: int) -> torch.nn.Module:
    """The way past a block: nothing where shapes agree, else a 1x1 convolution that changes them."""
    if stride == 1 and C_in == C_out:
        return Identity()
    conv = Conv2d(C_in, C_out, 1, stride=stride, bias=False)
    return torch.nn.Sequential(conv, BatchNorm2d(C_out))
