#!/usr/bin/env bash
# From the raw texts to cleaned, deduplicated, filtered documents: prepare.sh DATA OUT [INKSTONE]
set -euo pipefail
data=$1 out=$2 inkstone=${3:-inkstone}
mkdir -p "$out"

# Paragraphs of books and docs: blank lines part the documents; lines with formulas or code go, and lines that are no sentences.
book() { # name, files...
  local name=$1; shift
  for file in "$@"; do sed -e '/[$\\`{}<>|]/d' "$file"; echo; done > "$out/$name.raw.txt"
  "$inkstone" data clean -q "$out/$name.raw.txt" --documents paragraph --skip html,markdown -o "$out/$name.clean.jsonl"
  "$inkstone" data dedup -q "$out/$name.clean.jsonl" -o "$out/$name.unique.jsonl"
  "$inkstone" data filter -q "$out/$name.unique.jsonl" --rules c4 --limit min-line-words=6 --limit min-sentences=2 \
    --limit javascript-lines=off --limit lorem-ipsum=off --limit curly-brackets=off \
    --language zh --min-language-share 0.6 -o "$out/$name.jsonl" --report "$out/$name.report.json"
}
book ai "$data"/zh_ai/*.txt
book java "$data"/zh_general/javaguide.txt
book law "$data"/zh_law/laws.txt
for file in "$data"/zh_classics/*.txt; do
  # Novels: a chapter is a document.
  sed -e 's/^[ 　\t\r]*//; s/\r$//' -e '/^$/d' -e 's/^第.\{1,8\}回/\n&/' "$file" > "$out/$(basename "$file")"
done
book classics "$out"/三国演义.txt "$out"/水浒传.txt "$out"/红楼梦.txt "$out"/西游记.txt
# Each of these lines is a document.
"$inkstone" data dedup -q "$data"/zh_questions/*.txt --documents line -o "$out/questions.jsonl"
"$inkstone" data clean -q "$data"/primer/primer-zh.txt "$data"/primer/primer-en.txt --skip html,markdown --documents line -o "$out/primer.jsonl"
python3 -c '
import json, sys
for story in json.load(open(sys.argv[1])): print(json.dumps({"text": story}))' "$data"/en/tinystories_1000.json > "$out/stories.raw.jsonl"
"$inkstone" data dedup -q "$out/stories.raw.jsonl" -o "$out/stories.jsonl"
