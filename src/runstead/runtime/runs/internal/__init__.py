"""How runs are carried out. Imported by `runstead.runtime.runs` alone."""
