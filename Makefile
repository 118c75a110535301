# Everything runs in .venv, which `make setup` makes. Another Python: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
# A small network's operations are too short to be shared among threads, and tests run two at a time.
export OMP_NUM_THREADS = 1

.PHONY: browser help setup demo study results ablations drift pixels teaching chaos fuzz soak test test-sb3 test-ray test-gpu test-browser test-browser-slow page-picture test-experts lint clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/installed ## install the tested versions into .venv

.venv/installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than Python 3.10; try make setup PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: setup ## the main job: clone LunarLander's expert, then DAgger (under 2 minutes)
	$(BIN)/python scripts/demo.py

study: setup ## the README's table and figure: 5 seeds (about 4 minutes)
	rm -rf data/results/new
	$(BIN)/python scripts/demo.py --seeds 5 --out data/results/new
	rm -rf data/results/LunarLander-v3
	mv data/results/new data/results/LunarLander-v3

results: setup ## the README's table over all environments: 5 seeds (23 minutes; a stopped one goes on)
	$(BIN)/python scripts/results.py

ablations: setup ## the README's ablations of the training length (2 minutes)
	for env in HalfCheetah-v5 LunarLander-v3; do \
		$(BIN)/python scripts/run_ablation.py --env_name $$env --param num_agent_train_steps_per_iter \
			--values 500 1000 5000 10000 --seeds 5 --outdir data/results/training_steps_$$env || exit 1; \
	done

DRIFT := data/results/drift
drift: setup ## the README's figures of drift (2 minutes)
	rm -rf $(DRIFT)
	$(BIN)/python scripts/run_hw1.py --env_name LunarLander-v3 --n_demos 1 --do_dagger --n_iter 11 --seed 3 \
		--eval_episodes 20 --video_log_freq -1 --logdir $(DRIFT)/LunarLander-v3/run
	$(BIN)/python scripts/run_hw1.py --env_name Hopper-v5 --n_demos 1 --do_dagger --n_iter 11 --seed 4 \
		--num_agent_train_steps_per_iter 5000 --learning_rate 1e-3 --normalize_obs \
		--eval_episodes 20 --video_log_freq -1 --logdir $(DRIFT)/Hopper-v5/run
	for env in LunarLander-v3 Hopper-v5; do \
		run=$(DRIFT)/$$env/run; \
		$(BIN)/python scripts/diagnose.py --policy $$run/policy_itr_0.pt $$run --names BC DAgger \
			--out $(DRIFT)/$$env/diagnosis || exit 1; \
		cp $(DRIFT)/$$env/diagnosis/drift.png $(DRIFT)/$$env.png; \
		cp $(DRIFT)/$$env/diagnosis/divergence.png $(DRIFT)/$${env}_strip.png; \
		cp $(DRIFT)/$$env/diagnosis/losses.md $(DRIFT)/$$env.md; \
	done

pixels: setup ## the README's CarRacing from the camera (under an hour; a stopped one goes on)
	$(BIN)/python scripts/pixels.py --out data/results/CarRacing-v3

TAUGHT := data/results/teacher
teaching: setup ## the README's curves of teaching, by the stand-in (3 minutes)
	rm -rf $(TAUGHT)/*/
	$(BIN)/python scripts/teach.py --env_name MountainCar-v0 --teacher scripted --episodes 10 --eval_every 1 \
		--eval_episodes 20 --logdir $(TAUGHT)/MountainCar-v0/run
	$(BIN)/python scripts/teach.py --env_name LunarLander-v3 --teacher scripted --episodes 60 --disagreement_steps 3 \
		--eval_episodes 20 --logdir $(TAUGHT)/LunarLander-v3/run
	for env in MountainCar-v0 LunarLander-v3; do cp $(TAUGHT)/$$env/run/curve.png $(TAUGHT)/$$env.png || exit 1; done

chaos: setup ## 100 runs killed at random moments, and compared with runs that nobody killed (10 minutes)
	$(BIN)/python scripts/chaos.py

fuzz: setup ## every reader on 20,000 damaged and hostile files of each kind (half an hour)
	$(BIN)/python -m pytest -q tests/fuzz --hypothesis-profile=large

soak: setup ## half an hour of small iterations: memory, open files and threads must not grow
	$(BIN)/python scripts/soak.py

test: setup ## the whole suite (under 6 minutes)
	$(BIN)/python -m pytest -n 2 -q

test-sb3: setup ## our reading of Stable-Baselines3's zips against its own (installs it)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[sb3]"
	$(BIN)/python -m pytest -q -m sb3

test-ray: setup ## ablations on a Ray cluster of two nodes, one of which dies (installs it, 240 MB)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[ray]"
	$(BIN)/python -m pytest -q -m ray

test-gpu: setup ## training on a GPU beside the CPU's (needs one, and a torch for it)
	$(BIN)/python -m pytest -q -m gpu

browser: setup
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ echo "error: the page is tried in a real browser; apt-get install chromium" >&2; exit 2; }
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[browser]"

test-browser: browser ## the teacher's page in Chromium (installs Playwright, 140 MB; 2 minutes)
	$(BIN)/python -m pytest -q -s -m browser

test-browser-slow: browser ## frames a second, key to picture, and LunarLander taught through the page (8 minutes)
	$(BIN)/python -m pytest -q -s -m browser_slow

page-picture: browser ## the README's picture of the teacher's page (2 minutes)
	$(BIN)/python tests/teacher/browsing.py data/results/teacher/page.png

test-experts: setup ## a short training by the experts' recipe (installs JAX; a few minutes)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[experts]"
	$(BIN)/python -m pytest -q -m experts

lint: setup ## ruff, as CI runs it
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove .venv and the run folders
	rm -rf .venv data/q1_* data/q2_* data/teach_* data/demo data/demo_[0-9]* data/ablation_* data/diagnosis* data/report* data/pixels data/pixels_quick
