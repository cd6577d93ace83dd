# Tessera: make demo draws a picture, make demo-video a clip, make test runs all tests. Both install what is missing and build.

PACKAGES := libstdc++-12-dev libpng-dev libsentencepiece-dev \
  libavformat-dev libavcodec-dev libavutil-dev libswscale-dev
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
DEMO_PROMPT ?= a large red sphere on a grey floor
DEMO_CLIP_PROMPT ?= a red sphere rolls to the right on a grey floor
BUILD := swift build -c release
BIN := .build/release
# What is run on every code path of the kernels.
PATH_TESTS := KernelsTests|SparseAttentionTests.ContractTests|ModelsTests.*Golden|ParityTests|CompressionTests|ResumeTests

.PHONY: all build demo demo-video test check lint sanitize fuzz hostile dependencies clean

all: build

build: dependencies
	$(BUILD)

demo: dependencies
	$(BUILD) --product generate-image
	$(BIN)/generate-image --prompt "$(DEMO_PROMPT)" --seed 7 --output outputs/demo.png

demo-video: dependencies
	$(BUILD) --product generate-video
	$(BIN)/generate-video --prompt "$(DEMO_CLIP_PROMPT)" --seed 1 --output outputs/demo.mp4

# All tests, then those of the kernels and of exactness again on every slower code path.
test: dependencies
	swift test -c release
	for path in avx512 avx2-vnni avx2 portable; do \
	  echo "make: kernels and exactness on the path $$path"; \
	  TESSERA_CPU=$$path swift test -c release --skip-build --filter '$(PATH_TESTS)' > .build/$$path.log 2>&1 \
	    || { cat .build/$$path.log; exit 1; }; \
	  tail -n 1 .build/$$path.log; \
	done

# Everything test does, the style of the sources, and all tests under sanitizers.
check: lint test sanitize

lint:
	swift format lint --strict --recursive Package.swift Sources Tests

# Memory, undefined behaviour, and races.
sanitize: dependencies
	Robustness/sanitize.sh address thread

# Random input for every reader of strangers' files, FUZZ_SECONDS (10) for each: crashes, hangs, memory.
fuzz: dependencies
	Fuzz/fuzz.sh

# Damaged pipelines, failing disks, and runs that are killed: what tests of whole programs can find.
hostile: build
	Robustness/mutate_pipelines.py --count 100
	Robustness/inject_faults.py
	Robustness/interrupt_runs.py --count 12
	Robustness/share_folders.py --count 2

dependencies:
	@command -v swift >/dev/null || { \
	  echo "make: swift is not on the path; install Swift 6.2 or newer from https://www.swift.org/install" >&2; exit 1; }
ifeq ($(shell uname -s),Linux)
	@command -v dpkg-query >/dev/null || exit 0; missing=; \
	for package in $(PACKAGES); do \
	  dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
	  echo "make: installing$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  $(SUDO) apt-get install -y --no-install-recommends $$missing >/dev/null 2>&1 \
	    || { $(SUDO) apt-get update && $(SUDO) apt-get install -y --no-install-recommends $$missing; }; \
	fi
else
	@command -v brew >/dev/null && brew list ffmpeg libpng sentencepiece >/dev/null 2>&1 || { \
	  echo "make: install the libraries first: brew install ffmpeg libpng sentencepiece" >&2; exit 1; }
endif

clean:
	rm -rf .build
