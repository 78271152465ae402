"""What is measured, against a floor measured in the same run, as ratios."""
