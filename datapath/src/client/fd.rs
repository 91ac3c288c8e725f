//! Open files and directories of this core, with the fd number each brick gave them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::{Rc, Weak};

use crate::replicate::{BrickSet, DirStream};
use crate::wire::Gfid;

/// "No fd of mine: open the file yourself for this request" (wire-protocol.md 3.5).
pub const ANONYMOUS: i64 = -2;

/// An open file or directory. Cheap to clone; all clones are the same fd.
#[derive(Clone)]
pub struct Fd(Rc<FdInner>);

struct FdInner {
    gfid: Gfid,
    flags: u32,
    is_dir: bool,
    remote: RefCell<Vec<Option<i64>>>,
    /// Bricks an OPEN is on its way to.
    opening: Cell<BrickSet>,
    stream: RefCell<DirStream>,
    released: Cell<bool>,
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fd")
            .field("gfid", &self.0.gfid)
            .field("remote", &self.0.remote)
            .finish()
    }
}

impl Fd {
    /// An fd that is open on no brick yet. `flags` are the open flags it is re-opened with.
    pub fn new(gfid: Gfid, flags: u32, is_dir: bool, bricks: usize) -> Fd {
        Fd(Rc::new(FdInner {
            gfid,
            flags,
            is_dir,
            remote: RefCell::new(vec![None; bricks]),
            opening: Cell::default(),
            stream: RefCell::default(),
            released: Cell::new(false),
        }))
    }

    /// Whether both are the same fd.
    pub fn is(&self, other: &Fd) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The inode it is open on.
    pub fn gfid(&self) -> Gfid {
        self.0.gfid
    }

    /// Open flags.
    pub fn flags(&self) -> u32 {
        self.0.flags
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.0.is_dir
    }

    /// The brick's number for it, if it is open there.
    pub fn remote(&self, brick: usize) -> Option<i64> {
        self.0.remote.borrow().get(brick).copied().flatten()
    }

    /// The brick's number, or the anonymous fd.
    pub fn remote_or_anonymous(&self, brick: usize) -> i64 {
        self.remote(brick).unwrap_or(ANONYMOUS)
    }

    /// Notes that `brick` opened it as `number`, or lost it.
    pub fn set_remote(&self, brick: usize, number: Option<i64>) {
        if let Some(slot) = self.0.remote.borrow_mut().get_mut(brick) {
            *slot = number;
        }
    }

    /// Bricks an OPEN of it is on its way to.
    pub fn opening(&self) -> BrickSet {
        self.0.opening.get()
    }

    /// Notes that an OPEN is on its way to `bricks`.
    pub fn set_opening(&self, bricks: BrickSet) {
        self.0.opening.set(self.0.opening.get() | bricks);
    }

    /// Notes that the OPEN that was on its way to `brick` has been answered.
    pub fn not_opening(&self, brick: usize) {
        self.0.opening.set(self.0.opening.get() - BrickSet::one(brick));
    }

    /// The bricks it is open on.
    pub fn open_on(&self) -> BrickSet {
        self.0
            .remote
            .borrow()
            .iter()
            .enumerate()
            .filter(|(_, n)| n.is_some())
            .map(|(i, _)| i)
            .collect()
    }

    /// The brick a directory listing is read from now.
    pub fn listing(&self) -> Option<usize> {
        Some(self.0.stream.borrow().source()?.brick)
    }

    /// Where its listing stands, if it is a directory. Not to be borrowed over a wait.
    pub(crate) fn stream(&self) -> &RefCell<DirStream> {
        &self.0.stream
    }

    /// Marks it released: it is not re-opened any more. Returns whether it was before.
    pub fn release(&self) -> bool {
        self.0.released.replace(true)
    }

    /// Whether it was released.
    pub fn is_released(&self) -> bool {
        self.0.released.get()
    }
}

/// All fds of a core that may have to be re-opened on a brick that returns.
#[derive(Debug, Default)]
pub struct FdTable {
    fds: RefCell<Vec<WeakFd>>,
}

#[derive(Debug)]
struct WeakFd(Weak<FdInner>);

impl fmt::Debug for FdInner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd of {}", self.gfid)
    }
}

impl FdTable {
    /// Remembers `fd`.
    pub fn add(&self, fd: &Fd) {
        let mut fds = self.fds.borrow_mut();
        if fds.len() == fds.capacity() {
            fds.retain(|w| w.0.upgrade().is_some_and(|f| !f.released.get()));
        }
        fds.push(WeakFd(Rc::downgrade(&fd.0)));
    }

    /// The fds that are open now.
    pub fn live(&self) -> Vec<Fd> {
        self.fds
            .borrow()
            .iter()
            .filter_map(|w| w.0.upgrade())
            .filter(|f| !f.released.get())
            .map(Fd)
            .collect()
    }

    /// The open fds of one inode.
    pub fn of(&self, gfid: Gfid) -> Vec<Fd> {
        let mut fds = self.live();
        fds.retain(|fd| fd.gfid() == gfid);
        fds
    }

    /// The bricks of the volume have changed: `was` has for each brick the index it had.
    pub fn renumber(&self, was: &[Option<usize>]) {
        for fd in self.live() {
            let fd = &fd.0;
            let old = fd.remote.take();
            let number = |was: &Option<usize>| was.and_then(|was| old.get(was).copied().flatten());
            fd.remote.replace(was.iter().map(number).collect());
            // No OPEN is under way when bricks change.
            fd.opening.set(BrickSet::EMPTY);
            fd.stream.borrow_mut().renumber(was);
        }
    }

    /// `brick` lost its connection: it has closed all of them.
    pub fn lost(&self, brick: usize) {
        for fd in self.live() {
            fd.set_remote(brick, None);
        }
    }
}
