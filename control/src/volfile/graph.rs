//! The syntax tree of a volfile: a list of xlators, bottom-up, and look-ups on it. Nothing is interpreted here but
//! names; what an option means is the business of the xlator that owns it.

/// One `volume … end-volume` block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xlator {
    /// The block's name. It appears in xattr names and lock domains, so it is a contract, not a label.
    pub name: String,
    /// CATEGORY/NAME, e.g. `protocol/client`.
    pub kind: String,
    /// Options in file order; a key occurs once (the last value won).
    pub options: Vec<(String, String)>,
    /// Names of the subvolumes, in order. All of them are defined earlier in the graph.
    pub subvolumes: Vec<String>,
}

impl Xlator {
    /// An xlator without options and subvolumes.
    pub fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind: kind.into(),
            options: Vec::new(),
            subvolumes: Vec::new(),
        }
    }

    /// The value of an option, or None if the volfile does not give it (the xlator's default applies).
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The value of a boolean option in any of the spellings of wire-protocol.md 5.1; None if absent or not boolean.
    pub fn option_bool(&self, key: &str) -> Option<bool> {
        parse_bool(self.option(key)?)
    }

    /// Sets an option; an earlier value of the key is replaced in place.
    pub fn set_option(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        match self.options.iter_mut().find(|(k, _)| *k == key) {
            Some((_, old)) => *old = value,
            None => self.options.push((key, value)),
        }
    }
}

/// A boolean in GlusterFS's spellings: on/yes/true/enable/1 and off/no/false/disable/0, in any case.
pub fn parse_bool(text: &str) -> Option<bool> {
    const TRUE: [&str; 5] = ["on", "yes", "true", "enable", "1"];
    const FALSE: [&str; 5] = ["off", "no", "false", "disable", "0"];
    if TRUE.iter().any(|t| t.eq_ignore_ascii_case(text)) {
        Some(true)
    } else if FALSE.iter().any(|t| t.eq_ignore_ascii_case(text)) {
        Some(false)
    } else {
        None
    }
}

/// A whole volfile. There is always at least one xlator when it came from [`Graph::parse`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Graph {
    /// The xlators bottom-up: a subvolume stands before its parent, the last one is the top.
    pub xlators: Vec<Xlator>,
}

impl Graph {
    /// The xlator of that name.
    pub fn get(&self, name: &str) -> Option<&Xlator> {
        self.xlators.iter().find(|x| x.name == name)
    }

    /// The top of the graph: the last block.
    pub fn top(&self) -> Option<&Xlator> {
        self.xlators.last()
    }

    /// All xlators of a type (`protocol/client`), bottom-up.
    pub fn by_type<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Xlator> + 'a {
        self.xlators.iter().filter(move |x| x.kind == kind)
    }

    /// The first xlator of a type.
    pub fn first_of_type<'a>(&'a self, kind: &'a str) -> Option<&'a Xlator> {
        self.by_type(kind).next()
    }

    /// The subvolumes of an xlator, in its order.
    pub fn children<'a>(&'a self, xlator: &'a Xlator) -> impl Iterator<Item = &'a Xlator> + 'a {
        xlator.subvolumes.iter().filter_map(|name| self.get(name))
    }

    /// Applies one `--xlator-option NAME.KEY=VALUE` (wire-protocol.md 5.1): NAME is a shell pattern on xlator names.
    /// Answers how many xlators it matched.
    ///
    /// # Errors
    /// The argument as text if it is not of the form NAME.KEY=VALUE.
    pub fn apply_xlator_option(&mut self, argument: &str) -> Result<usize, String> {
        let bad = || format!("'{argument}' is not of the form XLATOR.KEY=VALUE");
        let (name_key, value) = argument.split_once('=').ok_or_else(bad)?;
        let (pattern, key) = name_key.split_once('.').ok_or_else(bad)?;
        if pattern.is_empty() || key.is_empty() {
            return Err(bad());
        }
        let mut matched = 0;
        for xlator in self.xlators.iter_mut().filter(|x| pattern_matches(pattern, &x.name)) {
            xlator.set_option(key, value);
            matched += 1;
        }
        Ok(matched)
    }
}

/// Shell pattern with `*` and `?`; every other character stands for itself.
fn pattern_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to resume when a literal fails: after the last star, one character further in the text.
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = text.get(t) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p + 1, t));
                p += 1;
            }
            Some(&want) if want == '?' || want == c => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(p).all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph() -> Graph {
        let mut posix = Xlator::new("v-posix", "storage/posix");
        posix.set_option("directory", "/b");
        let mut server = Xlator::new("v-server", "protocol/server");
        server.set_option("x", "1");
        server.subvolumes.push("v-posix".into());
        Graph {
            xlators: vec![posix, server],
        }
    }

    #[test]
    fn looks_up_by_name_type_and_position() {
        let graph = graph();
        assert_eq!(graph.top().unwrap().name, "v-server");
        assert_eq!(
            graph.first_of_type("storage/posix").unwrap().option("directory"),
            Some("/b")
        );
        assert_eq!(
            graph
                .children(graph.top().unwrap())
                .map(|x| x.name.as_str())
                .collect::<Vec<_>>(),
            ["v-posix"]
        );
        assert_eq!(graph.by_type("debug/trace").count(), 0);
    }

    #[test]
    fn xlator_options_override_by_pattern() {
        let mut graph = graph();
        assert_eq!(graph.apply_xlator_option("*-posix.glusterd-uuid=7b72"), Ok(1));
        assert_eq!(graph.get("v-posix").unwrap().option("glusterd-uuid"), Some("7b72"));
        assert_eq!(graph.apply_xlator_option("v-server.listen-port=5=0"), Ok(1));
        assert_eq!(graph.get("v-server").unwrap().option("listen-port"), Some("5=0"));
        assert_eq!(graph.apply_xlator_option("*.x=2"), Ok(2));
        assert_eq!(graph.apply_xlator_option("nothing.x=2"), Ok(0));
        assert!(graph.apply_xlator_option("posix").is_err());
        assert!(graph.apply_xlator_option(".k=v").is_err());
    }

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("*replicate*", "0001-replicate-0", true),
            ("*-posix", "a-posix-posix", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("", "x", false),
        ] {
            assert_eq!(pattern_matches(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn booleans_in_every_spelling() {
        assert_eq!(parse_bool("Enable"), Some(true));
        assert_eq!(parse_bool("OFF"), Some(false));
        assert_eq!(parse_bool("maybe"), None);
    }
}
