//! Host names to addresses, remembering what was once found.
//!
//! The system's resolver may take half a minute when its servers are down. So it is asked on a thread of its own, which
//! may be left behind, and waited for only as long as nothing better is known: what this process has found before is
//! used at once and looked up anew beside it; what an earlier process has left on disk is used when the resolver fails or
//! is slow (DESIGN.md P8).

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use datapath::sys;

use crate::rt::{self, Instant, sync};

/// How long the resolver may take while there is an address of an earlier process, and while there is none.
const PATIENCE_REMEMBERED: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);
/// Time between two questions for a name that is known. Names are asked for to connect to them: seldom, or again and
/// again because the address may be wrong.
const FRESH: Duration = Duration::from_secs(2);
/// Most bytes of the file of remembered addresses that are looked at.
const MAX_FILE: u64 = 1 << 20;

struct Inner {
    remembered: RefCell<BTreeMap<String, Vec<IpAddr>>>,
    /// When this process last asked for a name, of those it knows.
    asked: RefCell<BTreeMap<String, Instant>>,
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
            asked: RefCell::default(),
            asking: RefCell::default(),
            file,
        }))
    }

    /// The addresses of `host`, best first; never empty.
    ///
    /// # Errors
    /// Names the host; nothing is known of it and the resolver failed or did not answer.
    pub async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Some(address) = literal(host) {
            return Ok(vec![address]);
        }
        let known = self.0.remembered.borrow().get(host).cloned();
        let asked = self.0.asked.borrow().get(host).copied();
        if let (Some(known), Some(asked)) = (&known, asked) {
            if asked.elapsed() > FRESH {
                self.0.asked.borrow_mut().insert(host.to_owned(), Instant::now());
                let (me, host) = (self.clone(), host.to_owned());
                // If it fails, what is known stays.
                rt::spawn(async move { me.ask(&host).await });
            }
            return Ok(known.clone());
        }
        let patience = if known.is_some() { PATIENCE_REMEMBERED } else { PATIENCE };
        let answer = match rt::timeout(patience, self.ask(host)).await {
            Ok(answer) => answer,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the resolver does not answer")),
        };
        match (answer, known) {
            (Ok(addresses), _) => Ok(addresses),
            (Err(why), Some(known)) => {
                // From now on it is not waited for.
                self.0.asked.borrow_mut().insert(host.to_owned(), Instant::now());
                tracing::info!("{host}: {why}; the remembered addresses are used");
                Ok(known)
            }
            (Err(why), None) => Err(io::Error::new(
                why.kind(),
                format!("cannot resolve host '{host}': {why}"),
            )),
        }
    }

    /// What is known of `host` without asking.
    pub fn remembered(&self, host: &str) -> Vec<IpAddr> {
        match literal(host) {
            Some(address) => vec![address],
            None => self.0.remembered.borrow().get(host).cloned().unwrap_or_default(),
        }
    }

    async fn ask(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        while self.0.asking.borrow().contains(host) {
            rt::sleep(Duration::from_millis(20)).await;
            // The answer to the question that was under way is as good.
            let asked = self.0.asked.borrow().get(host).copied();
            if asked.is_some_and(|asked| asked.elapsed() < FRESH) {
                return Ok(self.remembered(host));
            }
        }
        self.0.asking.borrow_mut().insert(host.to_owned());
        let (inner, name) = (self.0.clone(), host.to_owned());
        // A task of its own: an answer that comes late is still remembered.
        let asked = rt::spawn(async move {
            let found = look_up(&name).await;
            inner.asking.borrow_mut().remove(&name);
            let addresses = found?;
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

fn literal(host: &str) -> Option<IpAddr> {
    let inside = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    inside.unwrap_or(host).parse().ok()
}

/// Asks the system's resolver, on a thread nobody waits for at the end of the process.
async fn look_up(host: &str) -> io::Result<Vec<IpAddr>> {
    let (answer, answered) = sync::oneshot::channel();
    let name = host.to_owned();
    std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = (name.as_str(), 0).to_socket_addrs();
        // Whoever asked may have gone.
        drop(answer.send(found.map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())));
    })?;
    let found = answered
        .await
        .map_err(|_| io::Error::other("the resolver's thread ended"))??;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
    }
    Ok(addresses)
}

impl Inner {
    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        self.asked.borrow_mut().insert(host.to_owned(), Instant::now());
        let old = self.remembered.borrow_mut().insert(host.to_owned(), addresses.to_vec());
        if old.as_deref() == Some(addresses) {
            return;
        }
        let Some(file) = &self.file else { return };
        // Other processes keep their names in it, too.
        let mut hosts = read(file);
        hosts.insert(host.to_owned(), addresses.to_vec());
        if let Err(e) = write(file, &hosts) {
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
