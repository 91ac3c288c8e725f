//! Host names to addresses, remembering what was once found.
//!
//! The system's resolver is asked with a time limit, because with its servers down it may take half a minute; what was
//! found before, in this process or by an earlier one, is used when it fails or is slow (DESIGN.md P8).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use datapath::sys;

use crate::rt;

/// How long the resolver may take while there is an address remembered, and while there is none.
const PATIENCE_REMEMBERED: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of the file of remembered addresses that are looked at.
const MAX_FILE: u64 = 1 << 20;

struct Inner {
    remembered: RefCell<BTreeMap<String, Vec<IpAddr>>>,
    /// Names the resolver is busy with: it is not asked twice at a time.
    asking: RefCell<HashSet<String>>,
    file: Option<PathBuf>,
}

/// The names known to this process. Clones share them.
#[derive(Clone)]
pub struct Resolver(Rc<Inner>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver")
            .field("file", &self.0.file)
            .finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver that remembers in `file` too. A file that is missing or damaged is only logged: it is a cache.
    pub fn new(file: Option<PathBuf>) -> Resolver {
        let remembered = file.as_deref().map(read).unwrap_or_default();
        Resolver(Rc::new(Inner {
            remembered: RefCell::new(remembered),
            asking: RefCell::default(),
            file,
        }))
    }

    /// The addresses of `host`, best first; never empty.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let literal = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let known = self.0.remembered.borrow().get(host).cloned();
        let patience = if known.is_some() { PATIENCE_REMEMBERED } else { PATIENCE };
        let answer = match rt::timeout(patience, self.ask(host)).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver does not answer")),
        };
        match (answer, known) {
            (Ok(addresses), _) => Ok(addresses),
            (Err(why), Some(known)) => {
                tracing::debug!("{host}: {why}; the remembered addresses are used");
                Ok(known)
            }
            (Err(why), None) => Err(io::Error::new(
                why.kind(),
                format!("cannot resolve host '{host}': {why}"),
            )),
        }
    }

    async fn ask(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        while self.0.asking.borrow().contains(host) {
            rt::sleep(Duration::from_millis(50)).await;
        }
        self.0.asking.borrow_mut().insert(host.to_owned());
        let (inner, name) = (self.0.clone(), host.to_owned());
        // A task of its own: an answer that comes late is still remembered.
        let asked = rt::spawn(async move {
            let question = name.clone();
            let found = rt::blocking(move || (question.as_str(), 0).to_socket_addrs()).await;
            inner.asking.borrow_mut().remove(&name);
            let mut addresses: Vec<IpAddr> = Vec::new();
            for address in found?? {
                if !addresses.contains(&address.ip()) {
                    addresses.push(address.ip());
                }
            }
            if addresses.is_empty() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
            }
            inner.remember(&name, &addresses);
            Ok(addresses)
        });
        asked
            .join()
            .await
            .unwrap_or_else(|| Err(io::Error::other("the resolver's task ended")))
    }

    /// Whether any of `addresses` is one of this machine's.
    pub fn is_local(addresses: &[IpAddr]) -> bool {
        match sys::host::interface_addresses() {
            Ok(own) => addresses
                .iter()
                .any(|address| address.is_loopback() || own.contains(address)),
            Err(e) => {
                tracing::warn!("the addresses of this machine cannot be read: {e}");
                false
            }
        }
    }
}

impl Inner {
    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        let old = self.remembered.borrow_mut().insert(host.to_owned(), addresses.to_vec());
        if old.as_deref() == Some(addresses) {
            return;
        }
        if let Some(file) = &self.file
            && let Err(e) = write(file, &self.remembered.borrow())
        {
            tracing::debug!("{} cannot be written: {e}", file.display());
        }
    }
}

/// One host a line: its name and its addresses.
fn read(file: &std::path::Path) -> BTreeMap<String, Vec<IpAddr>> {
    match std::fs::metadata(file) {
        Ok(meta) if meta.len() <= MAX_FILE => {}
        _ => return BTreeMap::new(),
    }
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let host = words.next()?.to_owned();
        let addresses: Vec<IpAddr> = words.filter_map(|word| word.parse().ok()).collect();
        (!addresses.is_empty()).then_some((host, addresses))
    };
    text.lines().filter_map(line).collect()
}

fn write(file: &std::path::Path, hosts: &BTreeMap<String, Vec<IpAddr>>) -> io::Result<()> {
    if let Some(directory) = file.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut text = String::new();
    for (host, addresses) in hosts {
        text.push_str(host);
        for address in addresses {
            text.push(' ');
            text.push_str(&address.to_string());
        }
        text.push('\n');
    }
    // Several processes may write at once: each has its own temporary file.
    let temporary = file.with_extension(format!("tmp{}", std::process::id()));
    std::fs::write(&temporary, text)?;
    std::fs::rename(temporary, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_over_processes() {
        let file = std::env::temp_dir().join(format!("resolver-{}", std::process::id()));
        let address: IpAddr = "192.0.2.7".parse().unwrap();
        rt::block_on(async {
            let first = Resolver::new(Some(file.clone()));
            assert!(
                first
                    .resolve("localhost")
                    .await
                    .unwrap()
                    .iter()
                    .all(IpAddr::is_loopback)
            );
            first.0.remember("brick-host.invalid", &[address]);
            let second = Resolver::new(Some(file.clone()));
            // A name below .invalid never resolves: this is the remembered address.
            assert_eq!(second.resolve("brick-host.invalid").await.unwrap(), [address]);
            let error = second.resolve("other.invalid").await.unwrap_err();
            assert!(error.to_string().contains("other.invalid"), "{error}");
            assert_eq!(second.resolve("[::1]").await.unwrap().len(), 1);
        })
        .unwrap();
        std::fs::write(&file, b"\xff\xfe damaged").unwrap();
        assert!(read(&file).is_empty());
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn local_addresses_are_known() {
        assert!(Resolver::is_local(&["127.0.0.1".parse().unwrap()]));
        assert!(!Resolver::is_local(&["192.0.2.1".parse().unwrap()]));
    }
}
