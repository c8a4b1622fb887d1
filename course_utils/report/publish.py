"""Put one output into the notebook, or print it where there is no notebook."""

from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display


def publish(data: dict[str, str], metadata: dict[str, dict] | None = None) -> None:
    """Show one output that holds the same thing in several MIME types.

    `data` must hold "text/plain": that is what a plain Python session prints.
    """
    if InteractiveShell.initialized():
        display(data, raw=True, metadata=metadata or {})
    else:
        print(data["text/plain"])
