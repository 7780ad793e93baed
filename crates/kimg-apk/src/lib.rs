//! Reads signed Alpine packages and repositories, chooses packages, and lays them out as a file tree.
