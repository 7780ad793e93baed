//! Where inputs come from: folders and mirrors, the cache, the lock, programs of one's own.
