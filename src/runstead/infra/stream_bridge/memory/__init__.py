"""The stream bridge of the embedded profile: memory first, files beyond a bound."""
