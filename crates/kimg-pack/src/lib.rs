//! Packs programs with UPX, behind a gate that keeps what does not start or does not shrink.
