//! What can be wrong with the text of a volfile. Every error names the line, because that is what the person who
//! edited the file needs first.

use std::fmt;

/// A volfile that could not be accepted, with the line (from 1) where the problem was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolfileError {
    /// Line number, counted from 1.
    pub line: usize,
    /// What was wrong.
    pub kind: VolfileErrorKind,
}

/// The reasons why a volfile is refused (rules: wire-protocol.md 5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum VolfileErrorKind {
    /// The text has no `volume` block at all.
    Empty,
    /// A byte sequence that is not UTF-8.
    NotUtf8,
    /// A NUL byte: the wire form of a volfile is a C string.
    Nul,
    /// Text between back-ticks would be run as a shell command; that is refused.
    Backtick,
    /// A double quote without its partner.
    UnterminatedString,
    /// A backslash outside double quotes.
    StrayBackslash,
    /// A token that has no place here.
    Unexpected {
        /// The token as it stands in the text.
        found: String,
        /// What would have been right.
        expected: &'static str,
    },
    /// The text ended inside a block.
    UnexpectedEnd {
        /// What was still missing.
        expected: &'static str,
    },
    /// Two blocks of one name.
    DuplicateVolume(String),
    /// A second `type` line in one block.
    DuplicateType(String),
    /// A second `subvolumes` line in one block.
    DuplicateSubvolumes(String),
    /// A type that is not CATEGORY/NAME.
    BadType(String),
    /// A block with neither an option nor a subvolumes line.
    EmptyBlock(String),
    /// A subvolume that no earlier block defines.
    UnknownSubvolume {
        /// The block that names it.
        volume: String,
        /// The name that was not found.
        subvolume: String,
    },
}

impl fmt::Display for VolfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.kind)
    }
}

impl std::error::Error for VolfileError {}

impl fmt::Display for VolfileErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "the volfile defines no volume"),
            Self::NotUtf8 => write!(f, "the text is not UTF-8"),
            Self::Nul => write!(f, "a NUL byte is not allowed"),
            Self::Backtick => write!(f, "a shell command in back-ticks is not allowed"),
            Self::UnterminatedString => write!(f, "the string that starts here has no closing double quote"),
            Self::StrayBackslash => write!(f, "a backslash is allowed only inside double quotes"),
            Self::Unexpected { found, expected } => write!(f, "found '{found}' where {expected} was expected"),
            Self::UnexpectedEnd { expected } => write!(f, "the text ends where {expected} was expected"),
            Self::DuplicateVolume(name) => write!(f, "volume '{name}' is defined twice"),
            Self::DuplicateType(name) => write!(f, "volume '{name}' has a second type line"),
            Self::DuplicateSubvolumes(name) => write!(f, "volume '{name}' has a second subvolumes line"),
            Self::BadType(text) => write!(f, "type '{text}' is not of the form CATEGORY/NAME"),
            Self::EmptyBlock(name) => write!(f, "volume '{name}' has neither an option nor subvolumes"),
            Self::UnknownSubvolume { volume, subvolume } => {
                write!(
                    f,
                    "subvolume '{subvolume}' of volume '{volume}' is not defined before it"
                )
            }
        }
    }
}
