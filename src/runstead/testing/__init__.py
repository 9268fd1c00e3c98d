"""What tests of the runtime, and of adapters written elsewhere, are made of. Imported by no product code."""
