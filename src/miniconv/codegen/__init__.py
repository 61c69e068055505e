"""The engine: convolution kernels that Python writes as LLVM IR."""
