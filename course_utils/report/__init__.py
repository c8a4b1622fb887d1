"""What a lesson says: numbers, claims, figures."""
