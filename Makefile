# The only entry point. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
TORCH := torch==2.13.0
SOURCES := shared services lab tests benchmarks deploy
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DISTRIBUTIONS := -e "shared[embedded,pictures,postgres]" -e services/registration \
	-e "services/segmentation[api,worker]" -e lab
PYPROJECTS := shared/pyproject.toml services/registration/pyproject.toml \
	services/segmentation/pyproject.toml lab/pyproject.toml
COMPOSE := docker compose
PROFILE := $(if $(GPU),gpu,cpu)
OTHER_PROFILE := $(if $(GPU),cpu,gpu)
OTHER_WORKER := segmentation$(if $(GPU),,-gpu)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) ## Make .venv with the four distributions

# torch first and alone: whatever comes later finds it there and takes no other
$(STAMP): $(PYPROJECTS)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet $(DISTRIBUTIONS)
	touch $@

$(DEV_STAMP): $(STAMP) requirements-dev.txt
	$(PIP) install --quiet -r requirements-dev.txt
	touch $@

.PHONY: demo
demo: setup ## Contour two real patients through the whole service (3 minutes)
	$(BIN)/hanseg demo --out demo-output

.PHONY: serve
serve: setup ## Run the service on this machine until Ctrl-C
	$(BIN)/hanseg serve

.PHONY: up
up: wheelhouse ## Run the service in containers: make up, or make up GPU=1
	$(COMPOSE) --profile $(OTHER_PROFILE) rm --stop --force $(OTHER_WORKER)
	$(COMPOSE) --profile $(PROFILE) up --build --detach --wait

.PHONY: down
down: ## Stop the containers; jobs and results stay in their volumes
	$(COMPOSE) --profile cpu --profile gpu down

.PHONY: wheelhouse
wheelhouse: ## Offer the images the torch wheel that pip has on this machine
	@for folder in $$($(PYTHON) -m pip config get global.find-links 2>/dev/null); do \
		for wheel in $$folder/$(subst ==,-,$(TORCH))*.whl; do \
			test ! -e "$$wheel" || cp -nv "$$wheel" wheelhouse/; \
		done; \
	done

.PHONY: test-compose
test-compose: $(DEV_STAMP) wheelhouse ## Build and start the containers and send them a job
	$(BIN)/python -m pytest -m compose $(PYTEST_ARGS)

.PHONY: test
test: $(DEV_STAMP) ## Run all tests but those that need Docker
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not compose" $(PYTEST_ARGS)

.PHONY: check
check: $(DEV_STAMP) ## Formatting, lint, types, import rules, spelling
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy shared services lab tests
	$(BIN)/lint-imports
	$(BIN)/codespell *.md LICENSE docs $(SOURCES)

.PHONY: format
format: $(DEV_STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

.PHONY: coverage
coverage: $(DEV_STAMP) ## Run the tests and report branch coverage
	$(BIN)/coverage run -m pytest -m "not compose" $(PYTEST_ARGS)
	$(BIN)/coverage report

.PHONY: bench
bench: bench-registration bench-inference bench-validation bench-phantoms bench-evaluation ## Run every benchmark

.PHONY: bench-registration
bench-registration: $(DEV_STAMP) ## Registration: accuracy, honesty, speed beside peers
	$(BIN)/python -m benchmarks.registration --roc

.PHONY: bench-inference
bench-inference: $(DEV_STAMP) ## Inference: speed, memory, labels beside nnU-Net and MONAI
	$(BIN)/python -m benchmarks.inference

.PHONY: bench-validation
bench-validation: $(DEV_STAMP) ## Dice of the default model on training CTs that were held out
	$(BIN)/python benchmarks/validation.py

.PHONY: bench-test
bench-test: $(DEV_STAMP) ## Dice of the default model on test CTs; choose nothing by it
	$(BIN)/python benchmarks/validation.py --part test

.PHONY: bench-phantoms
bench-phantoms: $(DEV_STAMP) ## Dice and HD95 of the default model on simulated patients, by MR
	$(BIN)/python benchmarks/phantoms.py

.PHONY: bench-evaluation
bench-evaluation: $(DEV_STAMP) ## Speed of the evaluation beside surface-distance
	$(BIN)/python benchmarks/evaluation.py

.PHONY: recipes
recipes: $(DEV_STAMP) ## Train, run and score every recipe, small, in one table
	$(BIN)/python benchmarks/recipes.py

.PHONY: train
train: setup ## Train the default recipe: make train DATA=folder OUT=folder NAME=name
	$(BIN)/hanseg train default --data "$(DATA)" --out "$(OUT)" --name "$(NAME)"

.PHONY: clean
clean: ## Remove what was built, but not .venv
	rm -rf demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage \
		shared/build services/*/build lab/build
