"""Model cards, loading, the layer walk."""


def __getattr__(name: str) -> object:
    """Import `load` on first use: it needs transformers, which takes seconds."""
    if name == "load":
        from course_utils.models.loading import load  # noqa: PLC0415

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
