//! The lock table of a brick: every inode with a lock, its domains, and the operations of the wire on them.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::posix::PosixLocks;
use super::queue::{Entry, NotifyClock, Queue, Shape};
use super::{
    ClearKind, ClientId, ContendedLock, Contention, Effects, EntrylkRequest, InodelkRequest, LockKind, LockOp,
    LockOptions, Outcome, Owner, PosixLock, PosixRequest, Range, RequestId,
};
use crate::errno::{Errno, FsResult};
use crate::wire::Gfid;

/// An inodelk at this offset with length 0 is a metadata lock (brick-and-replicate.md C.3).
const METADATA_START: u64 = super::END - 1;
/// What its domain is extended by.
const METADATA_SUFFIX: &[u8] = b":metadata";

#[derive(Clone, Debug)]
struct InodeShape {
    kind: LockKind,
    range: Range,
}

impl Shape for InodeShape {
    fn conflicts(&self, other: &InodeShape) -> bool {
        self.range.overlaps(other.range) && (self.kind == LockKind::Write || other.kind == LockKind::Write)
    }
}

#[derive(Clone, Debug)]
struct EntryShape {
    kind: LockKind,
    name: Option<Box<[u8]>>,
}

impl Shape for EntryShape {
    /// The kind plays no part: entrylks exclude each other even as readers.
    fn conflicts(&self, other: &EntryShape) -> bool {
        match (&self.name, &other.name) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        }
    }
}

/// The domains of one inode. There are one or two, so a list is searched; empty ones are removed.
#[derive(Debug)]
struct Domains<S>(Vec<(Rc<[u8]>, Queue<S>)>);

impl<S> Default for Domains<S> {
    fn default() -> Domains<S> {
        Domains(Vec::new())
    }
}

impl<S: Shape> Domains<S> {
    fn find(&mut self, name: &[u8]) -> Option<&mut (Rc<[u8]>, Queue<S>)> {
        self.0.iter_mut().find(|(n, _)| **n == *name)
    }

    fn find_or_add(&mut self, name: &[u8]) -> &mut (Rc<[u8]>, Queue<S>) {
        let at = match self.0.iter().position(|(n, _)| **n == *name) {
            Some(at) => at,
            None => {
                self.0.push((Rc::from(name), Queue::default()));
                self.0.len() - 1
            }
        };
        &mut self.0[at]
    }

    fn tidy(&mut self) {
        self.0.retain(|(_, queue)| !queue.is_empty());
    }

    fn count(&self) -> usize {
        self.0.iter().map(|(_, queue)| queue.len()).sum()
    }
}

#[derive(Default, Debug)]
struct InodeLocks {
    inode: Domains<InodeShape>,
    entry: Domains<EntryShape>,
    posix: PosixLocks,
}

impl InodeLocks {
    fn is_empty(&self) -> bool {
        self.inode.0.is_empty() && self.entry.0.is_empty() && self.posix.is_empty()
    }
}

/// All locks of a brick.
#[derive(Default, Debug)]
pub struct LockTable {
    inodes: BTreeMap<Gfid, InodeLocks>,
    options: LockOptions,
}

impl LockTable {
    /// An empty table.
    pub fn new(options: LockOptions) -> LockTable {
        LockTable {
            inodes: BTreeMap::new(),
            options,
        }
    }

    /// Changes the options of a running brick.
    pub fn set_options(&mut self, options: LockOptions) {
        self.options = options;
    }

    fn clock(&self, now_ns: u64) -> NotifyClock {
        let delay_ns = self.options.notify_contention.then_some(self.options.notify_delay_ns);
        NotifyClock { now_ns, delay_ns }
    }

    /// Forgets the inode if no lock is left on it.
    fn tidy(&mut self, gfid: Gfid) {
        if let Some(inode) = self.inodes.get_mut(&gfid) {
            inode.inode.tidy();
            inode.entry.tidy();
            if inode.is_empty() {
                self.inodes.remove(&gfid);
            }
        }
    }

    /// INODELK and FINODELK. `EAGAIN`: a try met a conflict. `EINVAL`: nothing to unlock, or a bad range.
    pub fn inodelk(&mut self, now_ns: u64, request: InodelkRequest<'_>, fx: &mut Effects) -> FsResult<Outcome> {
        let range = Range::from_wire(request.start, request.len)?;
        let domain = metadata_domain(&request);
        let clock = self.clock(now_ns);
        let gfid = request.gfid;
        let domains = &mut self.inodes.entry(gfid).or_default().inode;
        let shape = |kind| InodeShape { kind, range };
        let matches = |held: &InodeShape, _| held.range == range;
        let call = Call {
            gfid,
            domain: &domain,
            owner: request.owner,
            pid: request.pid,
            op: request.op,
            request: request.request,
        };
        let result = apply(
            domains,
            call,
            clock,
            Rules {
                shape,
                matches,
                report: inode_contention,
            },
            fx,
        );
        self.tidy(gfid);
        result
    }

    /// ENTRYLK and FENTRYLK. `EAGAIN`: a try met a conflict. `EINVAL`: nothing to unlock.
    pub fn entrylk(&mut self, now_ns: u64, request: EntrylkRequest<'_>, fx: &mut Effects) -> FsResult<Outcome> {
        let clock = self.clock(now_ns);
        let gfid = request.gfid;
        let name: Option<Box<[u8]>> = request.name.map(Box::from);
        let domains = &mut self.inodes.entry(gfid).or_default().entry;
        let shape = |kind| EntryShape {
            kind,
            name: name.clone(),
        };
        let matches = |held: &EntryShape, kind| held.name == name && held.kind == kind;
        let call = Call {
            gfid,
            domain: request.domain,
            owner: request.owner,
            pid: request.pid,
            op: request.op,
            request: request.request,
        };
        let result = apply(
            domains,
            call,
            clock,
            Rules {
                shape,
                matches,
                report: entry_contention,
            },
            fx,
        );
        self.tidy(gfid);
        result
    }

    /// LK with SETLK or SETLKW. `EAGAIN`: a try met a conflict.
    pub fn setlk(&mut self, request: PosixRequest, fx: &mut Effects) -> FsResult<Outcome> {
        let locks = &mut self.inodes.entry(request.gfid).or_default().posix;
        let lock = |kind| PosixLock {
            owner: request.owner.clone(),
            fd: request.fd,
            kind,
            range: request.range,
            pid: request.pid,
        };
        let result = match request.op {
            LockOp::Try(kind) => locks.set(lock(kind), None, &mut fx.wakeups),
            LockOp::Wait(kind) => locks.set(lock(kind), Some(request.request), &mut fx.wakeups),
            LockOp::Unlock(_) => {
                locks.unset(&request.owner, request.range, &mut fx.wakeups);
                Ok(Outcome::Granted)
            }
        };
        self.tidy(request.gfid);
        result
    }

    /// LK with GETLK: the first granted lock that `owner` would conflict with.
    pub fn getlk(&self, gfid: Gfid, owner: &Owner, kind: LockKind, range: Range) -> Option<&PosixLock> {
        let want = PosixLock::question(owner, kind, range);
        self.inodes.get(&gfid)?.posix.conflicting(&want)
    }

    /// FLUSH of `fd`: the record locks of `owner` on the inode go; without an lk-owner those taken through the fd.
    pub fn flush(&mut self, gfid: Gfid, owner: &Owner, fd: i64, fx: &mut Effects) {
        if owner.lk_owner.is_empty() {
            return self.release(gfid, owner.client, fd, fx);
        }
        if let Some(inode) = self.inodes.get_mut(&gfid) {
            inode.posix.drop_owner(owner, &mut fx.wakeups);
            self.tidy(gfid);
        }
    }

    /// RELEASE of `fd`: the record locks taken through it go.
    pub fn release(&mut self, gfid: Gfid, client: ClientId, fd: i64, fx: &mut Effects) {
        if let Some(inode) = self.inodes.get_mut(&gfid) {
            inode.posix.drop_fd(client, fd, &mut fx.wakeups);
            self.tidy(gfid);
        }
    }

    /// The client is gone: all its locks go, its waiting calls end with `EAGAIN`, others are granted.
    pub fn disconnect(&mut self, now_ns: u64, client: ClientId, fx: &mut Effects) {
        self.sweep(now_ns, fx, |owner, _| owner.client == client, true);
    }

    /// Nobody waits for these calls any more: they end with `EAGAIN`, and what they held up is granted.
    pub fn cancel(&mut self, now_ns: u64, calls: &BTreeSet<RequestId>, fx: &mut Effects) {
        self.sweep(now_ns, fx, |_, request| calls.contains(&request), false);
    }

    /// Drops the waiting locks that `meant` chooses, and the held ones too if `held`.
    fn sweep(&mut self, now_ns: u64, fx: &mut Effects, meant: impl Fn(&Owner, RequestId) -> bool, held: bool) {
        let clock = self.clock(now_ns);
        for (gfid, locks) in &mut self.inodes {
            for (name, queue) in &mut locks.inode.0 {
                let chosen = |e: &Entry<InodeShape>| meant(&e.owner, e.request);
                if queue.clear(|e| held && chosen(e), chosen, &mut fx.wakeups) > 0 {
                    regrant(queue, clock, fx, |e| inode_contention(*gfid, name, e));
                }
            }
            for (name, queue) in &mut locks.entry.0 {
                let chosen = |e: &Entry<EntryShape>| meant(&e.owner, e.request);
                if queue.clear(|e| held && chosen(e), chosen, &mut fx.wakeups) > 0 {
                    regrant(queue, clock, fx, |e| entry_contention(*gfid, name, e));
                }
            }
            // A held record lock has no call left that could be meant.
            let owner_meant = |l: &PosixLock| held && meant(&l.owner, RequestId(0));
            locks
                .posix
                .clear(owner_meant, |l, request| meant(&l.owner, request), &mut fx.wakeups);
        }
        self.inodes.retain(|_, locks| {
            locks.inode.tidy();
            locks.entry.tidy();
            !locks.is_empty()
        });
    }

    /// Whether any lock is held or waited for on the inode.
    pub fn is_locked(&self, gfid: Gfid) -> bool {
        self.inodes.contains_key(&gfid)
    }

    /// Clients that hold an inodelk or entrylk on the inode: locks of transactions, which are safe to lose with the
    /// connection they were taken over.
    pub fn holders(&self, gfid: Gfid) -> BTreeSet<ClientId> {
        let Some(inode) = self.inodes.get(&gfid) else {
            return BTreeSet::new();
        };
        let inodelks = inode
            .inode
            .0
            .iter()
            .flat_map(|(_, queue)| queue.held())
            .map(|e| e.owner.client);
        let entrylks = inode
            .entry
            .0
            .iter()
            .flat_map(|(_, queue)| queue.held())
            .map(|e| e.owner.client);
        inodelks.chain(entrylks).collect()
    }

    /// `glusterfs.inodelk-count`: granted and waiting inodelks in all domains.
    pub fn inodelk_count(&self, gfid: Gfid) -> usize {
        self.inodes.get(&gfid).map_or(0, |i| i.inode.count())
    }

    /// `glusterfs.inodelk-dom-count`: granted and waiting inodelks in one domain.
    pub fn inodelk_domain_count(&self, gfid: Gfid, domain: &[u8]) -> usize {
        let domains = self.inodes.get(&gfid).map(|i| &i.inode.0);
        domains
            .and_then(|d| d.iter().find(|(n, _)| **n == *domain))
            .map_or(0, |(_, queue)| queue.len())
    }

    /// Whether `owner` has been granted an inodelk of the domain.
    pub fn holds_inodelk(&self, gfid: Gfid, domain: &[u8], owner: &Owner) -> bool {
        let domains = self.inodes.get(&gfid).map(|i| &i.inode.0);
        domains
            .and_then(|d| d.iter().find(|(n, _)| **n == *domain))
            .is_some_and(|(_, queue)| queue.held().iter().any(|e| e.owner == *owner))
    }

    /// `glusterfs.entrylk-count`: granted and waiting entrylks in all domains.
    pub fn entrylk_count(&self, gfid: Gfid) -> usize {
        self.inodes.get(&gfid).map_or(0, |i| i.entry.count())
    }

    /// `glusterfs.posixlk-count`: granted and waiting record locks.
    pub fn posixlk_count(&self, gfid: Gfid) -> usize {
        self.inodes.get(&gfid).map_or(0, |i| i.posix.len())
    }

    /// `glusterfs.parent-entrylk`: whether an entrylk on exactly this name is held in `parent`, in any domain.
    pub fn entrylk_held_on(&self, parent: Gfid, name: &[u8]) -> bool {
        let Some(inode) = self.inodes.get(&parent) else {
            return false;
        };
        let mut held = inode.entry.0.iter().flat_map(|(_, queue)| queue.held());
        held.any(|e| e.shape.name.as_deref() == Some(name))
    }

    /// The record locks held on an inode (GETACTIVELK).
    pub fn posix_held(&self, gfid: Gfid) -> &[PosixLock] {
        self.inodes.get(&gfid).map_or(&[], |i| i.posix.held())
    }

    /// Clients whose record locks `owner` would conflict with.
    pub fn record_conflicts(&self, gfid: Gfid, owner: &Owner, kind: LockKind, range: Range) -> BTreeSet<ClientId> {
        let want = PosixLock::question(owner, kind, range);
        let Some(inode) = self.inodes.get(&gfid) else {
            return BTreeSet::new();
        };
        inode.posix.all_conflicting(&want).map(|l| l.owner.client).collect()
    }

    /// Whether somebody waits for a record lock of the inode, and the clients that hold what is waited for.
    pub fn record_blockers(&self, gfid: Gfid) -> (bool, BTreeSet<ClientId>) {
        let Some(inode) = self.inodes.get(&gfid) else {
            return (false, BTreeSet::new());
        };
        let waiting = inode.posix.waiting();
        let blockers = waiting.flat_map(|want| inode.posix.all_conflicting(want));
        let blockers = blockers.map(|l| l.owner.client).collect();
        (inode.posix.waiting().next().is_some(), blockers)
    }

    /// clear-locks of inodelks, in one domain or all; returns how many were dropped.
    pub fn clear_inodelks(
        &mut self,
        now_ns: u64,
        gfid: Gfid,
        domain: Option<&[u8]>,
        kind: ClearKind,
        fx: &mut Effects,
    ) -> usize {
        let clock = self.clock(now_ns);
        let Some(inode) = self.inodes.get_mut(&gfid) else {
            return 0;
        };
        let mut cleared = 0;
        for (name, queue) in inode
            .inode
            .0
            .iter_mut()
            .filter(|(n, _)| domain.is_none_or(|d| **n == *d))
        {
            cleared += queue.clear(|_| kind.held(), |_| kind.waiting(), &mut fx.wakeups);
            regrant(queue, clock, fx, |e| inode_contention(gfid, name, e));
        }
        self.tidy(gfid);
        cleared
    }

    /// clear-locks of entrylks, on one name or all; returns how many were dropped.
    pub fn clear_entrylks(
        &mut self,
        now_ns: u64,
        gfid: Gfid,
        name: Option<&[u8]>,
        kind: ClearKind,
        fx: &mut Effects,
    ) -> usize {
        let clock = self.clock(now_ns);
        let Some(inode) = self.inodes.get_mut(&gfid) else {
            return 0;
        };
        let meant = |e: &Entry<EntryShape>| name.is_none_or(|n| e.shape.name.as_deref() == Some(n));
        let mut cleared = 0;
        for (domain, queue) in &mut inode.entry.0 {
            cleared += queue.clear(
                |e| kind.held() && meant(e),
                |e| kind.waiting() && meant(e),
                &mut fx.wakeups,
            );
            regrant(queue, clock, fx, |e| entry_contention(gfid, domain, e));
        }
        self.tidy(gfid);
        cleared
    }

    /// clear-locks of record locks that overlap `range`; returns how many were dropped.
    pub fn clear_posix(&mut self, gfid: Gfid, range: Range, kind: ClearKind, fx: &mut Effects) -> usize {
        let Some(inode) = self.inodes.get_mut(&gfid) else {
            return 0;
        };
        let cleared = inode.posix.clear(
            |l| kind.held() && l.range.overlaps(range),
            |l, _| kind.waiting() && l.range.overlaps(range),
            &mut fx.wakeups,
        );
        self.tidy(gfid);
        cleared
    }

    /// One line per lock, for statedumps and tests: inode, kind, domain, state, owner.
    pub fn dump(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (gfid, locks) in &self.inodes {
            for (name, queue) in &locks.inode.0 {
                let name = String::from_utf8_lossy(name);
                let mut line = |state: &str, e: &Entry<InodeShape>| {
                    out.push(format!("{gfid} inodelk {name} {state} {:?} {:?}", e.owner, e.shape));
                };
                queue.held().iter().for_each(|e| line("ACTIVE", e));
                queue.waiting().for_each(|e| line("BLOCKED", e));
            }
            for (name, queue) in &locks.entry.0 {
                let name = String::from_utf8_lossy(name);
                let mut line = |state: &str, e: &Entry<EntryShape>| {
                    let base = e.shape.name.as_deref().map(String::from_utf8_lossy);
                    out.push(format!("{gfid} entrylk {name} {state} {:?} {base:?}", e.owner));
                };
                queue.held().iter().for_each(|e| line("ACTIVE", e));
                queue.waiting().for_each(|e| line("BLOCKED", e));
            }
            out.extend(
                locks
                    .posix
                    .held()
                    .iter()
                    .map(|l| format!("{gfid} posixlk ACTIVE {l:?}")),
            );
            out.extend(locks.posix.waiting().map(|l| format!("{gfid} posixlk BLOCKED {l:?}")));
        }
        out
    }
}

/// The parts of a lock call that inodelk and entrylk have in common.
struct Call<'a> {
    gfid: Gfid,
    domain: &'a [u8],
    owner: Owner,
    pid: i32,
    op: LockOp,
    request: super::RequestId,
}

/// The parts in which they differ: what is locked, which held lock an unlock means, how a holder is described.
struct Rules<F, M, R> {
    shape: F,
    matches: M,
    report: R,
}

/// Locks or unlocks in one domain and re-grants after an unlock.
fn apply<S: Shape, F, M, R>(
    domains: &mut Domains<S>,
    call: Call<'_>,
    clock: NotifyClock,
    rules: Rules<F, M, R>,
    fx: &mut Effects,
) -> FsResult<Outcome>
where
    F: Fn(LockKind) -> S,
    M: Fn(&S, LockKind) -> bool,
    R: Fn(Gfid, &Rc<[u8]>, Entry<S>) -> Contention,
{
    let (kind, wait) = match call.op {
        LockOp::Try(kind) => (kind, false),
        LockOp::Wait(kind) => (kind, true),
        LockOp::Unlock(kind) => {
            let (name, queue) = domains.find(call.domain).ok_or(Errno::EINVAL)?;
            queue.unlock(&call.owner, |held| (rules.matches)(held, kind))?;
            regrant(queue, clock, fx, |e| (rules.report)(call.gfid, name, e));
            return Ok(Outcome::Granted);
        }
    };
    let (name, queue) = domains.find_or_add(call.domain);
    let entry = Entry {
        owner: call.owner,
        shape: (rules.shape)(kind),
        pid: call.pid,
        request: call.request,
        notified_ns: None,
    };
    let mut contended = Vec::new();
    let result = queue.lock(entry, wait, clock, &mut contended);
    fx.contentions
        .extend(contended.into_iter().map(|e| (rules.report)(call.gfid, name, e)));
    result
}

fn regrant<S: Shape>(
    queue: &mut Queue<S>,
    clock: NotifyClock,
    fx: &mut Effects,
    report: impl Fn(Entry<S>) -> Contention,
) {
    let mut contended = Vec::new();
    queue.regrant(clock, &mut fx.wakeups, &mut contended);
    fx.contentions.extend(contended.into_iter().map(report));
}

fn inode_contention(gfid: Gfid, domain: &Rc<[u8]>, e: Entry<InodeShape>) -> Contention {
    let lock = ContendedLock::Inode(e.shape.kind, e.shape.range);
    Contention {
        owner: e.owner,
        gfid,
        domain: Rc::clone(domain),
        pid: e.pid,
        lock,
    }
}

fn entry_contention(gfid: Gfid, domain: &Rc<[u8]>, e: Entry<EntryShape>) -> Contention {
    let lock = ContendedLock::Entry(e.shape.kind, e.shape.name);
    Contention {
        owner: e.owner,
        gfid,
        domain: Rc::clone(domain),
        pid: e.pid,
        lock,
    }
}

/// The domain a request belongs to: metadata locks have one of their own, so that they do not meet the whole-file
/// data lock they lie inside.
fn metadata_domain<'a>(request: &InodelkRequest<'a>) -> std::borrow::Cow<'a, [u8]> {
    if request.start == METADATA_START && request.len == 0 {
        return [request.domain, METADATA_SUFFIX].concat().into();
    }
    request.domain.into()
}
