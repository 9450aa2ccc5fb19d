"""SELECTs that answer with plain values; nothing here decides anything."""
