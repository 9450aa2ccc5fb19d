"""Measurements of Throughline beside plain baselines; never a test."""
