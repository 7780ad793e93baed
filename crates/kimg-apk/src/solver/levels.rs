//! Sets of decisions, by number: which choices a conclusion rests on.

/// A set of decision numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Levels(Vec<u64>);

impl Levels {
    /// The set of this decision alone.
    pub(super) fn of(level: usize) -> Self {
        let mut words = vec![0; level / 64 + 1];
        words[level / 64] = 1 << (level % 64);
        Self(words)
    }

    /// Adds all of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    /// Takes out the latest decision, if there is one.
    pub(super) fn pop_latest(&mut self) -> Option<usize> {
        while let Some(word) = self.0.last_mut() {
            if *word == 0 {
                self.0.pop();
                continue;
            }
            let bit = 63 - word.leading_zeros() as usize;
            *word &= !(1 << bit);
            return Some((self.0.len() - 1) * 64 + bit);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_decision_comes_out_first() {
        let mut levels = Levels::of(3);
        levels.add(&Levels::of(130));
        levels.add(&Levels::of(64));
        assert_eq!([(); 4].map(|()| levels.pop_latest()), [Some(130), Some(64), Some(3), None]);
    }
}
