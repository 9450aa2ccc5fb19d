"""The pure core: identity, rules, fold, facts. No I/O, no clock, no randomness."""
