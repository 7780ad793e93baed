//! What an earlier matrix had of the same images.

use super::{Before, MatrixEntry, SizeMatrix};

impl SizeMatrix {
    /// Notes at each entry what the same image was in an earlier matrix, and which images are gone. `name` says which
    /// matrix that is. The same image is one of the same variant for the same platform; of several the one with the
    /// same tag, else the last.
    pub fn compare(&mut self, earlier: &SizeMatrix, name: &str) {
        self.since = Some(name.to_owned());
        for entry in &mut self.entries {
            entry.before = earlier.same_image(entry).map(|before| Before {
                tag: before.tag.clone(),
                compressed: before.compressed,
                extracted: before.extracted,
            });
        }
        let gone = earlier.entries.iter().filter(|old| self.same_image(old).is_none());
        let mut gone: Vec<_> = gone.map(|old| (old.variant.clone(), old.platform)).collect();
        gone.dedup();
        self.gone = gone;
    }

    /// The image here that an image elsewhere has become, or was.
    pub fn same_image(&self, other: &MatrixEntry) -> Option<&MatrixEntry> {
        let same = |entry: &&MatrixEntry| entry.variant == other.variant && entry.platform == other.platform;
        let tagged = self.entries.iter().filter(same).find(|entry| entry.tag == other.tag);
        tagged.or_else(|| self.entries.iter().rfind(same))
    }
}
