"""What clients speak: one pure file a dialect, from bytes and headers to raw touchpoints."""
