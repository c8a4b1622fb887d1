"""Number grids and byte layouts: encode and decode pairs."""
