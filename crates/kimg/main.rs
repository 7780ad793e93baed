//! The kimg program.

fn main() {}
