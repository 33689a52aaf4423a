#!/usr/bin/env bash
# The bundled model from the raw texts: make.sh TEXTS OUT [INKSTONE [CHAT]], or make model DATA=TEXTS.
# With CHAT, a folder of dialogues and tasks, the adapter for conversations too. Each step leaves its result in OUT and is passed over when that is there; training goes on where it was left.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: make.sh TEXTS OUT [INKSTONE [CHAT]]" >&2
  exit 2
fi
texts=${1%/} out=${2%/} inkstone=${3:-inkstone} chat=${4:-}
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
if [ -n "$chat" ]; then
  for name in chatterbot_chinese.jsonl identity.json kdconv.jsonl csl_title.jsonl; do
    [ -e "$chat/$name" ] || missing+=("$chat/$name")
  done
fi
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
  # Each document once, and of the larger texts a part: a vocabulary for what the model is for.
  local documents=$out/documents
  {
    cat "$documents"/{primer,ai,java,questions,stories}.jsonl
    awk 'NR % 4 == 0' "$documents/law.jsonl"
    awk 'NR % 2 == 0' "$documents/classics.jsonl"
  } > "$out/vocabulary.jsonl"
  "$inkstone" tokenizer train -q "$out/vocabulary.jsonl" --vocab-size 8192 --pattern qwen2 \
    --special-tokens "<|endoftext|>" "<|im_start|>" "<|im_end|>" -o "$1"
  rm "$out/vocabulary.jsonl"
}
pack() { "$inkstone" data pack -q "$out/corpus.jsonl" -m "$out/tokenizer" --validation-fraction 0.02 -o "$1"; }
anneal() { python3 "$recipe/anneal.py" "$out/documents" "$out/held-out.jsonl" "$1"; }
pack_all() { "$inkstone" data pack -q "$out/anneal.jsonl" -m "$out/tokenizer" --validation-fraction 0 -o "$1"; }
unpack() { # train or validation, result: the documents that pack put there, each once
  "$inkstone" detokenize -m "$out/tokenizer" --tokens "$out/packed/$1.tokens" > "$out/$1.documents.jsonl"
  "$inkstone" data dedup -q "$out/$1.documents.jsonl" --method exact -o "$2"
  rm "$out/$1.documents.jsonl"
}

step "$out/documents" prepare
step "$out/corpus.jsonl" mix
step "$out/tokenizer" learn_tokenizer
step "$out/packed" pack
step "$out/train.jsonl" unpack train
step "$out/held-out.jsonl" unpack validation
step "$out/anneal.jsonl" anneal
step "$out/annealed" pack_all

run() { # train or finetune, run, its settings...
  local command=$1 folder=$2
  shift 2
  if [ -e "$folder/model" ]; then
    echo "make.sh: $folder is there"
  elif [ -e "$folder/checkpoints" ]; then
    "$inkstone" "$command" --out "$folder" --resume
  else
    "$inkstone" "$command" --out "$folder" "$@"
  fi
}
tokens=(--train "$out/packed/train.tokens" --valid "$out/packed/validation.tokens")
run train "$out/pretrain" -c "$recipe/train.yaml" --tokenizer "$out/tokenizer" "${tokens[@]}"
run train "$out/further" -c "$recipe/further.yaml" --init-from "$out/pretrain/model" "${tokens[@]}"
run train "$out/anneal" -c "$recipe/anneal.yaml" --init-from "$out/further/model" \
  --train "$out/annealed/train.tokens" --valid "$out/packed/validation.tokens"
step "$out/inkstone-zh" "$inkstone" convert -m "$out/anneal/model" --outtype bf16 -o

if [ -n "$chat" ]; then
  python3 "$recipe/conversations.py" "$chat" "$texts/primer/primer-zh.txt" "$out/conversations.jsonl"
  run finetune "$out/chat" -c "$recipe/chat.yaml" -m "$out/inkstone-zh" --train "$out/conversations.jsonl"
  echo "make.sh: $out/chat/model, the adapter"
fi

# The figures of the model card.
"$inkstone" eval -m "$out/inkstone-zh" --text held-out="$out/held-out.jsonl" --prompts "$recipe/prompts.txt" \
  --samples-per-prompt 10 -n 100 --temp 0.8 --top-p 0.95 --training-text "$out/train.jsonl" --json -o "$out/eval.json"
python3 "$recipe/../../../Benchmarks/compression.py" --test "$out/held-out.jsonl" --train "$out/train.jsonl" --json \
  > "$out/compression.json"
cp "$recipe/../README.md" "$out/inkstone-zh/README.md"
python3 "$recipe/figures.py" "$out/eval.json" "$out/compression.json" "$out/inkstone-zh/README.md"
echo "make.sh: $out/inkstone-zh, with its card"
