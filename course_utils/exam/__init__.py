"""Items whose keys are computed."""
