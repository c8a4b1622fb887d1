# Fewer Bits. `make help` lists what there is.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PY := .venv/bin/python
BOOT := @$(PYTHON) tools/bootstrap.py
AUTHORING := $(PY) -m course_utils.authoring
export PYTHONHASHSEED := 0
# Threads that spin while they wait take the cores from whatever else runs: on two
# cores a busy neighbour then makes a lesson several times slower.
export OMP_WAIT_POLICY := passive

.DEFAULT_GOAL := help
.PHONY: help book learn test site serve execute sync check bench gpu auto-gptq graders lint llama lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 12

book: ## run every lesson on the real model and write the book from that run
	$(BOOT) learn
	@$(PY) -m course_utils model
	@COURSE_MODEL=$${COURSE_MODEL:-embedded} $(AUTHORING) execute --fresh --out _build/executed
	$(BOOT) book
	@$(AUTHORING).site build --notebooks _build/executed --out _build/html

learn: book ## JupyterLab on your own copies (in my/), with the built book beside it
	@mkdir -p my && { cp -rn notebooks exercises my/ || test -d my/exercises; } && ln -sfn ../book my/book && ln -sfn ../solutions my/solutions
	@$(AUTHORING).site serve _build/html & trap "kill $$!" EXIT; trap 'exit 130' INT TERM HUP; \
	.venv/bin/jupyter lab $(LAB_ARGS) my/notebooks/00_start-here.ipynb

test: ## install what is missing, then one pytest session with the network cut off
	$(BOOT) tests
	@$(PY) -m course_utils model
	@$(PY) tools/offline.py $(PY) -m pytest $(PYTEST_ARGS)

site: ## the pages from the committed, tested notebooks
	$(BOOT) book
	@$(AUTHORING).site build --notebooks . --out _build/site

serve: site ## the same pages on a local server that compresses
	@$(AUTHORING).site serve _build/site

execute: ## run the committed notebooks that are out of date, in place
	$(BOOT) learn
	@$(PY) -m course_utils model
	@$(AUTHORING) execute

sync: ## derive notebooks/, exercises/ and solutions/ from book/
	$(BOOT) learn
	@$(AUTHORING) sync

check: ## fail where a derived file or an output is out of date
	$(BOOT) learn
	@$(AUTHORING) check

bench: site ## speeds and page scores, measured and printed (never in the tests)
	$(BOOT) tests
	@$(PY) tools/bench.py

gpu: ## on a GPU: the lessons and a model of 8B shape, as records (MODEL=folder or name)
	$(BOOT) tests
	@$(PY) -m course_utils measure llama-8b-shape
	@$(PY) tools/gpu.py --model $(or $(MODEL),embedded)

auto-gptq: ## the retired AutoGPTQ, in an environment of its own; needs a CUDA GPU
	$(BOOT) learn
	@$(PY) -m course_utils model
	@$(PYTHON) tools/environment.py auto-gptq
	@_build/environments/auto-gptq/bin/python tools/auto_gptq.py "$$($(PY) -c 'from course_utils.models import embedded; print(embedded.prepare())')" _build/auto-gptq

graders: ## our grader beside Otter and nbgrader, each in an environment of its own
	$(BOOT) tests
	@$(PYTHON) tools/environment.py otter
	@$(PYTHON) tools/environment.py nbgrader
	@$(PY) tools/graders.py

lint: ## style of code, prose and numbers
	$(BOOT) book
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports
	@$(AUTHORING) lint

llama: ## compile llama.cpp (chapter 04 and later)
	$(BOOT) llama

lock: ## resolve locks/ again
	$(BOOT) book
	@$(PY) tools/lock.py

clean: ## remove what was built; .venv and the prepared model stay
	rm -rf _build
