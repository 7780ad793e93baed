//! Contents that compress about as well as programs do, shared by the tests.

/// Words out of a small stock, in an order without a pattern.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = (state % 5_000).wrapping_mul(2_654_435_761);
        bytes.extend_from_slice(&word.to_le_bytes()[..4 + (state >> 60) as usize % 4]);
    }
    bytes.truncate(size);
    bytes
}
