//! Names that look like one that nobody has.

use super::universe::Universe;

/// At most three names that may have been meant, the nearest first.
pub(super) fn names(universe: &Universe<'_>, wanted: &str) -> Vec<String> {
    let bare = bare(wanted);
    let most = (bare.len() / 4).clamp(1, 3);
    let mut found: Vec<(usize, &str)> = universe
        .all_names()
        .filter(|name| name.len() < 100 && bare.len() < 100)
        .filter_map(|name| {
            // The same word under another prefix, such as cmd:mount for mount, is nearer than another word.
            let other = self::bare(name);
            let distance = if other == bare { 0 } else { distance(other, bare, most)? * 2 };
            let same_kind = name.contains(':') == wanted.contains(':');
            Some((distance * 2 + usize::from(!same_kind), name))
        })
        .collect();
    found.sort_unstable();
    found.truncate(3);
    found.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// The name without `cmd:`, `so:`, `pc:`.
fn bare(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, bare)| bare)
}

/// How many letters have to be changed, put in or left out to get from one to the other; none when over `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (corner + usize::from(letter != other)).min(above + 1).min(row[j] + 1);
            corner = above;
        }
    }
    Some(row[b.len()]).filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn a_letter_put_in_left_out_or_changed_counts_one() {
        assert_eq!(distance("kubelet", "kubelett", 3), Some(1));
        assert_eq!(distance("kubelet", "kubelt", 3), Some(1));
        assert_eq!(distance("kubelet", "kubalet", 3), Some(1));
        assert_eq!(distance("kubelet", "containerd", 3), None);
    }
}
