# Targets are described in README.md.
