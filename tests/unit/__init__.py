"""Tests of pure rooms."""
