# The only entry point. `make` alone lists what there is.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
TORCH := torch==2.13.0
PAGE := services/segmentation/web
NPM := PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix $(PAGE)
FIND_LINKS = $(PYTHON) -m pip config get global.find-links 2>/dev/null || true
SOURCES := shared services lab tests benchmarks deploy
STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
DISTRIBUTIONS := -e shared -e services/registration -e services/segmentation \
	-e services/dicom -e lab
PYPROJECTS := shared/pyproject.toml services/registration/pyproject.toml \
	services/segmentation/pyproject.toml services/dicom/pyproject.toml lab/pyproject.toml
# in pages and tests: no password is kept
PLACEHOLDERS := '(user|u|me|key|USER|nonsense|somebody):(password|hush|secret|PASSWORD)@|%s:%s@|hanseg:%s@'
COMPOSE := docker compose
PROFILE := $(if $(GPU),gpu,cpu)
OTHER_PROFILE := $(if $(GPU),cpu,gpu)
OTHER_WORKER := segmentation$(if $(GPU),,-gpu)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(STAMP) page ## Make .venv with the five distributions, and build the page

# every file by its SHA-256; a torch that pip's own folder of wheels has is accepted
$(STAMP): $(PYPROJECTS) deploy/lock.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python deploy/lock.py accept $$($(FIND_LINKS))
	$(BIN)/python deploy/install.py build setup
	$(PIP) install --quiet --no-deps --no-build-isolation $(DISTRIBUTIONS)
	touch $@

$(DEV_STAMP): $(STAMP) deploy/lock.txt
	$(BIN)/python deploy/install.py dev
	touch $@

# node is a tool of the build; a build that is up to date asks no registry
.PHONY: page
page: $(STAMP) ## Build the page into the API, if its sources have changed
	test -x $(BIN)/npm || $(BIN)/python deploy/install.py page
	$(BIN)/python $(PAGE)/build.py

.PHONY: check-page
check-page: page ## Types, lint and tests of the page
	$(BIN)/python $(PAGE)/build.py --packages
	$(NPM) run --silent types
	$(NPM) run --silent lint
	$(NPM) run --silent test

.PHONY: demo
demo: setup ## Contour two real patients through the whole service (3 minutes)
	$(BIN)/hanseg demo --out demo-output

.PHONY: demo-dicom
demo-dicom: setup ## Send two real patients to an Orthanc, find contours in it (4 minutes)
	$(BIN)/hanseg demo-dicom --out demo-dicom-output

.PHONY: serve
serve: setup ## Run the service on this machine until Ctrl-C
	$(BIN)/hanseg serve

.PHONY: up
up: wheelhouse ## Run the service in containers: make up, or make up GPU=1
	$(COMPOSE) --profile $(OTHER_PROFILE) rm --stop --force $(OTHER_WORKER)
	$(COMPOSE) --profile $(PROFILE) up --build --detach --wait

.PHONY: down
down: ## Stop the containers; jobs and results stay in their volumes
	$(COMPOSE) --profile cpu --profile gpu --profile orthanc --profile tls down

.PHONY: wheelhouse
wheelhouse: ## Offer the images the torch wheel that pip has on this machine
	@for folder in $$($(FIND_LINKS)); do \
		for wheel in $$folder/$(subst ==,-,$(TORCH))*.whl; do \
			test ! -e "$$wheel" || cp -nv "$$wheel" wheelhouse/; \
		done; \
	done
	$(PYTHON) deploy/lock.py accept $$($(FIND_LINKS))
	$(PYTHON) deploy/lock.py check wheelhouse

.PHONY: lock
lock: $(DEV_STAMP) ## Make deploy/lock.txt anew: the images' files by SHA-256 (minutes)
	$(BIN)/python deploy/lock.py make

.PHONY: test-compose
test-compose: $(DEV_STAMP) wheelhouse ## Build and start the containers and send them a job
	$(BIN)/python -m pytest -m compose $(PYTEST_ARGS)

.PHONY: test
test: $(DEV_STAMP) ## Run all tests except those for containers, chaos, hosts and the browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not compose and not chaos and not hosts and not browser" $(PYTEST_ARGS)

.PHONY: test-browser
test-browser: $(DEV_STAMP) page ## Look at the page with Chromium, as a person would
	$(BIN)/python $(PAGE)/build.py --packages
	$(BIN)/python -m pytest -m browser tests/browser $(PYTEST_ARGS)

.PHONY: test-chaos
test-chaos: $(DEV_STAMP) ## Kill, freeze and flush the service under load; compare results
	$(BIN)/python -m pytest -m chaos tests/chaos $(PYTEST_ARGS)

.PHONY: test-hosts
test-hosts: $(DEV_STAMP) ## Workers on two hosts (network namespaces): lose, cut and slow them
	$(BIN)/python -m pytest -m hosts tests/hosts $(PYTEST_ARGS)

MINUTES ?= 10
.PHONY: fuzz
fuzz: $(DEV_STAMP) ## Spoiled files and made-up requests: make fuzz MINUTES=10 (each)
	$(BIN)/python -m tests.fuzz --minutes $(MINUTES)
	$(BIN)/python -m tests.fuzz.api --minutes $(MINUTES)

.PHONY: check
check: $(DEV_STAMP) ## Formatting, lint, types, import rules, spelling
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy shared services lab tests deploy/grand-challenge
	$(BIN)/lint-imports
	$(BIN)/codespell *.md LICENSE docs $(SOURCES)
	$(MAKE) --no-print-directory secrets check-page

# Hashes and test data look random, so the scan looks for what secrets look like
.PHONY: secrets
secrets: $(DEV_STAMP) ## Look for passwords, tokens and private keys among the files
	git ls-files -z -- ':!:*.safetensors' ':!:*.png' ':!:*.npz' ':!:*.csv' ':!:*.gz' | \
		xargs -0 $(BIN)/detect-secrets-hook --no-verify \
		--disable-plugin Base64HighEntropyString \
		--disable-plugin HexHighEntropyString --disable-plugin KeywordDetector \
		--exclude-lines $(PLACEHOLDERS)

.PHONY: sbom
sbom: $(DEV_STAMP) ## Write what each image holds, with licences, to sbom/
	$(BIN)/python deploy/sbom.py sbom

.PHONY: audit
audit: $(DEV_STAMP) page ## Ask PyPI and npm for known faults of what the images hold
	@status=0; \
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off \
		--requirement deploy/constraints.txt || { status=1; \
		echo "make audit: a fault is known, or PyPI's vulnerability service" \
		"did not answer for every package: nothing is known of those"; }; \
	$(NPM) audit --omit=dev --package-lock-only || { status=1; \
		echo "make audit: a fault of the page's packages is known, or the npm registry" \
		"did not answer: then nothing is known of them"; }; \
	exit $$status

.PHONY: format
format: $(DEV_STAMP) ## Format the code and fix what can be fixed
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)
	$(NPM) run --silent format

.PHONY: coverage
coverage: $(DEV_STAMP) ## Run the tests and report branch coverage
	$(BIN)/coverage run -m pytest -m "not compose and not chaos and not hosts and not browser" $(PYTEST_ARGS)
	$(BIN)/coverage report

.PHONY: bench
bench: bench-registration bench-inference bench-validation bench-phantoms bench-evaluation bench-rtstruct ## Run the main benchmarks

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

.PHONY: bench-rtstruct
bench-rtstruct: $(DEV_STAMP) ## Structure sets: organs read back, speed, memory
	$(BIN)/python -m benchmarks.rtstruct

.PHONY: bench-evaluation
bench-evaluation: $(DEV_STAMP) ## Speed of the evaluation beside surface-distance
	$(BIN)/python benchmarks/evaluation.py

.PHONY: bench-load
bench-load: $(DEV_STAMP) ## 300 small jobs by 16 clients, 1 GB sent, 1,100 silent connections
	$(BIN)/python -m benchmarks.load

.PHONY: bench-service
bench-service: $(DEV_STAMP) ## 300 jobs by 16 clients, default model, 1 and 2 workers (1 hour)
	$(BIN)/python -m benchmarks.throughput $(BENCH_ARGS)

.PHONY: bench-page
bench-page: $(DEV_STAMP) page ## Worklist of 1,000 jobs and viewer of a large CT, in Chromium
	$(BIN)/python -m benchmarks.page $(if $(JSON),--json)

.PHONY: bench-worklist
bench-worklist: $(DEV_STAMP) ## A page of the worklist out of 100,000 jobs, by what it shows
	$(BIN)/python -m benchmarks.worklist

.PHONY: pictures-page
pictures-page: $(DEV_STAMP) page ## Take the pictures of every page in docs/pictures anew
	$(BIN)/python -m benchmarks.page --jobs 40 --docs docs/pictures

.PHONY: recipes
recipes: $(DEV_STAMP) ## Prove that each recipe can learn: one patient by heart
	$(BIN)/python benchmarks/recipes.py $(if $(RECIPES),--recipes $(RECIPES))

CHALLENGE ?= run
.PHONY: challenge
challenge: $(DEV_STAMP) ## All methods learn and compete (hours; goes on): make challenge OUT=folder
	$(BIN)/python -m hanseg_lab.challenge $(CHALLENGE) $(if $(OUT),--out "$(OUT)") \
		--docs docs $(CHALLENGE_ARGS)

.PHONY: train
train: setup ## Train the default recipe: make train DATA=folder OUT=folder NAME=name
	$(BIN)/hanseg train default --data "$(DATA)" --out "$(OUT)" --name "$(NAME)"

.PHONY: clean
clean: ## Remove what was built, but not .venv
	rm -rf demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage \
		demo-dicom-output sbom shared/build services/*/build lab/build
