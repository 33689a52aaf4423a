"""Writes backward.txt: gradients that PyTorch computes, for the kernels of the backward pass.

Each line is a name and numbers as hexadecimal floats. Inputs come before the gradients that belong to them.
Versions: torch 2.13.0, transformers 5.23 (../requirements.txt). All in float64, rounded to float32 inputs first.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers.activations import ACT2CLS, ACT2FN

torch.manual_seed(6)
file = open(Path(__file__).with_name("backward.txt"), "w")


def line(name, values):
    values = values.detach().double().reshape(-1).tolist() if torch.is_tensor(values) else values
    file.write(" ".join([name, *(float(value).hex() for value in values)]) + "\n")


def draw(*shape):
    return torch.randn(*shape).double().requires_grad_()


# Activations: f′ at fixed points.
points = torch.cat([torch.linspace(-12, 12, 97) + 0.01, torch.randn(30), torch.tensor([-40.0, 40.0])]).double()
line("activation.x", points.float())
for name in sorted(ACT2CLS):
    if name not in ("prelu", "xielu"):
        x = points.float().double().requires_grad_()
        ACT2FN[name](x).sum().backward()
        line(f"activation.{name}", x.grad)

# Norms: (5, 37).
for name in ("layerNorm", "rootMeanSquare"):
    x, weight, bias, dy = draw(5, 37), draw(37), draw(37), draw(5, 37)
    if name == "layerNorm":
        y = F.layer_norm(x, (37,), weight, bias, 1e-5)
    else:
        y = x / (x.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt() * (weight + 1)
    y.backward(dy.detach())
    for part, tensor in (("x", x), ("weight", weight), ("bias", bias), ("dy", dy)):
        line(f"{name}.{part}", tensor)
    line(f"{name}.dx", x.grad)
    line(f"{name}.dweight", weight.grad)
    if bias.grad is not None:
        line(f"{name}.dbias", bias.grad)

# Attention: two sequences of 5 and 9 rows, four heads over two, six channels.
for name, cap, window, slopes in (
    ("plain", None, None, None),
    ("capped", 1.5, None, None),
    ("windowed", None, 3, None),
    ("biased", None, None, [0.5, 0.25, 0.125, 0.0625]),
    ("all", 2.0, 4, [0.5, 0.25, 0.125, 0.0625]),
):
    q, k, v, dy = draw(14, 4, 6), draw(14, 2, 6), draw(14, 2, 6), draw(14, 4, 6)
    outputs = []
    for start, end in ((0, 5), (5, 14)):
        keys = k[start:end].repeat_interleave(2, 1)
        values = v[start:end].repeat_interleave(2, 1)
        scores = torch.einsum("ihd,jhd->hij", q[start:end], keys) / math.sqrt(6)
        if cap:
            scores = cap * torch.tanh(scores / cap)
        place = torch.arange(end - start)
        if slopes:
            scores = scores + torch.tensor(slopes).double()[:, None, None] * place[None, None, :]
        hidden = place[None, :] > place[:, None]
        if window:
            hidden = hidden | (place[None, :] <= place[:, None] - window)
        weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
        outputs.append(torch.einsum("hij,jhd->ihd", weights, values))
    y = torch.cat(outputs)
    y.backward(dy.detach())
    for part, tensor in (("q", q), ("k", k), ("v", v), ("dy", dy), ("y", y)):
        line(f"attention.{name}.{part}", tensor)
    for part, tensor in (("dq", q), ("dk", k), ("dv", v)):
        line(f"attention.{name}.{part}", tensor.grad)

# Cross-entropy: six rows of 33 outcomes, one of them ignored.
targets = torch.tensor([3, 0, 32, -100, 7, 7])
for name, smoothing, cap in (("plain", 0, None), ("smoothed", 0.1, None), ("capped", 0.1, 2.0)):
    x = draw(6, 33)
    logits = cap * torch.tanh(x / cap) if cap else x
    loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    loss.backward()
    line(f"loss.{name}.x", x)
    line(f"loss.{name}.loss", [loss.item()])
    line(f"loss.{name}.dx", x.grad)

# AdamW in float32: ten steps with decay, gradients clipped to a norm of 1.
p = torch.nn.Parameter(torch.randn(37))
optimizer = torch.optim.AdamW([p], lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
line("adamw.start", p)
for step in range(10):
    p.grad = torch.randn(37) * 10 ** (step % 3 - 2)
    line(f"adamw.gradient.{step}", p.grad)
    line(f"adamw.norm.{step}", [torch.nn.utils.clip_grad_norm_([p], 1.0).item()])
    optimizer.step()
    line(f"adamw.after.{step}", p)
