//! "Did you mean": the option whose name is nearest to one that does not exist.

use super::table;

/// The name to offer for an unknown option name. A name with a dot is compared with full names, one without with the
/// part behind the first dot. None only if the table were empty.
pub fn did_you_mean(name: &str) -> Option<&'static str> {
    let candidates = table().map(|o| match name.contains('.') {
        true => o.key,
        false => o.key.split_once('.').map_or(o.key, |(_, rest)| rest),
    });
    candidates.min_by_key(|candidate| distance(name, candidate))
}

/// Edits (insert, remove, replace a character, swap two neighbours) that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &ca) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &cb) in b.iter().enumerate() {
            let at = |r: &[usize], k: usize| r.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(ca != cb))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(&cb) && b.get(j - 1) == Some(&ca) {
                best = best.min(at(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_the_nearest_name() {
        assert_eq!(did_you_mean("cluster.eager-lok"), Some("cluster.eager-lock"));
        assert_eq!(did_you_mean("cluster.quorum-typ"), Some("cluster.quorum-type"));
        assert_eq!(did_you_mean("pign-timeout"), Some("ping-timeout"));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abcd", "abdc"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
