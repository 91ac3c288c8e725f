//! The packages whose shared libraries the programs need, from the programs themselves: names of libraries and, for the
//! C library, the newest version of its symbols.

use crate::lab::Cmd;
use crate::lab::error::{Result, fail};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Libraries that any of our programs may need, and their packages. The C library's gets its version.
const PACKAGES: [(&str, &str); 4] = [
    ("libc.so.", LIBC),
    ("libm.so.", LIBC),
    ("ld-linux", LIBC),
    ("libgcc_s.so.", "libgcc-s1"),
];
const LIBC: &str = "libc6";

/// The `Depends` of these programs.
///
/// # Errors
/// A library that is in no known package, by name.
pub fn of(programs: &[PathBuf]) -> Result<String> {
    let mut packages = BTreeSet::new();
    let mut newest = (0, 0);
    for program in programs {
        let text = Cmd::words("objdump -p").arg(program).run()?;
        for library in text.lines().filter_map(|line| line.trim().strip_prefix("NEEDED")) {
            packages.insert(package_of(library.trim())?);
        }
        newest = newest.max(newest_symbols(&text));
    }
    let versioned = |package| match package {
        LIBC => format!("{LIBC} (>= {}.{})", newest.0, newest.1),
        other => other.to_string(),
    };
    Ok(packages.into_iter().map(versioned).collect::<Vec<_>>().join(", "))
}

fn package_of(library: &str) -> Result<&'static str> {
    let known = PACKAGES.iter().find(|(name, _)| library.starts_with(name));
    known
        .map(|(_, package)| *package)
        .ok_or_else(|| fail(format!("no package is known for the shared library {library}")))
}

/// The newest `GLIBC_MAJOR.MINOR` in objdump's version references.
fn newest_symbols(text: &str) -> (u32, u32) {
    let versions = text.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
    let numbers = versions.filter_map(|version| {
        let mut parts = version.split('.').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    numbers.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_symbols_count() {
        let text = "  required from libc.so.6:\n    0x1 0x00 09 GLIBC_2.9\n    0x2 0x00 11 GLIBC_2.34\n    0x3 0x00 2 \
                    GLIBC_2.3.4\n  required from libgcc_s.so.1:\n 0x4 0x00 14 GCC_4.2.0\n";
        assert_eq!(newest_symbols(text), (2, 34));
        assert_eq!(newest_symbols(""), (0, 0));
    }

    #[test]
    fn libraries_have_packages() {
        assert_eq!(package_of("libc.so.6").unwrap(), "libc6");
        assert_eq!(package_of("ld-linux-x86-64.so.2").unwrap(), "libc6");
        assert!(
            package_of("libssl.so.3")
                .unwrap_err()
                .to_string()
                .contains("libssl.so.3")
        );
    }
}
