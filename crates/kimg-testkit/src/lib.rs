//! For tests: wrappers around the outside programs that judge, and visible skips.
