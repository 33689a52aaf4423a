#!/usr/bin/env bash
# The bundled model from the raw texts: make.sh TEXTS OUT [INKSTONE], or make model DATA=TEXTS.
# Each step leaves its result in OUT and is passed over when that is there; training goes on where it was left.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: make.sh TEXTS OUT [INKSTONE]" >&2
  exit 2
fi
texts=${1%/} out=${2%/} inkstone=${3:-inkstone}
recipe=$(cd "$(dirname "$0")" && pwd)

# What the model card lists. A missing text would make another model, so nothing begins without all of them.
needed=(
  primer/primer-zh.txt primer/primer-en.txt
  "zh_ai/*.txt" zh_general/javaguide.txt "zh_questions/*.txt" zh_law/laws.txt "zh_classics/*.txt"
  en/tinystories_1000.json
)
missing=()
for name in "${needed[@]}"; do
  compgen -G "$texts/$name" >/dev/null || missing+=("$name")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "make.sh: $texts lacks ${missing[*]}; the model card says where these texts come from" >&2
  exit 2
fi
if ! command -v "$inkstone" >/dev/null; then
  echo "make.sh: $inkstone is no program; run make build, or give its path as the third argument" >&2
  exit 2
fi
if ! command -v python3 >/dev/null; then
  echo "make.sh: python3 mixes the texts and is not there; install it" >&2
  exit 2
fi

step() { # result, command...
  local result=$1
  shift
  if [ -e "$result" ]; then
    echo "make.sh: $result is there"
    return
  fi
  echo "make.sh: $result"
  rm -rf "$result.part"
  "$@" "$result.part"
  mv "$result.part" "$result"
}

mkdir -p "$out"
prepare() { "$recipe/prepare.sh" "$texts" "$1" "$inkstone"; }
mix() { python3 "$recipe/mix.py" "$out/documents" "$1"; }
learn_tokenizer() {
  "$inkstone" tokenizer train -q "$out/corpus.jsonl" --vocab-size 8192 --pattern qwen2 -o "$1"
}
pack() { "$inkstone" data pack -q "$out/corpus.jsonl" -m "$out/tokenizer" -o "$1"; }
held_out() {
  # The documents that pack kept back, each once.
  "$inkstone" detokenize -m "$out/tokenizer" --tokens "$out/packed/validation.tokens" > "$out/validation.jsonl"
  "$inkstone" data dedup -q "$out/validation.jsonl" --method exact -o "$1"
  rm "$out/validation.jsonl"
}

step "$out/documents" prepare
step "$out/corpus.jsonl" mix
step "$out/tokenizer" learn_tokenizer
step "$out/packed" pack
step "$out/held-out.jsonl" held_out

if [ -e "$out/pretrain/checkpoints" ]; then
  "$inkstone" train --out "$out/pretrain" --resume
else
  "$inkstone" train -c "$recipe/train.yaml" --tokenizer "$out/tokenizer" \
    --train "$out/packed/train.tokens" --valid "$out/packed/validation.tokens" --out "$out/pretrain"
fi
"$inkstone" convert -m "$out/pretrain/best" -o "$out/inkstone-zh" --outtype bf16
"$inkstone" eval -m "$out/inkstone-zh" --text held-out="$out/held-out.jsonl"
echo "make.sh: $out/inkstone-zh"
