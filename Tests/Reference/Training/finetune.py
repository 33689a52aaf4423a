"""Writes what PEFT and transformers make of small adapters and conversations, for TrainingTests and CommandTests.

adapters/NAME: an adapter of random matrices for the fixture NAME, as PEFT saves it, and in gradients.safetensors the
gradients of its matrices; adapters.json: the loss and some logits of each. masks.json: the tokens of conversations and
which of them are the model's own.

Versions: torch 2.13.0, transformers 5.23 (../requirements.txt), peft 0.21.2. One thread, float32.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
here = Path(__file__).parent
fixtures = here.parent / "Fixtures"
chatml = (
    "{%- for message in messages -%}{{- '<|im_start|>' + message['role'] + '\n' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|im_end|>' -}}{%- endgeneration -%}{{- '\n' -}}"
    "{%- else -%}{{- message['content'] + '<|im_end|>\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"
)
kinds = {
    "gpt2-plain": dict(target_modules=["c_attn", "c_proj", "c_fc"], r=2, lora_alpha=4),
    "llama-linear": dict(
        target_modules=["q_proj", "v_proj", "down_proj"], r=3, lora_alpha=5, use_rslora=True, alpha_pattern={"v_proj": 2}
    ),
    "gpt_neox-parallel": dict(target_modules="all-linear", r=2, lora_alpha=6),
    "falcon-new-two-norms": dict(target_modules=["query_key_value", "dense"], r=2, lora_alpha=2),
    "phi3-partial-window": dict(target_modules=["qkv_proj", "gate_up_proj"], r=2, lora_alpha=3),
    "bloom-seven-heads": dict(target_modules=["query_key_value"], r=2, lora_alpha=4, rank_pattern={"h.0.self_attention.query_key_value": 3}),
}


def adapters():
    cases = []
    for name, settings in kinds.items():
        torch.manual_seed(11)
        base = AutoModelForCausalLM.from_pretrained(fixtures / name, dtype=torch.float32, attn_implementation="eager")
        for module in base.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", **settings))
        model.train()
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.2)
        vocabulary = base.config.vocab_size
        rows = [torch.randint(3, vocabulary, (count,)).tolist() for count in (9, 6)]
        count = sum(len(row) - 1 for row in rows)
        loss = 0.0
        ends = []
        for row in rows:
            logits = model(input_ids=torch.tensor([row[:-1]]), use_cache=False).logits[0]
            part = torch.nn.functional.cross_entropy(logits, torch.tensor(row[1:]), reduction="sum") / count
            part.backward()
            loss += part.item()
            ends.append(logits[-1].tolist())
        folder = here / "adapters" / name
        shutil.rmtree(folder, ignore_errors=True)
        model.peft_config["default"].base_model_name_or_path = name
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        gradients = {
            key.replace(".default", ""): parameter.grad.contiguous()
            for key, parameter in model.named_parameters()
            if parameter.requires_grad
        }
        save_file(gradients, folder / "gradients.safetensors")
        cases.append({"model": name, "rows": rows, "loss": loss, "last_logits": ends})
    (here / "adapters.json").write_text(json.dumps({"torch": torch.__version__, "cases": cases}) + "\n")


def masks():
    tokenizer = AutoTokenizer.from_pretrained(here.parent / "Tokenizers" / "qwen2")
    conversations = [
        [("user", "Hi"), ("assistant", "Hello there!")],
        [("system", "Answer briefly."), ("user", "1 + 1?"), ("assistant", "2"), ("user", "and\n\n2+2 ?"), ("assistant", "4\n")],
        [("user", "人工智能是什么"), ("assistant", "计算机科学的一个分支。")],
        [("assistant", "  leading spaces"), ("user", "x"), ("assistant", "y z")],
    ]
    cases = []
    for conversation in conversations:
        messages = [{"role": role, "content": content} for role, content in conversation]
        result = tokenizer.apply_chat_template(
            messages, chat_template=chatml, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        cases.append({"messages": messages, "ids": result["input_ids"], "mask": result["assistant_masks"]})
    (here / "masks.json").write_text(
        json.dumps({"tokenizer": "qwen2", "template": chatml, "cases": cases}, ensure_ascii=False) + "\n"
    )


adapters()
masks()
