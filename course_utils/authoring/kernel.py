"""The kernel that notebooks are executed in: this Python, and a fixed environment."""

import os

import ipykernel.kernelspec
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from traitlets import default

from course_utils.authoring.project import COMMITTED_PROFILE

# Set and dictionary order, pictures and progress bars must not differ between runs.
FIXED = {
    "PYTHONHASHSEED": "0",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
}

# What would make the profile of the committed outputs another one.
OVERRULING = ("COURSE_MODEL", "COURSE_ARCH")


def environment(profile: str | None) -> dict[str, str]:
    """Return the environment of a kernel.

    Args:
        profile: Value of COURSE_PROFILE; None lets the library choose.
    """
    env = dict(os.environ) | FIXED
    if profile:
        env["COURSE_PROFILE"] = profile
    if profile == COMMITTED_PROFILE:
        for name in OVERRULING:
            env.pop(name, None)
    return env


class _ThisPython(KernelSpecManager):
    """Knows one kernel: the Python that runs this, whatever is installed elsewhere."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the kernel of this Python under any name."""
        del kernel_name
        spec = ipykernel.kernelspec.get_kernel_dict()
        return KernelSpec(resource_dir=ipykernel.kernelspec.RESOURCES, **spec)


class Manager(AsyncKernelManager):
    """Starts kernels of this Python."""

    @default("kernel_spec_manager")
    def _default_kernel_spec_manager(self) -> KernelSpecManager:
        return _ThisPython(parent=self)
