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
mix() { python3 "$recipe/mix.py" "$mixture" "$out/documents" "$1"; }
learn_tokenizer() {
  # Each document once, and of the larger texts a part: a vocabulary for what the model is for. Texts begin with the mark that
  # stands between documents in training: without it a short prompt looks like the middle of one.
  local documents=$out/documents
  {
    cat "$documents"/{primer,ai,java,questions,stories}.jsonl
    awk 'NR % 4 == 0' "$documents/law.jsonl"
    awk 'NR % 2 == 0' "$documents/classics.jsonl"
  } > "$out/vocabulary.jsonl"
  "$inkstone" tokenizer train -q "$out/vocabulary.jsonl" --vocab-size 8192 --pattern qwen2 \
    --special-tokens "<|endoftext|>" "<|im_start|>" "<|im_end|>" --add-bos -o "$1"
  rm "$out/vocabulary.jsonl"
}
# What is held out is chosen by a hash of its text, so that no mixture trains on what another one holds out.
pack() { "$inkstone" data pack -q "$out/$mixture.jsonl" -m "$out/tokenizer" --validation-fraction 0.02 -o "$1"; }
prose() { python3 "$recipe/anneal.py" "$1" "$out/documents" "$out/held-out-wide.jsonl" "$2"; }
pack_all() { "$inkstone" data pack -q "$out/$1.jsonl" -m "$out/tokenizer" --validation-fraction 0 -o "$2"; }
unpack() { # tokens, result: the documents that pack put there, each once
  "$inkstone" detokenize -m "$out/tokenizer" --tokens "$out/$1.tokens" > "$2.documents.jsonl"
  # The ending of a file says what is in it.
  "$inkstone" data dedup -q "$2.documents.jsonl" --method exact -o "$2.unique.jsonl"
  rm "$2.documents.jsonl"
  mv "$2.unique.jsonl" "$2"
}

step "$out/documents" prepare
step "$out/tokenizer" learn_tokenizer
for mixture in first wide; do
  step "$out/$mixture.jsonl" mix
  step "$out/packed-$mixture" pack
done
step "$out/train.jsonl" unpack packed-wide/train
step "$out/held-out.jsonl" unpack packed-first/validation
step "$out/held-out-wide.jsonl" unpack packed-wide/validation
for name in anneal polish; do
  step "$out/$name.jsonl" prose "$name"
  step "$out/packed-$name" pack_all "$name"
done

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
train() { # run, its settings, what it trains and validates on, where it begins...
  local name=$1 settings=$2 corpus=$3 validation=$4
  shift 4
  run train "$out/$name" -c "$recipe/$settings.yaml" --train "$out/packed-$corpus/train.tokens" \
    --valid "$out/packed-$validation/validation.tokens" "$@"
}
train pretrained train first first --tokenizer "$out/tokenizer"
train further further first first --init-from "$out/pretrained/model"
train wider wide wide wide --init-from "$out/further/model"
train annealed anneal anneal wide --init-from "$out/wider/model"
train polished polish polish first --init-from "$out/annealed/model"
# Most of the last run's way with the primer, and most of what the run before it knew beside.
step "$out/averaged" python3 "$recipe/average.py" "$out/annealed/model" "$out/polished/model" 0.7
step "$out/inkstone-zh" "$inkstone" convert -m "$out/averaged" --outtype bf16 -o

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
