"""Package metadata. Install with `pip install -e . -c constraints.txt`, or with `make setup`."""

from setuptools import find_packages, setup

setup(
    name="rl_il",
    version="0.1.0",
    description="Behavioural cloning and DAgger that read like the algorithms in the book",
    license="MIT",
    packages=find_packages(include=["rl_il", "rl_il.*"]),
    package_data={"rl_il.report": ["page.html"], "rl_il.teacher": ["static/*"]},
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
    ],
    extras_require={
        "mp4": ["imageio-ffmpeg>=0.5"],
        "hub": ["huggingface_hub>=0.23"],
        "sb3": ["stable-baselines3>=2.7"],
        "experts": ["sbx-rl>=0.24"],
        "ray": ["ray>=2.40"],
        "mlflow": ["mlflow>=2.14"],
        "browser": ["playwright>=1.50"],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "hypothesis>=6.100",
            "ruff>=0.8",
            "tensorboard>=2.16",
            "imageio-ffmpeg>=0.5",
        ],
    },
)
