"""Masters to notebooks to pages."""
