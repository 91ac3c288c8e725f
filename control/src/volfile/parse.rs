//! Builds a [`Graph`] from tokens and checks what the grammar demands of a graph (wire-protocol.md 5.1).

use std::collections::HashSet;

use super::error::{VolfileError, VolfileErrorKind};
use super::graph::{Graph, Xlator};
use super::lexer::{Token, TokenKind, tokens};

impl Graph {
    /// Reads the text of a volfile.
    ///
    /// A repeated option key is logged and the last value wins. Unknown options and types are kept: whoever uses the
    /// graph decides about them.
    ///
    /// # Errors
    /// The first violation of the grammar, with its line. No input panics.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, VolfileError> {
        let tokens = tokens(text.as_ref())?;
        let last_line = tokens.last().map_or(1, |t| t.line);
        let mut parser = Parser {
            tokens: tokens.into_iter(),
            last_line,
            names: HashSet::new(),
        };
        let mut graph = Self::default();
        while let Some(xlator) = parser.block()? {
            graph.xlators.push(xlator);
        }
        if graph.xlators.is_empty() {
            return Err(VolfileError {
                line: 1,
                kind: VolfileErrorKind::Empty,
            });
        }
        Ok(graph)
    }
}

struct Parser {
    tokens: std::vec::IntoIter<Token>,
    /// Where the text ends, for errors about what is missing.
    last_line: usize,
    names: HashSet<String>,
}

impl Parser {
    /// The next block, or None at the end of the text.
    fn block(&mut self) -> Result<Option<Xlator>, VolfileError> {
        let Some(start) = self.tokens.next() else {
            return Ok(None);
        };
        if start.kind != TokenKind::Volume {
            return Err(unexpected(start, "'volume'"));
        }
        let (line, name) = self.word("the name of a volume")?;
        if !self.names.insert(name.clone()) {
            return Err(VolfileError {
                line,
                kind: VolfileErrorKind::DuplicateVolume(name),
            });
        }
        let mut xlator = Xlator::new(name, self.type_line()?);
        self.body(&mut xlator)?;
        Ok(Some(xlator))
    }

    fn type_line(&mut self) -> Result<String, VolfileError> {
        let token = self.token("'type'")?;
        if token.kind != TokenKind::Type {
            return Err(unexpected(token, "'type'"));
        }
        let (line, kind) = self.word("a type of the form CATEGORY/NAME")?;
        match kind.split_once('/') {
            Some((category, name)) if !category.is_empty() && !name.is_empty() => Ok(kind),
            _ => Err(VolfileError {
                line,
                kind: VolfileErrorKind::BadType(kind),
            }),
        }
    }

    /// Options and subvolumes up to `end-volume`.
    fn body(&mut self, xlator: &mut Xlator) -> Result<(), VolfileError> {
        let mut has_subvolumes = false;
        loop {
            let token = self.token("'end-volume'")?;
            match token.kind {
                TokenKind::Option => self.option(xlator)?,
                TokenKind::Subvolumes if has_subvolumes => {
                    let kind = VolfileErrorKind::DuplicateSubvolumes(xlator.name.clone());
                    return Err(VolfileError { line: token.line, kind });
                }
                TokenKind::Subvolumes => {
                    has_subvolumes = true;
                    self.subvolumes(xlator)?;
                }
                TokenKind::Type => {
                    let kind = VolfileErrorKind::DuplicateType(xlator.name.clone());
                    return Err(VolfileError { line: token.line, kind });
                }
                TokenKind::EndVolume if xlator.options.is_empty() && !has_subvolumes => {
                    let kind = VolfileErrorKind::EmptyBlock(xlator.name.clone());
                    return Err(VolfileError { line: token.line, kind });
                }
                TokenKind::EndVolume => return Ok(()),
                TokenKind::Volume | TokenKind::Word(_) => {
                    return Err(unexpected(token, "'option', 'subvolumes' or 'end-volume'"));
                }
            }
        }
    }

    fn option(&mut self, xlator: &mut Xlator) -> Result<(), VolfileError> {
        let (line, key) = self.word("the key of an option")?;
        let (_, value) = self.word("the value of an option")?;
        if let Some(old) = xlator.option(&key) {
            tracing::warn!(line, volume = %xlator.name, key, old, new = %value, "option given twice, the last value wins");
        }
        xlator.set_option(key, value);
        Ok(())
    }

    fn subvolumes(&mut self, xlator: &mut Xlator) -> Result<(), VolfileError> {
        let mut next = self.word("the name of a subvolume")?;
        loop {
            let (line, subvolume) = next;
            // A block may not stand below itself, so its own name does not count as defined.
            if subvolume == xlator.name || !self.names.contains(&subvolume) {
                let kind = VolfileErrorKind::UnknownSubvolume {
                    volume: xlator.name.clone(),
                    subvolume,
                };
                return Err(VolfileError { line, kind });
            }
            xlator.subvolumes.push(subvolume);
            match self.tokens.as_slice().first() {
                Some(Token {
                    kind: TokenKind::Word(_),
                    ..
                }) => next = self.word("the name of a subvolume")?,
                _ => return Ok(()),
            }
        }
    }

    fn token(&mut self, expected: &'static str) -> Result<Token, VolfileError> {
        let missing = VolfileError {
            line: self.last_line,
            kind: VolfileErrorKind::UnexpectedEnd { expected },
        };
        self.tokens.next().ok_or(missing)
    }

    fn word(&mut self, expected: &'static str) -> Result<(usize, String), VolfileError> {
        let token = self.token(expected)?;
        match token.kind {
            TokenKind::Word(word) => Ok((token.line, word)),
            _ => Err(unexpected(token, expected)),
        }
    }
}

fn unexpected(token: Token, expected: &'static str) -> VolfileError {
    let kind = VolfileErrorKind::Unexpected {
        found: token.kind.text().to_string(),
        expected,
    };
    VolfileError { line: token.line, kind }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "volume a\n type storage/posix\n option directory /b # where\nend-volume\n\
                        volume b\n type x/y\n option k 1\n subvolumes a\n option k 2\nend-volume\n";

    fn error(text: &str) -> (usize, VolfileErrorKind) {
        let error = Graph::parse(text).unwrap_err();
        (error.line, error.kind)
    }

    #[test]
    fn reads_blocks_bottom_up_and_lets_the_last_value_win() {
        let graph = Graph::parse(GOOD).unwrap();
        assert_eq!(graph.xlators.len(), 2);
        let top = graph.top().unwrap();
        assert_eq!(
            (top.name.as_str(), top.kind.as_str(), top.option("k")),
            ("b", "x/y", Some("2"))
        );
        assert_eq!(top.subvolumes, ["a"]);
    }

    #[test]
    fn line_structure_has_no_meaning() {
        let one_line = GOOD.replace(" # where", "").replace('\n', " ");
        assert_eq!(Graph::parse(one_line), Graph::parse(GOOD));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        use VolfileErrorKind as K;
        assert_eq!(error(""), (1, K::Empty));
        assert_eq!(error("# only\n"), (1, K::Empty));
        assert_eq!(
            error("\nend-volume"),
            (
                2,
                K::Unexpected {
                    found: "end-volume".into(),
                    expected: "'volume'"
                }
            )
        );
        assert_eq!(
            error("volume a option x y"),
            (
                1,
                K::Unexpected {
                    found: "option".into(),
                    expected: "'type'"
                }
            )
        );
        assert_eq!(error("volume a\ntype posix\n"), (2, K::BadType("posix".into())));
        assert_eq!(error("volume a\ntype a/b\nend-volume"), (3, K::EmptyBlock("a".into())));
        assert_eq!(error("volume a\ntype a/b\ntype a/b"), (3, K::DuplicateType("a".into())));
        assert_eq!(
            error("volume a\ntype a/b\noption k v"),
            (
                3,
                K::UnexpectedEnd {
                    expected: "'end-volume'"
                }
            )
        );
        let twice = "volume a type x/y option k v end-volume\nvolume a type x/y option k v end-volume";
        assert_eq!(error(twice), (2, K::DuplicateVolume("a".into())));
        let unknown = |v: &str, s: &str| K::UnknownSubvolume {
            volume: v.into(),
            subvolume: s.into(),
        };
        assert_eq!(
            error("volume a type x/y\nsubvolumes b\nend-volume"),
            (2, unknown("a", "b"))
        );
        assert_eq!(
            error("volume a type x/y\nsubvolumes a\nend-volume"),
            (2, unknown("a", "a"))
        );
        let two = GOOD.replace("option k 2", "subvolumes a");
        assert_eq!(error(&two), (9, K::DuplicateSubvolumes("b".into())));
        let value = K::Unexpected {
            found: "end-volume".into(),
            expected: "the value of an option",
        };
        assert_eq!(error("volume a type x/y option k\nend-volume"), (2, value));
    }

    #[test]
    fn error_text_names_line_and_cause() {
        let text = Graph::parse("volume a\ntype posix\n").unwrap_err().to_string();
        assert_eq!(text, "line 2: type 'posix' is not of the form CATEGORY/NAME");
    }

    /// Words of every shape, including ones that need quoting.
    fn any_word() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9./*:-]{1,12}",
            "[ -_a-~\t\n]{0,12}",
            Just("volume".to_string()),
            Just("#x".to_string())
        ]
    }

    prop_compose! {
        fn any_graph()(blocks in prop::collection::vec(
            (any_word(), prop::collection::vec((any_word(), any_word()), 1..5), prop::collection::vec(any::<u8>(), 0..4)),
            1..6,
        )) -> Graph {
            let mut graph = Graph::default();
            for (i, (name, options, below)) in blocks.into_iter().enumerate() {
                let mut xlator = Xlator::new(format!("{name}{i}"), "x/y");
                for (key, value) in options {
                    xlator.set_option(key, value);
                }
                for pick in below {
                    if i > 0 {
                        xlator.subvolumes.push(graph.xlators[pick as usize % i].name.clone());
                    }
                }
                graph.xlators.push(xlator);
            }
            graph
        }
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back(graph in any_graph()) {
            let text = graph.to_text().unwrap();
            prop_assert_eq!(Graph::parse(text).unwrap(), graph);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Graph::parse(bytes);
        }

        /// A good file with a few bytes overwritten, removed or doubled: an answer, never a panic, and whatever is
        /// accepted keeps the promises of a graph.
        #[test]
        fn a_damaged_volfile_is_refused_or_is_a_graph(hits in prop::collection::vec((any::<u16>(), any::<u8>(), 0..3u8), 1..6)) {
            let mut text = GOOD.as_bytes().to_vec();
            for (at, byte, what) in hits {
                let at = at as usize % text.len();
                match what {
                    0 => text[at] = byte,
                    1 => { text.remove(at); }
                    _ => text.insert(at, byte),
                }
            }
            if let Ok(graph) = Graph::parse(&text) {
                for (i, xlator) in graph.xlators.iter().enumerate() {
                    prop_assert!(xlator.subvolumes.iter().all(|s| graph.xlators[..i].iter().any(|x| x.name == *s)));
                }
            }
        }
    }
}
