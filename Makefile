# Two commands matter:  make demo   make test   (each sets up what it needs)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help setup demo test check format contract swarm bench hardware pictures web-picture clean \
	emulated install-node install-master
help:
	@echo "make demo      a live rack of seven Pis on this machine"
	@echo "make test      set up, then run every test"
	@echo "make check     format, lint, types, layers"
	@echo "make contract  regenerate docs/contract.md from the topics and messages"
	@echo "make pictures  draw the pictures of the screen in docs/pictures anew"
	@echo "make web-picture  look at the browser view with a real Chromium; installs one"
	@echo "make swarm     ten thousand seeds of mixed faults in the simulator, every one judged (SEEDS, FIRST)"
	@echo "make bench     measure what is promised, beside a peer in the same run"
	@echo "make hardware  draw, list and configure everything anew from hardware/board.toml"
	@echo "make emulated  boot the agent on an emulated Pi Zero and watch its pins (two minutes)"
	@echo "make install-node, make install-master   onto this Debian, as root; DESTDIR is honoured"
	@echo "make setup     only prepare $(VENV)"

setup: $(STAMP)

$(STAMP): pyproject.toml deploy/ensure-debian
	deploy/ensure-debian python3-venv:ensurepip mosquitto:mosquitto mosquitto-clients:mosquitto_sub tmux:tmux
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/python -m compileall -q core node_agent master tui sim hardware/rackberry_boards
	touch $@

demo: $(STAMP)
	$(BIN)/rackberry demo

test: $(STAMP)
	$(BIN)/python -m pytest

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

contract: $(STAMP)
	$(BIN)/python -m rackberry.contract docs/contract.md

SEEDS ?= 10000
FIRST ?= 0
swarm: $(STAMP)
	nice -n 10 $(BIN)/rackberry sim swarm --seeds $(SEEDS) --first $(FIRST) --processes $$(nproc) --for 7200
	nice -n 10 $(BIN)/rackberry sim swarm --seeds $(SEEDS) --first $(FIRST) --processes $$(nproc) --for 7200 --jobs 60

bench: $(STAMP)
	$(BIN)/python bench/commands.py
	$(BIN)/python bench/agent.py
	$(BIN)/python bench/detection.py
	$(BIN)/python bench/screen.py
	$(BIN)/python bench/makespan.py
	$(BIN)/python bench/work.py

pictures: $(STAMP)
	TZ=UTC $(BIN)/python -m rackberry_tui.pictures docs/pictures

# A browser weighs half a gigabyte, so it comes only with this; the picture is of a real one.
web-picture: $(STAMP)
	deploy/ensure-debian chromium:chromium
	TZ=UTC RACKBERRY_WEB_PICTURE=docs/pictures/web.png $(BIN)/python -m pytest tests/tui/test_web.py -k real_browser

# The drawing packages weigh 109 MB, half as much as all the rest, so they come only with this.
hardware: $(STAMP)
	deploy/ensure-debian graphviz:dot
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,hardware]'
	$(BIN)/rackberry board check hardware/board.toml
	$(BIN)/rackberry board build hardware/board.toml --out hardware/generated
	cp hardware/generated/pico-w/board.py firmware/pico/board.py
	$(BIN)/python -m pytest tests/hardware

# The build folder is the cache: the first run fetches 60 MB and compiles two libraries for ARMv6.
emulated: $(STAMP)
	tests/emulated/build-pi build/emulated
	$(BIN)/python tests/emulated/run.py build/emulated

install-node install-master:
	deploy/install $(@:install-%=%) "$(DESTDIR)"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
