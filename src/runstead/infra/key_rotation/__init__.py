"""Key rotation: count which keys are in use, and encrypt stored values with the current one."""
