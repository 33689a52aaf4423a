"""Writes activations.txt: the values of transformers' activation functions at fixed points.

The first line is `x` and the arguments, each further one a name of ACT2FN and the function's values, all as
hexadecimal floats. Versions: torch 2.13.0, transformers 5.23 (../requirements.txt). Functions with parameters
of their own (prelu, xielu) are left out.
"""

from pathlib import Path

import torch
from transformers.activations import ACT2CLS, ACT2FN

torch.manual_seed(20_26)
points = torch.cat([torch.linspace(-12, 12, 49), torch.randn(15), torch.tensor([-40.0, 40.0, 1e-6, -1e-6])])


def line(name, values):
    return " ".join([name, *(float(value).hex() for value in values)]) + "\n"


with open(Path(__file__).with_name("activations.txt"), "w") as file:
    file.write(line("x", points))
    for name in sorted(ACT2CLS):
        if name not in ("prelu", "xielu"):
            with torch.no_grad():
                file.write(line(name, ACT2FN[name](points)))
