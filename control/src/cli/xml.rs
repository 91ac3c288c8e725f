//! `--xml`: GlusterFS's XML documents.
//!
//! A writer that indents as GlusterFS's does, and the documents that only say whether something worked. Tables have
//! their own functions beside their text form.

use std::fmt::Write as _;

/// Builds one `cliOutput` document.
pub(super) struct Xml {
    text: String,
    open: Vec<&'static str>,
}

impl Xml {
    /// A document without its head.
    pub(super) fn new() -> Xml {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<cliOutput>\n".to_owned();
        Xml {
            text,
            open: vec!["cliOutput"],
        }
    }

    /// A document that begins with the result of the operation.
    pub(super) fn with_result(op_ret: i32, op_errno: i32, op_errstr: &str) -> Xml {
        let mut xml = Xml::new();
        xml.result(op_ret, op_errno, op_errstr);
        xml
    }

    /// The three elements every document has.
    pub(super) fn result(&mut self, op_ret: i32, op_errno: i32, op_errstr: &str) -> &mut Xml {
        self.leaf("opRet", op_ret)
            .leaf("opErrno", op_errno)
            .leaf("opErrstr", op_errstr)
    }

    fn indent(&mut self) {
        for _ in &self.open {
            self.text.push_str("  ");
        }
    }

    pub(super) fn open(&mut self, name: &'static str) -> &mut Xml {
        self.open_with(name, "")
    }

    /// Opens an element with attributes, given ready (` key="value"`).
    pub(super) fn open_with(&mut self, name: &'static str, attributes: &str) -> &mut Xml {
        self.indent();
        self.line(&format!("<{name}{attributes}>"));
        self.open.push(name);
        self
    }

    pub(super) fn close(&mut self) -> &mut Xml {
        if let Some(name) = self.open.pop() {
            self.indent();
            self.line(&format!("</{name}>"));
        }
        self
    }

    /// An element with text; an empty one is written `<name/>`.
    pub(super) fn leaf(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Xml {
        self.leaf_with(name, "", value)
    }

    /// [`Xml::leaf`] with attributes, given ready.
    pub(super) fn leaf_with(&mut self, name: &str, attributes: &str, value: impl std::fmt::Display) -> &mut Xml {
        self.indent();
        let value = escape_text(&value.to_string());
        if value.is_empty() {
            self.line(&format!("<{name}{attributes}/>"));
        } else {
            self.line(&format!("<{name}{attributes}>{value}</{name}>"));
        }
        self
    }

    /// One line of ready markup.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Xml {
        self.indent();
        self.line(markup);
        self
    }

    fn line(&mut self, markup: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{markup}");
    }

    /// Closes what is open and returns the document.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }
}

/// Replaces what may not stand in an attribute.
pub(super) fn escape(text: &str) -> String {
    escape_text(text).replace('"', "&quot;")
}

/// Replaces what may not stand in text.
fn escape_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    out
}
