//! Running the workspace's `cargo test`, with the tests counted.

use ::tests::lab::build::cargo;
use ::tests::lab::error::{Context, Result, fail};
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

/// Tests counted from the `test result:` lines.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Passed.
    pub passed: u64,
    /// Failed; a test program that did not even run counts as one.
    pub failed: u64,
    /// Ignored.
    pub ignored: u64,
}

/// Runs `cargo test` of the whole workspace, showing its output.
pub fn test() -> Result<Counted> {
    let mut child = cargo()
        .args(["test", "--release", "--workspace", "--no-fail-fast"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo")?;
    let output = child.stdout.take().ok_or_else(|| fail("cargo has no output"))?;
    let mut counted = Counted::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some(one) = parse_result(&line) {
            counted.passed += one.passed;
            counted.failed += one.failed;
            counted.ignored += one.ignored;
        }
    }
    let status = child.wait()?;
    if !status.success() && counted.failed == 0 {
        counted.failed = 1;
    }
    Ok(counted)
}

/// Lets the kernel offer FUSE over io_uring, where it can be switched and we may; our client falls back without it.
pub fn enable_fuse_over_io_uring() {
    let path = Path::new("/sys/module/fuse/parameters/enable_uring");
    let switched = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(b"Y"));
    if let Err(error) = switched {
        eprintln!("{}: {error}: FUSE over io_uring stays as it is", path.display());
    }
}

/// `test result: ok. 12 passed; 0 failed; 1 ignored; ...`
fn parse_result(line: &str) -> Option<Counted> {
    let (_, rest) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let number = |word: &str| -> Option<u64> {
        let part = rest.split("; ").find(|part| part.ends_with(word))?;
        part.split(' ').next()?.parse().ok()
    };
    Some(Counted {
        passed: number(" passed")?,
        failed: number(" failed")?,
        ignored: number(" ignored")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(
            parse_result(line),
            Some(Counted {
                passed: 12,
                failed: 3,
                ignored: 1
            })
        );
        assert_eq!(parse_result("test a ... ok"), None);
    }
}
