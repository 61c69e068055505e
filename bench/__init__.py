"""How fast, how exact and how large: miniconv beside torch and other engines, on the layers of published networks.

Not part of the package: run from the top of the source, after ``pip install '.[bench]'``.

| command | what it measures |
|---|---|
| ``python -m bench`` | every layer of ``workloads.json``: time, GFLOP/s, share of the machine's peak, ratio to torch |
| ``python -m bench.calls`` | what one call costs beyond its arithmetic |
| ``python -m bench.plans`` | what a new shape costs: its problem, its plan, its table |
| ``python -m bench.networks`` | whole networks under ``miniconv.patch()`` |
| ``python -m bench.growth`` | how time grows with the sizes; workspaces; memory; the first calls of a process |
| ``python -m bench.accuracy`` | the error of miniconv and of torch against float64 |
| ``python -m bench.false_alarms`` | whether the parity suite calls right convolutions wrong |
| ``python -m bench.mutations`` | which case of the parity suite catches each convolution that is wrong on purpose |
| ``python -m bench.coverage`` | what the parity suite reaches of torch's backends, pairs of values and refusals |

Reading order: ``layers``, ``engines``, ``timing``, ``measure``, ``report``; on the side ``peak``, ``bandwidth`` and
``machine``.
"""
