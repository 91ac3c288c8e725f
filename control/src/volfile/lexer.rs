//! Splits the bytes of a volfile into keywords and words (wire-protocol.md 5.1). It knows nothing of blocks.

use super::error::{VolfileError, VolfileErrorKind};

/// What a token is. Keywords are recognised everywhere; a word that must read like one has to be quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TokenKind {
    Volume,
    Type,
    Option,
    Subvolumes,
    EndVolume,
    Word(String),
}

/// One token and the line (from 1) where it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: TokenKind,
}

impl TokenKind {
    /// The token as a person would write it, for error texts.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Volume => "volume",
            Self::Type => "type",
            Self::Option => "option",
            Self::Subvolumes => "subvolumes",
            Self::EndVolume => "end-volume",
            Self::Word(word) => word,
        }
    }
}

/// Whether an unquoted word would be read as a keyword.
pub(super) fn is_keyword(word: &str) -> bool {
    keyword(word).is_some()
}

fn keyword(word: &str) -> Option<TokenKind> {
    match word {
        "volume" => Some(TokenKind::Volume),
        "type" => Some(TokenKind::Type),
        "option" => Some(TokenKind::Option),
        "subvolumes" | "subvolumeS" => Some(TokenKind::Subvolumes),
        "end-volume" => Some(TokenKind::EndVolume),
        _ => None,
    }
}

/// Whether a byte separates words. Line structure has no meaning beyond that.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Whether a byte may stand in an unquoted word.
fn is_word_byte(byte: u8) -> bool {
    !is_space(byte) && !matches!(byte, b'"' | b'\\')
}

/// All tokens of a text.
pub(super) fn tokens(text: &[u8]) -> Result<Vec<Token>, VolfileError> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut found = Vec::new();
    while let Some(token) = lexer.next_token()? {
        found.push(token);
    }
    Ok(found)
}

struct Lexer<'a> {
    rest: &'a [u8],
    line: usize,
}

impl Lexer<'_> {
    fn next_token(&mut self) -> Result<Option<Token>, VolfileError> {
        loop {
            let Some(&first) = self.rest.first() else {
                return Ok(None);
            };
            match first {
                b if is_space(b) => self.skip(1),
                b'#' => self.skip_while(|b| b != b'\n'),
                b'"' => return self.string().map(Some),
                b'\\' => return Err(self.error(VolfileErrorKind::StrayBackslash)),
                _ => return self.word().map(Some),
            }
        }
    }

    /// Drops `count` bytes and counts the lines in them.
    fn skip(&mut self, count: usize) {
        let (gone, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.line += gone.iter().filter(|&&b| b == b'\n').count();
        self.rest = rest;
    }

    fn skip_while(&mut self, keep_going: impl Fn(u8) -> bool) {
        let count = self
            .rest
            .iter()
            .position(|&b| !keep_going(b))
            .unwrap_or(self.rest.len());
        self.skip(count);
    }

    fn word(&mut self) -> Result<Token, VolfileError> {
        let line = self.line;
        let length = self
            .rest
            .iter()
            .position(|&b| !is_word_byte(b))
            .unwrap_or(self.rest.len());
        let bytes = self.rest.get(..length).unwrap_or_default().to_vec();
        let word = self.checked(bytes)?;
        self.skip(length);
        let kind = keyword(&word).unwrap_or(TokenKind::Word(word));
        Ok(Token { line, kind })
    }

    fn string(&mut self) -> Result<Token, VolfileError> {
        let line = self.line;
        let mut value = Vec::new();
        let mut bytes = self.rest.iter().copied().enumerate().skip(1);
        let end = loop {
            match bytes.next() {
                Some((at, b'"')) => break Some(at),
                Some((_, b'\\')) => match bytes.next() {
                    Some((_, escaped)) => value.push(escaped),
                    None => break None,
                },
                Some((_, byte)) => value.push(byte),
                None => break None,
            }
        };
        let Some(end) = end else {
            return Err(self.error(VolfileErrorKind::UnterminatedString));
        };
        let value = self.checked(value)?;
        self.skip(end + 1);
        Ok(Token {
            line,
            kind: TokenKind::Word(value),
        })
    }

    /// The bytes as text, without the bytes that are never allowed.
    fn checked(&self, bytes: Vec<u8>) -> Result<String, VolfileError> {
        if bytes.contains(&b'`') {
            return Err(self.error(VolfileErrorKind::Backtick));
        }
        if bytes.contains(&0) {
            return Err(self.error(VolfileErrorKind::Nul));
        }
        String::from_utf8(bytes).map_err(|_| self.error(VolfileErrorKind::NotUtf8))
    }

    fn error(&self, kind: VolfileErrorKind) -> VolfileError {
        VolfileError { line: self.line, kind }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        tokens(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(|t| t.kind.text().to_string())
            .collect()
    }

    #[test]
    fn white_space_of_every_kind_separates() {
        assert_eq!(words("a\tb\r\nc  d\n"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_comment_runs_to_the_end_of_the_line_but_only_between_words() {
        assert_eq!(words("a #b \"\n c#d #"), ["a", "c#d"]);
    }

    #[test]
    fn quotes_keep_blanks_and_escapes_and_hide_keywords() {
        let found = tokens(br#""a b" "x\"y\\z" "volume" volume volumes"#).unwrap();
        let kinds: Vec<_> = found.into_iter().map(|t| t.kind).collect();
        let word = |w: &str| TokenKind::Word(w.to_string());
        assert_eq!(
            kinds,
            [
                word("a b"),
                word("x\"y\\z"),
                word("volume"),
                TokenKind::Volume,
                word("volumes")
            ]
        );
    }

    #[test]
    fn lines_are_counted_also_inside_strings() {
        let found = tokens(b"a\n\"b\nc\" d\n\n e").unwrap();
        assert_eq!(found.iter().map(|t| t.line).collect::<Vec<_>>(), [1, 2, 3, 5]);
    }

    #[test]
    fn forbidden_bytes_are_named_with_their_line() {
        let error = |text: &[u8]| tokens(text).unwrap_err();
        assert_eq!(
            error(b"a\nb `rm` c"),
            VolfileError {
                line: 2,
                kind: VolfileErrorKind::Backtick
            }
        );
        assert_eq!(
            error(b"a \"`x`\""),
            VolfileError {
                line: 1,
                kind: VolfileErrorKind::Backtick
            }
        );
        assert_eq!(
            error(b"\n\n\"x"),
            VolfileError {
                line: 3,
                kind: VolfileErrorKind::UnterminatedString
            }
        );
        assert_eq!(
            error(b"x\"a\\"),
            VolfileError {
                line: 1,
                kind: VolfileErrorKind::UnterminatedString
            }
        );
        assert_eq!(
            error(b"a \\b"),
            VolfileError {
                line: 1,
                kind: VolfileErrorKind::StrayBackslash
            }
        );
        assert_eq!(
            error(b"\xff"),
            VolfileError {
                line: 1,
                kind: VolfileErrorKind::NotUtf8
            }
        );
        assert_eq!(
            error(b"\na\0b"),
            VolfileError {
                line: 2,
                kind: VolfileErrorKind::Nul
            }
        );
    }
}
