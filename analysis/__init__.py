"""From counts to conclusions: thresholds with their origin, corrected counts, agreement with a known truth, figures."""
