//! Directories: listings, which come from one brick until it is lost and then from another, and fsync.

use std::cell::Cell;

use super::BrickSet;
use super::dir_stream::{Place, Reading, Source};
use super::hedge::Hints;
use super::read::{Part, worth_another_brick};
use super::set::ReplicaSet;
use crate::client::{Caller, DirEntry, Fd, Subvol};
use crate::errno::{Errno, FsResult};
use crate::exec::{self, Mono};
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{DirEntryPlus, Fop, FsyncdirReq, OpendirReq, ReaddirReq, ReaddirpReq};
use crate::wire::{Dict, Gfid};

/// Names the volume keeps for itself.
const PRIVATE_PREFIX: &[u8] = b".glusterfs-anonymous-inode-";
const PRIVATE_NAME: &[u8] = b".landfill";
/// Bytes of names asked for at once where names are passed over.
const NAMES_BYTES: u32 = 256 << 10;

impl ReplicaSet {
    /// Opens a directory. The bricks are asked when it is read.
    ///
    /// # Errors
    /// None today; the signature is that of every open.
    pub async fn opendir(&self, _caller: &Caller, gfid: Gfid) -> FsResult<Fd> {
        let fd = Fd::new(gfid, 0, true, self.bricks());
        self.0.fds.add(&fd);
        Ok(fd)
    }

    async fn open_directory(&self, caller: &Caller, fd: &Fd, brick: usize) -> FsResult<i64> {
        if let Some(number) = fd.remote(brick) {
            return Ok(number);
        }
        let req = OpendirReq {
            gfid: fd.gfid(),
            xdata: Dict::null(),
        };
        let subvol = self.subvol(brick).clone();
        let session = subvol.session_id();
        let reply = subvol.call(&self.cred(caller, 0), &req);
        let opened = fd.clone();
        // A task of its own: when another brick is faster nobody waits for this one any more, and its number would be
        // open there until the session ends.
        let task = exec::spawn(async move {
            let rsp = reply.await?;
            subvol.take_late(&opened, rsp.fd, session);
            let brick = subvol.index().ok_or(Errno::ENOTCONN)?;
            opened.remote(brick).ok_or(Errno::ENOTCONN)
        });
        task.await.unwrap_or(Err(Errno::ENOTCONN))
    }

    /// Entries from cookie `off` on, about `size` bytes of them, and whether the end was reached. When the brick that
    /// gives them is lost, another one goes on ([`super::dir_stream`]).
    ///
    /// # Errors
    /// As every read; `ENOENT` for a cookie that belongs to another open of the directory.
    pub async fn readdirp(&self, caller: &Caller, fd: &Fd, off: u64, size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        let place = fd.stream().borrow().place(off)?;
        match self.read_page(caller, fd, place, size).await {
            Err(e) if worth_another_brick(e) => {}
            page => return page,
        }
        self.inode(fd.gfid()).need_refresh();
        self.read_page(caller, fd, place, size).await
    }

    async fn read_page(&self, caller: &Caller, fd: &Fd, place: Place, size: u32) -> FsResult<(Vec<DirEntry>, bool)> {
        let left = self.candidates(fd.gfid(), Part::Data).await?;
        let inode = self.inode(fd.gfid());
        let hints = Hints {
            // One that begins may go to any brick.
            prefer: fd.listing().filter(|_| !place.is_start()),
            ..Hints::default()
        };
        let (cred, hints) = (&self.cred(caller, 0), &hints);
        let read = |brick, _| async move {
            let session = self.subvol(brick).session_id().ok_or(Errno::ENOTCONN)?;
            let number = self.open_directory(caller, fd, brick).await?;
            let listing = Listing {
                subvol: self.subvol(brick),
                session,
                cred,
                gfid: fd.gfid(),
                number,
                progress: &hints.progress,
            };
            let reading = fd.stream().borrow().reading(place, Source { brick, session });
            listing.page(reading, size).await
        };
        let (reading, entries, end) = self.hedged_by(hints, &inode, left, &read).await?;
        let given = entries.iter().map(|e| (&*e.entry.name, e.entry.d_off));
        let cookies = fd.stream().borrow_mut().give(&reading, given);
        // Attributes from one brick are right only where nothing is pending anywhere.
        let clean = self.is_whole();
        let brick = reading.source.brick;
        let entries = entries.into_iter().zip(cookies);
        Ok((entries.map(|(e, off)| self.entry(e, off, brick, clean)).collect(), end))
    }

    fn entry(&self, e: DirEntryPlus, off: u64, brick: usize, clean: bool) -> DirEntry {
        let busy = || {
            self.inode_if_known(e.stat.gfid)
                .is_some_and(|i| i.busy().contains(brick))
        };
        let usable = clean && e.stat.is_valid() && !e.stat.gfid.is_null() && !busy();
        DirEntry {
            ino: if e.stat.gfid.is_null() {
                e.entry.d_ino
            } else {
                e.stat.gfid.ino()
            },
            name: e.entry.name,
            off,
            d_type: e.entry.d_type,
            iatt: usable.then_some(e.stat),
        }
    }

    /// fsync(2) of a directory on every live brick.
    ///
    /// # Errors
    /// The bricks' errno when all of them fail.
    pub async fn fsyncdir(&self, caller: &Caller, fd: &Fd, datasync: bool) -> FsResult<()> {
        let up = self.up();
        let mut open = BrickSet::EMPTY;
        let mut last = Errno::ENOTCONN;
        for brick in up.iter() {
            match self.open_directory(caller, fd, brick).await {
                Ok(_) => open.insert(brick),
                Err(e) => last = e,
            }
        }
        let cred = self.cred(caller, 0);
        let answers = self
            .ask(open, |brick, s| {
                let fd_number = fd.remote_or_anonymous(brick);
                let req = FsyncdirReq {
                    gfid: fd.gfid(),
                    fd: fd_number,
                    data: i32::from(datasync),
                    xdata: Dict::null(),
                };
                s.call(&cred, &req)
            })
            .await;
        if !answers.ok().is_empty() {
            return Ok(());
        }
        Err(if answers.failed().is_empty() {
            last
        } else {
            answers.errno()
        })
    }
}

/// One brick's listing of a directory.
struct Listing<'a> {
    subvol: &'a Subvol,
    session: u64,
    cred: &'a GlusterfsCred,
    gfid: Gfid,
    /// The brick's number for the open directory.
    number: i64,
    progress: &'a Cell<Option<Mono>>,
}

/// What a brick gave: how it was read, the entries, and whether nothing follows.
type Page = (Reading, Vec<DirEntryPlus>, bool);

impl Listing<'_> {
    /// The next entries that were not given out yet: none only at the end of the directory.
    async fn page(&self, mut reading: Reading, size: u32) -> FsResult<Page> {
        if reading.passes_over() {
            self.pass_over(&mut reading).await?;
        }
        loop {
            let (gfid, fd, xdata) = (self.gfid, self.number, Dict::new());
            let offset = reading.at;
            let req = ReaddirpReq {
                gfid,
                fd,
                offset,
                size,
                xdata,
            };
            let rsp = self.call(&req).await?;
            let end = rsp.op_errno == Errno::ENOENT.0 || rsp.entries.is_empty();
            let last = rsp.entries.last().map(|e| e.entry.d_off);
            let mut entries = rsp.entries;
            entries.retain(|e| !self.is_private(&e.entry.name) && !reading.leaves_out(&e.entry.name));
            if end || !entries.is_empty() {
                return Ok((reading, entries, end));
            }
            self.go_on(&mut reading, last)?;
        }
    }

    /// Goes by the names that were given out already, as far as they come first: by names alone, which costs a brick
    /// much less than names with attributes.
    async fn pass_over(&self, reading: &mut Reading) -> FsResult<()> {
        loop {
            let req = ReaddirReq {
                gfid: self.gfid,
                fd: self.number,
                offset: reading.at,
                size: NAMES_BYTES,
                xdata: Dict::new(),
            };
            let rsp = self.call(&req).await?;
            let known = |e: &&crate::wire::fop::DirEntry| reading.leaves_out(&e.name);
            let passed = rsp.entries.iter().take_while(known);
            let (count, last) = passed.fold((0, None), |(n, _), e| (n + 1, Some(e.d_off)));
            if count > 0 {
                self.go_on(reading, last)?;
            }
            if count < rsp.entries.len() || rsp.entries.is_empty() || rsp.op_errno == Errno::ENOENT.0 {
                return Ok(());
            }
        }
    }

    fn go_on(&self, reading: &mut Reading, last: Option<u64>) -> FsResult<()> {
        match last {
            Some(off) if off != reading.at => {
                reading.at = off;
                Ok(())
            }
            _ => {
                let (name, at) = (self.subvol.name(), reading.at);
                tracing::error!("{name}: listing of {} does not get on from offset {at}", self.gfid);
                Err(Errno::EIO)
            }
        }
    }

    /// A call in the session that the number belongs to.
    async fn call<R: Fop>(&self, req: &R) -> FsResult<R::Reply> {
        if self.subvol.session_id() != Some(self.session) {
            return Err(Errno::ENOTCONN);
        }
        let rsp = self.subvol.call(self.cred, req).await?;
        self.progress.set(Some(exec::now()));
        Ok(rsp)
    }

    fn is_private(&self, name: &[u8]) -> bool {
        self.gfid == Gfid::ROOT && is_private(name)
    }
}

fn is_private(name: &[u8]) -> bool {
    name.starts_with(PRIVATE_PREFIX) || name == PRIVATE_NAME
}
