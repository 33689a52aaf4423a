# Inkstone. `make help` lists the targets; README.md explains them.

SHELL := /bin/bash
ARCH ?= native
MODEL ?=
PROMPT ?= 人工智能是
PREFIX ?= /usr/local
SHAPE ?=
DATA ?=
CHAT ?=
OUT ?=
SWIFT ?= swift
PYTHON ?= python3
ONLY ?=
RIVALS ?= .venv-rivals
# The small recipe's products: bfloat16 where matrix registers (AMX) make it faster, as nanoGPT has it on a GPU.
PRECISION ?= $(if $(filter native,$(ARCH)),$(shell grep -qsw amx_bf16 /proc/cpuinfo && echo bf16 || echo f32),f32)

PACKAGES := libopenblas-dev liblapacke-dev libpcre2-dev libyajl-dev libyaml-dev zlib1g-dev pkg-config
# The C flag also sets the CPU that Swift compiles for.
BUILD_FLAGS := -c release -Xcc -march=$(ARCH)
# The program carries Swift's libraries: it starts 8 ms sooner, and runs where Swift is not installed.
PROGRAM_FLAGS := $(BUILD_FLAGS) $(if $(filter Linux,$(shell uname -s)),--static-swift-stdlib)
TEST_FLAGS := $(BUILD_FLAGS) -Xswiftc -enable-testing --scratch-path .build-test
BUNDLED_MODEL := Models/inkstone-zh

INKSTONE = "$$($(SWIFT) build $(BUILD_FLAGS) --show-bin-path)/inkstone"

.PHONY: help setup build run test check format reference bench bench-rivals model shakespeare docs install uninstall clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: ## install the C libraries that are missing (Debian, Ubuntu)
	@missing=""; \
	for package in $(PACKAGES); do \
	  dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -z "$$missing" ]; then \
	  echo "setup: $(PACKAGES) are installed"; \
	elif ! command -v apt-get >/dev/null; then \
	  echo "setup: install$$missing with this system's package manager" >&2; exit 2; \
	else \
	  echo "setup: installing$$missing"; \
	  sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo"; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

build: setup ## compile for this CPU (ARCH=x86-64-v3 for another)
	$(SWIFT) build $(PROGRAM_FLAGS) --product inkstone

run: ## build, then continue PROMPT with MODEL (a folder; by default the bundled model)
	@model="$(MODEL)"; \
	if [ -z "$$model" ]; then model="$(BUNDLED_MODEL)"; fi; \
	if [ ! -e "$$model/config.json" ] && [ ! -f "$$model" ]; then \
	  if [ -n "$(MODEL)" ]; then echo "run: $$model holds no config.json; MODEL must be a model folder or a GGUF file" >&2; \
	  else echo "run: $(BUNDLED_MODEL) is not there; give a model: make run MODEL=path/to/model" >&2; fi; \
	  exit 2; \
	fi; \
	$(MAKE) --no-print-directory build >&2 && \
	$(INKSTONE) generate -m "$$model" -p "$(PROMPT)" --echo --max-length 60 --num-beams 5 --no-repeat-ngram-size 2 --early-stopping

test: setup ## run all tests, in release mode
	$(SWIFT) test $(TEST_FLAGS)

check: setup ## lint the format and the documentation; compile with warnings as errors
	$(SWIFT) format lint --strict --recursive --parallel Package.swift Sources Tests
	$(SWIFT) build -c debug -Xswiftc -warnings-as-errors --build-tests --scratch-path .build-check

format: ## rewrite the sources in the house's format
	$(SWIFT) format --in-place --recursive --parallel Package.swift Sources Tests

reference: ## rebuild the regression references with transformers, in a venv
	$(PYTHON) -m venv .venv-reference
	.venv-reference/bin/pip install --quiet -r Tests/Reference/requirements.txt
	.venv-reference/bin/python Tests/Reference/generate.py --fixtures
	for room in ChatTemplates Corpora Evaluation Generation Kernels Tokenizers Training; do .venv-reference/bin/python Tests/Reference/$$room/generate.py || exit; done
	.venv-reference/bin/python Tests/Reference/Kernels/generate_backward.py

bench: build ## measure naive Swift against OpenBLAS on the bundled model (MODEL=folder, SHAPE=gpt2-124m, OUT=folder)
	@out="$(OUT)"; if [ -z "$$out" ]; then out=Benchmarks/Results/local; fi; \
	if [ -n "$(SHAPE)" ]; then set -- --shape "$(SHAPE)"; \
	elif [ -n "$(MODEL)" ]; then set -- -m "$(MODEL)"; \
	elif [ -e "$(BUNDLED_MODEL)/config.json" ]; then set -- -m "$(BUNDLED_MODEL)"; \
	else set -- --shape gpt2-124m; fi; \
	INKSTONE_COMMIT="$$(git describe --always --dirty 2>/dev/null)" $(INKSTONE) bench "$$@" --suite "$$out" -n 64

model: build ## make the bundled model again from the raw texts (DATA=folder, CHAT=folder, OUT=folder), in hours
	@if [ -z "$(DATA)" ]; then echo "model: give the folder of the texts: make model DATA=FOLDER" >&2; exit 2; fi
	@out="$(OUT)"; if [ -z "$$out" ]; then out=.build/inkstone-zh; fi; \
	$(BUNDLED_MODEL)/recipe/make.sh "$(DATA)" "$$out" $(INKSTONE) $(if $(CHAT),"$(CHAT)")

bench-rivals: build ## measure beside llama.cpp, CTranslate2 and torch, in an hour or more (ONLY=f32,beams)
	@if [ ! -x "$(RIVALS)/bin/python" ]; then $(PYTHON) -m venv "$(RIVALS)"; fi
	@if ! cmp -s Benchmarks/rivals/requirements.txt "$(RIVALS)/requirements.txt"; then \
	  echo "bench-rivals: installing what Benchmarks/rivals/requirements.txt lists; llama.cpp is compiled for this CPU" >&2; \
	  CMAKE_ARGS="-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF" "$(RIVALS)/bin/pip" install --quiet --no-binary llama-cpp-python \
	    -r Benchmarks/rivals/requirements.txt && cp Benchmarks/rivals/requirements.txt "$(RIVALS)/requirements.txt"; \
	fi
	@out="$(OUT)"; "$(RIVALS)/bin/python" Benchmarks/rivals/run.py \
	  --inkstone "$$($(SWIFT) build $(BUILD_FLAGS) --show-bin-path)/inkstone" --out "$${out:-Benchmarks/Results/local/rivals}" \
	  $(if $(ONLY),--only $(ONLY)) $(ARGS)

shakespeare: build ## train nanoGPT's small recipe (DATA=tinyshakespeare.txt, OUT=folder, PRECISION=f32)
	@if [ -z "$(DATA)" ]; then echo "shakespeare: give the text: make shakespeare DATA=tinyshakespeare.txt" >&2; exit 2; fi; \
	out="$(OUT)"; \
	if [ -z "$$out" ]; then out="$$(mktemp -d)/run"; fi; \
	$(INKSTONE) train -c Models/shakespeare.yaml --train "$(DATA)" --out "$$out" --precision $(PRECISION)

docs: setup ## build the documentation into .build/docs
	$(SWIFT) package --allow-writing-to-directory .build/docs generate-documentation --target Inkstone \
	  --output-path .build/docs --transform-for-static-hosting --hosting-base-path inkstone

install: build ## install program, models, man pages and completions under PREFIX
	@set -e; to="$(DESTDIR)$(PREFIX)"; program=$(INKSTONE); \
	install -d "$$to/bin" "$$to/share/man/man1" "$$to/share/bash-completion/completions" \
	  "$$to/share/zsh/site-functions" "$$to/share/fish/vendor_completions.d"; \
	install -m 755 "$$program" "$$to/bin/inkstone"; \
	strip "$$to/bin/inkstone" 2>/dev/null || true; \
	"$$program" manual -o "$$to/share/man/man1"; \
	"$$program" completion bash > "$$to/share/bash-completion/completions/inkstone"; \
	"$$program" completion zsh > "$$to/share/zsh/site-functions/_inkstone"; \
	"$$program" completion fish > "$$to/share/fish/vendor_completions.d/inkstone.fish"; \
	for model in Models/*/; do \
	  [ -e "$${model}config.json" ] || [ -e "$${model}adapter_config.json" ] || continue; \
	  folder="$$to/share/inkstone/$$model"; \
	  install -d "$$folder"; \
	  find "$$model" -maxdepth 1 -type f -exec install -m 644 {} "$$folder" ';'; \
	done; \
	echo "install: $$to/bin/inkstone"

uninstall: ## remove what install put there
	rm -f "$(DESTDIR)$(PREFIX)/bin/inkstone" \
	  "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/inkstone" \
	  "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_inkstone" \
	  "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/inkstone.fish" \
	  "$(DESTDIR)$(PREFIX)"/share/man/man1/inkstone.1 "$(DESTDIR)$(PREFIX)"/share/man/man1/inkstone-*.1
	rm -rf "$(DESTDIR)$(PREFIX)/share/inkstone"

clean: ## remove everything that was built
	rm -rf .build .build-test .build-check .venv-reference .venv-rivals
