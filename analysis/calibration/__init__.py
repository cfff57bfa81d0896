"""From a thresholded count to a frequency: estimators that correct it, their intervals, and what each is worth."""
