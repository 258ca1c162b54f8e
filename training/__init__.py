"""Training: labelled feedback in, a registered bundle out."""
