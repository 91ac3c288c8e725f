//! Writes a [`Graph`] as text, in the layout of GlusterFS's generator: four blanks of indentation, an empty line
//! between blocks, none after the last.

use std::fmt;

use super::graph::{Graph, Xlator};
use super::lexer::{is_keyword, is_space};

/// A name or value that no volfile can carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteError {
    /// The xlator that has it.
    pub xlator: String,
    /// The name or value.
    pub word: String,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "volume '{}': {:?} contains a back-tick or a NUL, which a volfile cannot carry",
            self.xlator, self.word
        )
    }
}

impl std::error::Error for WriteError {}

impl Graph {
    /// The text of the graph. Words that the grammar would misread are put in double quotes.
    ///
    /// # Errors
    /// A word with a back-tick or a NUL: GlusterFS would run the first as a shell command and cut at the second.
    pub fn to_text(&self) -> Result<String, WriteError> {
        let mut text = String::new();
        for (i, xlator) in self.xlators.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            block(&mut text, xlator)?;
        }
        Ok(text)
    }
}

fn block(text: &mut String, xlator: &Xlator) -> Result<(), WriteError> {
    let word = |w: &str| {
        quoted(w).ok_or_else(|| WriteError {
            xlator: xlator.name.clone(),
            word: w.to_string(),
        })
    };
    text.push_str(&format!(
        "volume {}\n    type {}\n",
        word(&xlator.name)?,
        word(&xlator.kind)?
    ));
    for (key, value) in &xlator.options {
        text.push_str(&format!("    option {} {}\n", word(key)?, word(value)?));
    }
    if !xlator.subvolumes.is_empty() {
        text.push_str("    subvolumes");
        for subvolume in &xlator.subvolumes {
            text.push(' ');
            text.push_str(&word(subvolume)?);
        }
        text.push('\n');
    }
    text.push_str("end-volume\n");
    Ok(())
}

/// The word as it must stand in the text, or None if it cannot.
fn quoted(word: &str) -> Option<String> {
    if word.contains(['`', '\0']) {
        return None;
    }
    let plain = !word.is_empty()
        && !word.starts_with('#')
        && !is_keyword(word)
        && !word.bytes().any(|b| is_space(b) || matches!(b, b'"' | b'\\'));
    if plain {
        return Some(word.to_string());
    }
    Some(format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_needs_it() {
        assert_eq!(quoted("/a/b").as_deref(), Some("/a/b"));
        assert_eq!(quoted("").as_deref(), Some("\"\""));
        assert_eq!(quoted("a b").as_deref(), Some("\"a b\""));
        assert_eq!(quoted("a\"\\").as_deref(), Some("\"a\\\"\\\\\""));
        assert_eq!(quoted("end-volume").as_deref(), Some("\"end-volume\""));
        assert_eq!(quoted("a#b").as_deref(), Some("a#b"));
        assert_eq!(quoted("`id`"), None);
    }

    #[test]
    fn refuses_what_would_be_run_as_a_command() {
        let mut xlator = Xlator::new("v", "x/y");
        xlator.set_option("k", "`id`");
        let error = Graph { xlators: vec![xlator] }.to_text().unwrap_err();
        assert_eq!((error.xlator.as_str(), error.word.as_str()), ("v", "`id`"));
    }
}
