//! Shell patterns, as xattr names may be asked for with.

/// Whether `text` matches `pattern`: `*`, `?` and `[...]` (with ranges and `!`) as in fnmatch(3) without flags.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to resume if what follows the last star does not match: one more byte goes to the star.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => class(&pattern[p..], text[t]).map(|len| p + len),
            Some(b'\\') => (pattern.get(p + 1) == Some(&text[t])).then_some(p + 2),
            Some(c) => (*c == text[t]).then_some(p + 1),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => (p, t) = (next, t + 1),
            (None, Some((resume, taken))) => {
                star = Some((resume, taken + 1));
                (p, t) = (resume, taken + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|c| *c == b'*')
}

/// Matches the bracket expression that `pattern` begins with: its length if `c` is in it. One that is not closed is an
/// ordinary `[`.
fn class(pattern: &[u8], c: u8) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = if negated { 2 } else { 1 };
    let Some(close) = pattern
        .iter()
        .skip(first + 1)
        .position(|b| *b == b']')
        .map(|at| at + first + 1)
    else {
        return (c == b'[').then_some(1);
    };
    let mut set = &pattern[first..close];
    let mut found = false;
    while let Some((low, rest)) = set.split_first() {
        if let [b'-', high, rest @ ..] = rest {
            found |= (*low..=*high).contains(&c);
            set = rest;
        } else {
            found |= *low == c;
            set = rest;
        }
    }
    (found != negated).then_some(close + 1)
}

/// Whether `pattern` has any special byte; otherwise it matches itself only.
pub(super) fn is_pattern(pattern: &[u8]) -> bool {
    pattern.iter().any(|b| matches!(b, b'*' | b'?' | b'[' | b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, expected) in [
            ("trusted.afr.*", "trusted.afr.dirty", true),
            ("trusted.afr.*", "trusted.af", false),
            ("*", "", true),
            ("*.dirty", "trusted.afr.dirty", true),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("user.?", "user.a", true),
            ("user.?", "user.", false),
            ("user.[a-c]", "user.b", true),
            ("user.[!a-c]", "user.b", false),
            ("user.[!a-c]", "user.z", true),
            ("user.[", "user.[", true),
            ("user.\\*", "user.*", true),
            ("user.\\*", "user.x", false),
            ("user.a", "user.ab", false),
            ("", "", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
