//! The pipeline: from variants and sources to images.
