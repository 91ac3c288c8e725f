//! What happened, as a running hash and, if wanted, as text. Two runs are the same run exactly if their hashes are.

use xxhash_rust::xxh64::xxh64;

use crate::exec::host::HostId;

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happening<'a> {
    pub(super) what: &'static str,
    pub(super) from: HostId,
    pub(super) to: HostId,
    pub(super) socket: u64,
    pub(super) data: &'a [u8],
}

/// The record of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hash: u64,
    count: u64,
    log: Option<Vec<String>>,
}

impl Trace {
    pub(super) fn new(keep_log: bool) -> Trace {
        Trace {
            hash: 0,
            count: 0,
            log: keep_log.then(Vec::new),
        }
    }

    pub(super) fn record(&mut self, now: u64, happening: Happening<'_>) {
        let Happening {
            what,
            from,
            to,
            socket,
            data,
        } = happening;
        let mut line = [0u8; 36];
        line[..8].copy_from_slice(&self.hash.to_le_bytes());
        line[8..16].copy_from_slice(&now.to_le_bytes());
        line[16..24].copy_from_slice(&socket.to_le_bytes());
        line[24..26].copy_from_slice(&from.0.to_le_bytes());
        line[26..28].copy_from_slice(&to.0.to_le_bytes());
        let content = xxh64(data, data.len() as u64);
        line[28..].copy_from_slice(&content.to_le_bytes());
        self.hash = xxh64(&line, xxh64(what.as_bytes(), 0));
        self.count += 1;
        if let Some(log) = &mut self.log {
            let len = data.len();
            log.push(format!(
                "{now:>12} {what} {} -> {} socket {socket} {len} bytes {content:016x}",
                from.0, to.0
            ));
        }
    }

    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn log(&self) -> &[String] {
        self.log.as_deref().unwrap_or_default()
    }
}
