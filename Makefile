# Everything runs in .venv, which `make setup` creates. To use another Python: make setup PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin
# The operations of a small network are too short to share among threads, and two tests run at a time.
export OMP_NUM_THREADS = 1

.PHONY: browser help setup demo study results ablations drift pixels bird pusht labels finetune teaching tutorial chaos fuzz soak test test-sb3 test-formats test-ray test-gpu test-slow test-pusht test-wandb test-wheel test-browser test-browser-slow page-picture test-experts pusht-env lint clean

help: ## print this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

setup: .venv/installed ## install the tested versions into .venv (1 minute, and the downloads)

.venv/installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "error: $(PYTHON) is older than Python 3.10; try make setup PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: setup ## clone LunarLander's expert, then DAgger: a table, a figure, two GIFs (2 minutes)
	$(BIN)/python scripts/demo.py

study: setup ## LunarLander's table, figure and GIFs with 5 seeds, and the demo's table (5 minutes)
	rm -rf data/results/new data/results/new_demo
	$(BIN)/python scripts/demo.py --out data/results/new_demo
	mv data/results/new_demo/table.md data/results/demo.md
	rm -rf data/results/new_demo
	$(BIN)/python scripts/demo.py --seeds 5 --out data/results/new
	rm -rf data/results/LunarLander-v3
	mv data/results/new data/results/LunarLander-v3

results: setup ## the table of all environments with 5 seeds (25 minutes; can be stopped and continued)
	$(BIN)/python scripts/results.py

ablations: setup ## ablations of the training length (2 minutes; can be stopped and continued)
	for env in HalfCheetah-v5 LunarLander-v3; do \
		$(BIN)/python scripts/run_ablation.py --env_name $$env --param num_agent_train_steps_per_iter \
			--values 500 1000 5000 10000 --seeds 5 --outdir data/results/training_steps_$$env || exit 1; \
	done

DRIFT := data/results/drift
drift: setup ## the tables and figures of drift (2 minutes)
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

# gym-pusht requires pygame, which would overwrite pygame-ce, so it is installed without its dependencies.
pusht-env: setup ## install the environment Push-T (gym_pusht/PushT-v0)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[pusht]"
	$(BIN)/pip install --disable-pip-version-check --no-deps gym-pusht==0.1.8

pixels: setup ## CarRacing from pictures (under an hour; can be stopped and continued)
	$(BIN)/python scripts/pixels.py --out data/results/CarRacing-v3

bird: setup ## mse, mixture and flow on a bird that may take either gap (5 minutes; can be stopped and continued)
	$(BIN)/python scripts/heads.py bird

# DEMOS is a file of demonstrations, or the folder where they are found or downloaded to.
DEMOS := data
pusht: pusht-env ## mse, mixture and flow on Push-T (20 minutes; can be stopped and continued; DEMOS=file of demonstrations)
	$(BIN)/python scripts/heads.py pusht --demos $(DEMOS)

labels: setup ## what a label buys: rules of DAgger on five environments (about 2.5 hours; can be stopped and continued)
	$(BIN)/python scripts/label_cost.py

finetune: setup ## PPO from clones, with and without protection, and from nothing (40 minutes; can be stopped and continued)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[sb3]"
	$(BIN)/python scripts/finetune_study.py

TAUGHT := data/results/teacher
teaching: setup ## the curves of teaching with a scripted teacher (3 minutes)
	rm -rf $(TAUGHT)/*/
	$(BIN)/python scripts/teach.py --env_name MountainCar-v0 --teacher scripted --episodes 10 --eval_every 1 \
		--eval_episodes 20 --logdir $(TAUGHT)/MountainCar-v0/run
	$(BIN)/python scripts/teach.py --env_name LunarLander-v3 --teacher scripted --episodes 60 --disagreement_steps 3 \
		--eval_episodes 20 --logdir $(TAUGHT)/LunarLander-v3/run
	for env in MountainCar-v0 LunarLander-v3; do cp $(TAUGHT)/$$env/run/curve.png $(TAUGHT)/$$env.png || exit 1; done

tutorial: setup ## execute scripts/tutorial.ipynb, and store its outputs in it (half a minute)
	$(BIN)/python tests/tutorial.py

chaos: setup ## kill runs at 100 random moments, and compare them with runs that were not killed (up to 30 minutes)
	$(BIN)/python scripts/chaos.py

fuzz: setup ## read 20,000 damaged and hostile files of each kind (30 minutes)
	$(BIN)/python -m pytest -q tests/fuzz --hypothesis-profile=large

soak: setup ## check that a long run does not grow in memory, open files or threads (30 minutes)
	$(BIN)/python scripts/soak.py

test: setup ## the whole test suite (3 to 6 minutes)
	$(BIN)/python -m pytest -n 2 -q

test-sb3: setup ## Stable-Baselines3: zips read here and written for it, PPO from clones (installs it)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[sb3]"
	$(BIN)/python -m pytest -q -m sb3

test-formats: setup ## data sets that Minari itself writes, in HDF5 and Arrow (installs it, 20 MB)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[minari]"
	$(BIN)/python -m pytest -q -m formats

test-ray: setup ## ablations on a Ray cluster of two nodes, of which one dies (installs Ray, 240 MB)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[ray]"
	$(BIN)/python -m pytest -q -m ray

test-slow: setup ## compile the steps of more heads, also in many processes at once (1 minute)
	$(BIN)/python -m pytest -n 2 -q -m slow

test-pusht: pusht-env ## the row of Push-T in ENVS (installs gym-pusht, 80 MB)
	$(BIN)/python -m pytest -q -m pusht

test-wandb: setup ## a run that Weights & Biases records without a network (installs it, 100 MB)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[wandb]"
	$(BIN)/python -m pytest -q -m wandb

test-wheel: setup ## build a wheel, install it into a new environment, and use it in another folder (2 minutes)
	$(BIN)/python -m pytest -q -m wheel

test-gpu: setup ## compare training on a GPU with the CPU (needs a GPU, and a torch build for it)
	$(BIN)/python -m pytest -q -m gpu

browser: setup
	@command -v chromium || command -v chromium-browser || command -v google-chrome || \
		{ echo "error: these tests need a browser; apt-get install chromium" >&2; exit 2; }
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[browser]"

test-browser: browser ## test the teacher's page in Chromium (installs Playwright, 140 MB; 2 minutes)
	$(BIN)/python -m pytest -q -s -m browser

test-browser-slow: browser ## measure frames and delays of the page, and teach LunarLander in it (8 minutes)
	$(BIN)/python -m pytest -q -s -m browser_slow

page-picture: browser ## the screenshot of the teacher's page (2 minutes)
	$(BIN)/python tests/teacher/browsing.py data/results/teacher/page.png

test-experts: setup ## a short training of an expert (installs JAX; a few minutes)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e ".[experts]"
	$(BIN)/python -m pytest -q -m experts

lint: setup ## check code and format with ruff, as CI does
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean: ## remove .venv and all run folders
	rm -rf .venv data/q1_* data/q2_* data/rl_* data/teach_* data/demo data/demo_[0-9]* data/ablation_* data/diagnosis* data/report* data/pixels data/pixels_quick data/labels* data/finetune
