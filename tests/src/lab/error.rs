//! The one error of the lab: a sentence that says what was tried and what happened instead.
//!
//! Tests print it to a person; nothing branches on its content, so it carries no codes.

use std::fmt;

/// What went wrong, outermost step first.
#[derive(Debug, Clone)]
pub struct LabError(String);

/// Result of everything the lab does.
pub type Result<T> = std::result::Result<T, LabError>;

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LabError {}

impl From<std::io::Error> for LabError {
    fn from(error: std::io::Error) -> Self {
        LabError(error.to_string())
    }
}

impl From<nix::errno::Errno> for LabError {
    fn from(error: nix::errno::Errno) -> Self {
        LabError(error.desc().to_string())
    }
}

/// An error made of one sentence.
pub fn fail(message: impl fmt::Display) -> LabError {
    LabError(message.to_string())
}

/// Adds the step that was being done to an error.
pub trait Context<T> {
    /// Puts `what` in front of the error's text.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| LabError(format!("{what}: {error}")))
    }
}

/// Fails with `message` unless `condition` holds: an assertion that cleans up after itself.
pub fn ensure(condition: bool, message: impl fmt::Display) -> Result<()> {
    if condition { Ok(()) } else { Err(fail(message)) }
}
