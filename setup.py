"""Package metadata. Install with `pip install -e . -c constraints.txt`, or with `make setup`."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SHIPPED = {
    "experts": ["*.npz"],
    "data/demos": ["*.npz"],
    "scripts": """run_hw1.py run_pusht.py evaluate.py record_demos.py convert.py doctor.py run_ablation.py
        diagnose.py report.py teach.py demo.py results.py pixels.py heads.py label_cost.py
        export.py finetune.py finetune_study.py""".split(),
}
"""The files outside the package that a wheel contains, in `rl_il/shipped/`. A checkout uses them where they are."""


class BuildWithFiles(build_py):
    """Copy the files into the build folder, not into the source, which `pip install -e` uses."""

    def run(self):
        """Build the package, and copy the files."""
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(Path(self.build_lib, "rl_il"), ignore_errors=True)  # an earlier build may have had other files
        super().run()
        for folder, patterns in SHIPPED.items():
            target = Path(self.build_lib, "rl_il", "shipped", folder)
            target.mkdir(parents=True)
            for pattern in patterns:
                found = sorted(Path(folder).glob(pattern))
                if not found:
                    raise FileNotFoundError(f"{folder}/{pattern}: no such file; build in a complete checkout")
                for path in found:
                    shutil.copy(path, target)


setup(
    name="rl_il",
    version="0.1.0",
    description="Behavioural cloning and DAgger in PyTorch",
    license="MIT",
    packages=find_packages(include=["rl_il", "rl_il.*"]),
    package_data={"rl_il.report": ["page.html"], "rl_il.teacher": ["static/*"]},
    cmdclass={"build_py": BuildWithFiles},
    entry_points={"console_scripts": ["rl-il = rl_il.__main__:main"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "numpy>=1.26",
        "gymnasium[box2d,mujoco]>=1.2",
        "tensorboardX>=2.6",
        "imageio>=2.34",
        "matplotlib>=3.8",
        "tqdm>=4.66",
        "Jinja2>=3.1",
        "pillow>=10",
        "websockets>=13",
        "filelock>=3.12",
        "platformdirs>=4",
    ],
    extras_require={
        "mp4": ["imageio-ffmpeg>=0.5"],
        "hub": ["huggingface_hub>=0.23"],
        "sb3": ["stable-baselines3>=2.7"],
        "experts": ["sbx-rl>=0.24"],
        "ray": ["ray>=2.40"],
        "mlflow": ["mlflow>=2.14"],
        "wandb": ["wandb>=0.17"],
        "browser": ["playwright>=1.50"],
        "hdf5": ["h5py>=3.10"],
        "zarr": ["zarr>=2.18"],
        "arrow": ["pyarrow>=16"],
        "minari": ["minari[create]>=0.5"],
        "pusht": ["pymunk>=6.6,<7", "shapely>=2", "opencv-python-headless>=4.9"],  # `make pusht-env` adds gym-pusht
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff>=0.8",
            "tensorboard>=2.16",
            "imageio-ffmpeg>=0.5",
            "h5py>=3.10",
            "zarr>=2.18",
            "pyarrow>=16",
            "nbclient>=0.10",
            "ipykernel>=6.29",
        ],
    },
)
