# Two commands: `make demo` segments the example pictures, `make test` runs everything.
# Both make the environment in .venv first. A real CLIP: make demo CLIP=openai/clip-vit-base-patch16
PYTHON ?= python3
CLIP ?= tiny
VENV := .venv
BIN := $(VENV)/bin
NUMBERS := attention.py decide.py feedback.py feedback_matrix.py feedback_models.py golden.py grid.py half.py \
  inspect.py metrics.py outliers.py pruning.py purify.py same_everywhere.py segmenter.py straight.py text.py \
  tiny_model.py vision.py windows.py

.PHONY: demo test test-portable lint docs soak clean

demo: $(VENV)/.installed
	@$(BIN)/python tools/demo.py --clip "$(CLIP)"

test: $(VENV)/.installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

# The numbers again on the plainest kernels, as a processor without vector units has them: sums in another order.
test-portable: $(VENV)/.installed-dev
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto $(addprefix tests/test_,$(NUMBERS))

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The site in site/; a broken link fails.
docs: $(VENV)/.installed-dev
	$(BIN)/zensical build --strict

soak: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m soak

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "segloop needs Python 3.10 or newer; name one with: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "making the environment in $(VENV): this takes a few minutes, once"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo-out segloop-out site
