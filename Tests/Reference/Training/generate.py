"""Writes steps.json: the losses of ten AdamW steps that PyTorch takes on some of the fixtures' models.

Versions: torch 2.13.0, transformers 5.23 (../requirements.txt). One thread, float32, no dropout; the gradients' norm
is clipped to 1; weight decay applies to matrices and tables.
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
here = Path(__file__).parent
fixtures = here.parent / "Fixtures"
cases = []
for name in ("gpt2-plain", "gpt2-untied-head", "llama-llama3-rotary", "qwen2-window-off"):
    torch.manual_seed(5)
    model = AutoModelForCausalLM.from_pretrained(fixtures / name, dtype=torch.float32, attn_implementation="eager")
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    vocabulary = model.config.vocab_size
    batches = torch.randint(0, vocabulary, (10, 3, 17)).tolist()
    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
        lr=1e-3, betas=(0.9, 0.95), eps=1e-8,
    )
    losses = []
    for rows in batches:
        ids = torch.tensor(rows)
        logits = model(input_ids=ids[:, :-1], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, vocabulary), ids[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    cases.append({"model": name, "batches": batches, "losses": losses})
text = json.dumps({"torch": torch.__version__, "learning_rate": 1e-3, "cases": cases})
(here / "steps.json").write_text(text + "\n")
