//! Closures over trees made up for the purpose, and over real packages with the real loaders as judges.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod broken;
mod cost;
mod debian;
mod elf_writer;
mod every_file;
mod glibc_loader;
mod hostile;
mod loader;
mod needs;
mod reads;
mod real;
mod real_tree;
mod rules;
mod scripts;
mod search;
mod symbols;
mod trees;
mod words;
