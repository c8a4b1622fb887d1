"""What an instructor does with a class: hand out, grade, report."""
