//! Directory streams: opendir, readdir with and without attributes.
//!
//! The kernel takes about a page at a time, a brick gives many pages; what the kernel has not taken yet waits in the
//! directory's handle. A seek (rewinddir, seekdir) drops it, so that a rewind shows new names.

use std::time::Duration;

use datapath::errno::{Errno, FsResult};
use datapath::wire::Iatt;

use super::{Core, by_node};
use crate::handle::{Dir, Listing};
use crate::inode::{node_of, owner};
use crate::ops::{Caller, DirEntry, FileOps};
use crate::request::{Answer, DirItem, Entry, OpenMode, Reply, Who};

/// Bytes of listing asked from a brick at once.
const CHUNK: u32 = 128 << 10;

fn is_dot(name: &[u8]) -> bool {
    matches!(name, b"." | b"..")
}

impl<V: FileOps> Core<V> {
    pub(super) async fn opendir(&self, who: Who, node: u64) -> FsResult<Answer> {
        let gfid = self.gfid(node)?;
        let fd = self.ops.opendir(&self.caller(who), gfid).await.map_err(by_node)?;
        let fh = self.handles.borrow_mut().add_dir(gfid, fd);
        Ok(Answer::Opened {
            fh,
            mode: OpenMode::default(),
        })
    }

    pub(super) fn releasedir(&self, fh: u64) -> FsResult<Answer> {
        let dir = self.handles.borrow_mut().remove_dir(fh)?;
        self.ops.release(dir.fd.clone());
        Ok(Answer::Done)
    }

    pub(super) async fn fsyncdir(&self, who: Who, fh: u64, datasync: bool) -> FsResult<Answer> {
        let dir = self.handles.borrow().dir(fh)?;
        self.ops.fsyncdir(&self.caller(who), &dir.fd, datasync).await?;
        Ok(Answer::Done)
    }

    pub(super) async fn readdir(
        &self,
        who: Who,
        fh: u64,
        offset: u64,
        plus: bool,
        reply: &mut Reply,
    ) -> FsResult<Answer> {
        let dir = self.handles.borrow().dir(fh)?;
        let caller = self.caller(who);
        // Taken out while it is worked on: a task must not hold a borrow over a wait.
        let mut listing = dir.listing.take();
        listing.seek(offset);
        let result = self.fill_reply(&caller, &dir, &mut listing, plus, reply).await;
        if result.is_ok() {
            dir.listing.replace(listing);
        }
        result.map(|()| Answer::Directory)
    }

    /// Adds entries until the reply is full or the directory ends. An error after the first entry is left for the
    /// next call to find.
    async fn fill_reply(
        &self,
        caller: &Caller,
        dir: &Dir<V::Fd>,
        listing: &mut Listing,
        plus: bool,
        reply: &mut Reply,
    ) -> FsResult<()> {
        let mut added = false;
        loop {
            while let Some(entry) = listing.entries.front() {
                let entry = entry.clone();
                match self.add_entry(caller, dir, &entry, plus, reply).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(()),
                    Err(_) if added => return Ok(()),
                    Err(e) => return Err(e),
                }
                listing.entries.pop_front();
                listing.at = entry.off;
                added = true;
            }
            if listing.eof {
                return Ok(());
            }
            match self.ops.readdirp(caller, &dir.fd, listing.at, CHUNK).await {
                Ok((entries, eof)) => {
                    listing.eof = eof || entries.is_empty();
                    listing.entries = entries.into();
                }
                Err(_) if added => return Ok(()),
                Err(e) => return Err(e),
            }
        }
    }

    /// `Ok(false)` when the reply is full. An entry that is gone by now is passed over.
    async fn add_entry(
        &self,
        caller: &Caller,
        dir: &Dir<V::Fd>,
        entry: &DirEntry,
        plus: bool,
        reply: &mut Reply,
    ) -> FsResult<bool> {
        let mut item = DirItem {
            name: entry.name.clone(),
            next: entry.off,
            ino: entry.iatt.map_or(entry.ino, |iatt| node_of(iatt.gfid)),
            kind: entry.iatt.map_or(entry.d_type << 12, |iatt| iatt.file_type()),
            plus: None,
        };
        if is_dot(&entry.name) {
            // The kernel looks at nothing of these two but the number, and counts no lookup.
            item.kind = libc::S_IFDIR;
            item.plus = plus.then(|| self.bare_entry(item.ino, item.kind));
            return Ok(reply.add(&item));
        }
        if !plus {
            return Ok(reply.add(&item));
        }
        let known = entry.iatt.filter(|iatt| !iatt.gfid.is_null());
        let found = match known {
            Some(iatt) => Ok(iatt),
            None => self.ops.lookup(caller, dir.gfid, &entry.name).await,
        };
        match found {
            Ok(iatt) => {
                item.plus = Some(self.entry_of(&iatt));
                if !reply.add(&item) {
                    return Ok(false);
                }
                self.learn(&iatt).await;
                Ok(true)
            }
            Err(Errno::ENOENT | Errno::ESTALE) => Ok(true),
            // The name is there although nobody can say more of it (a split-brain, say): show it, valid for no time,
            // so that whoever looks closer gets the error. Not if the kernel knows the inode: it would take the empty
            // attributes for the file's.
            Err(_) if entry.ino != 0 && item.kind != 0 && self.is_unknown(entry.ino) => {
                item.plus = Some(self.bare_entry(entry.ino, item.kind));
                Ok(reply.add(&item))
            }
            Err(e) => Err(e),
        }
    }

    /// Whether this core owns the node and the kernel does not hold it.
    fn is_unknown(&self, node: u64) -> bool {
        owner(node, self.router.cores()) == self.index && self.gfid(node) == Err(Errno::ESTALE)
    }

    fn bare_entry(&self, node: u64, kind: u32) -> Entry {
        let iatt = Iatt {
            mode: kind,
            ..Iatt::default()
        };
        Entry {
            node,
            attr_ttl: Duration::ZERO,
            entry_ttl: Duration::ZERO,
            ..self.entry_of(&iatt)
        }
    }
}
