//! Closures over trees made up for the purpose, and over real packages with the real loaders as judges.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod broken;
mod elf_writer;
mod loader;
mod reads;
mod real;
mod real_tree;
mod rules;
mod scripts;
mod search;
mod trees;
mod words;
