//! Every rule of the locks chapter, one test each.

use std::collections::BTreeSet;

use super::*;

const FILE: Gfid = Gfid([7; 16]);
const DOMAIN: &[u8] = b"vol-replicate-0";

fn owner(client: u64, lk: &str) -> Owner {
    Owner {
        client: ClientId(client),
        lk_owner: LkOwner::new(lk.as_bytes()),
    }
}

/// A table with a growing request number and a clock.
#[derive(Default)]
struct Bench {
    table: LockTable,
    now_ns: u64,
    last: u64,
    fx: Effects,
}

impl Bench {
    fn next(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    fn inodelk_in(&mut self, domain: &[u8], who: &Owner, op: LockOp, start: u64, len: u64) -> FsResult<Outcome> {
        let request = InodelkRequest {
            gfid: FILE,
            domain,
            owner: who.clone(),
            pid: 42,
            op,
            start,
            len,
            request: self.next(),
        };
        self.table.inodelk(self.now_ns, request, &mut self.fx)
    }

    fn inodelk(&mut self, who: &Owner, op: LockOp, start: u64, len: u64) -> FsResult<Outcome> {
        self.inodelk_in(DOMAIN, who, op, start, len)
    }

    fn entrylk(&mut self, who: &Owner, op: LockOp, name: Option<&str>) -> FsResult<Outcome> {
        let request = EntrylkRequest {
            gfid: FILE,
            domain: DOMAIN,
            owner: who.clone(),
            pid: 42,
            op,
            name: name.map(str::as_bytes),
            request: self.next(),
        };
        self.table.entrylk(self.now_ns, request, &mut self.fx)
    }

    fn lk(&mut self, who: &Owner, fd: i64, op: LockOp, start: u64, len: u64) -> FsResult<Outcome> {
        let range = Range::from_wire(start, len).unwrap();
        let request = PosixRequest {
            gfid: FILE,
            owner: who.clone(),
            fd,
            pid: 1,
            op,
            range,
            request: self.next(),
        };
        self.table.setlk(request, &mut self.fx)
    }

    /// The requests woken since the last call, and how.
    fn woken(&mut self) -> Vec<(u64, FsResult<()>)> {
        std::mem::take(&mut self.fx.wakeups)
            .into_iter()
            .map(|w| (w.request.0, w.result))
            .collect()
    }

    fn contended(&mut self) -> Vec<Contention> {
        std::mem::take(&mut self.fx.contentions)
    }
}

use LockKind::{Read, Write};
use LockOp::{Try, Unlock, Wait};

#[test]
fn writers_exclude_and_readers_share() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(2, "z"));
    assert_eq!(b.inodelk(&x, Try(Read), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Try(Read), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&z, Try(Write), 100, 1), Err(Errno::EAGAIN));
    assert_eq!(b.table.inodelk_count(FILE), 2);
}

#[test]
fn the_same_owner_stacks() {
    let mut b = Bench::default();
    let x = owner(1, "x");
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&x, Unlock(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.table.inodelk_count(FILE), 1);
    assert_eq!(
        b.inodelk(&owner(2, "x"), Try(Write), 0, 0),
        Err(Errno::EAGAIN),
        "another client's x is another owner"
    );
}

#[test]
fn unlock_needs_the_exact_range_and_owner() {
    let mut b = Bench::default();
    let x = owner(1, "x");
    assert_eq!(b.inodelk(&x, Unlock(Write), 0, 0), Err(Errno::EINVAL));
    assert_eq!(b.inodelk(&x, Try(Read), 0, 10), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&x, Unlock(Write), 0, 9), Err(Errno::EINVAL));
    assert_eq!(b.inodelk(&owner(1, "y"), Unlock(Write), 0, 10), Err(Errno::EINVAL));
    assert_eq!(
        b.inodelk(&x, Unlock(Write), 0, 10),
        Ok(Outcome::Granted),
        "the type is ignored"
    );
    assert_eq!(b.inodelk(&x, Unlock(Write), 0, 10), Err(Errno::EINVAL));
    assert!(b.table.dump().is_empty(), "an inode without locks is forgotten");
}

#[test]
fn metadata_locks_live_in_their_own_domain() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(2, "y"));
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Try(Write), END - 1, 0), Ok(Outcome::Granted));
    assert_eq!(b.table.inodelk_domain_count(FILE, DOMAIN), 1);
    assert_eq!(b.table.inodelk_domain_count(FILE, b"vol-replicate-0:metadata"), 1);
    assert_eq!(b.inodelk(&x, Try(Write), END - 1, 0), Err(Errno::EAGAIN));
    assert_eq!(b.inodelk(&y, Unlock(Write), END - 1, 0), Ok(Outcome::Granted));
}

#[test]
fn domains_do_not_meet() {
    let mut b = Bench::default();
    assert_eq!(
        b.inodelk_in(b"a", &owner(1, "x"), Try(Write), 0, 0),
        Ok(Outcome::Granted)
    );
    assert_eq!(
        b.inodelk_in(b"b", &owner(2, "y"), Try(Write), 0, 0),
        Ok(Outcome::Granted)
    );
    assert_eq!(b.table.inodelk_count(FILE), 2);
    assert_eq!(b.table.inodelk_domain_count(FILE, b"a"), 1);
    assert_eq!(b.table.inodelk_domain_count(FILE, b"c"), 0);
}

#[test]
fn waiting_locks_are_granted_in_arrival_order() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(3, "z"));
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Wait(Write), 0, 0), Ok(Outcome::Queued)); // request 2
    assert_eq!(b.inodelk(&z, Wait(Write), 0, 0), Ok(Outcome::Queued)); // request 3
    assert_eq!(b.table.inodelk_domain_count(FILE, DOMAIN), 3, "waiting locks count");
    assert_eq!(b.inodelk(&x, Unlock(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.woken(), [(2, Ok(()))]);
    assert_eq!(b.inodelk(&y, Unlock(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.woken(), [(3, Ok(()))]);
}

#[test]
fn a_grantable_request_waits_behind_a_conflicting_waiting_one() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(3, "z"));
    assert_eq!(b.inodelk(&x, Try(Read), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Wait(Write), 0, 0), Ok(Outcome::Queued)); // 2
    assert_eq!(
        b.inodelk(&z, Try(Read), 0, 0),
        Err(Errno::EAGAIN),
        "readers may not starve the writer"
    );
    assert_eq!(
        b.inodelk(&x, Try(Read), 0, 0),
        Ok(Outcome::Granted),
        "but a nested lock of a holder may pass"
    );
    assert_eq!(b.inodelk(&z, Wait(Read), 0, 0), Ok(Outcome::Queued)); // 5
    for _ in 0..2 {
        assert_eq!(b.inodelk(&x, Unlock(Write), 0, 0), Ok(Outcome::Granted));
    }
    assert_eq!(b.woken(), [(2, Ok(()))]);
    assert_eq!(b.inodelk(&y, Unlock(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.woken(), [(5, Ok(()))]);
}

#[test]
fn entrylks_conflict_by_name_or_whole_directory() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(2, "y"));
    assert_eq!(b.entrylk(&x, Try(Read), Some("a")), Ok(Outcome::Granted));
    assert_eq!(
        b.entrylk(&y, Try(Read), Some("a")),
        Err(Errno::EAGAIN),
        "the type is ignored"
    );
    assert_eq!(b.entrylk(&y, Try(Write), Some("b")), Ok(Outcome::Granted));
    assert_eq!(b.entrylk(&y, Try(Write), None), Err(Errno::EAGAIN));
    assert!(b.table.entrylk_held_on(FILE, b"a"));
    assert!(!b.table.entrylk_held_on(FILE, b"c"));
    assert_eq!(
        b.entrylk(&x, Unlock(Write), Some("a")),
        Err(Errno::EINVAL),
        "an unlock matches the type"
    );
    assert_eq!(b.entrylk(&x, Unlock(Read), Some("a")), Ok(Outcome::Granted));
    assert_eq!(b.entrylk(&y, Unlock(Write), Some("b")), Ok(Outcome::Granted));
    assert_eq!(b.entrylk(&x, Try(Write), None), Ok(Outcome::Granted));
    assert!(
        !b.table.entrylk_held_on(FILE, b"a"),
        "a whole-directory lock is not a lock on the name"
    );
    assert_eq!(b.table.entrylk_count(FILE), 1);
}

#[test]
fn a_disconnect_frees_fails_and_grants() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(3, "z"));
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.entrylk(&x, Try(Write), None), Ok(Outcome::Granted));
    assert_eq!(b.lk(&x, 3, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Wait(Write), 0, 0), Ok(Outcome::Queued)); // 4
    assert_eq!(b.inodelk(&z, Wait(Write), 0, 0), Ok(Outcome::Queued)); // 5
    assert_eq!(b.entrylk(&y, Wait(Write), Some("n")), Ok(Outcome::Queued)); // 6
    assert_eq!(b.lk(&z, 9, Wait(Read), 5, 5), Ok(Outcome::Queued)); // 7
    b.table.disconnect(0, ClientId(2), &mut b.fx);
    assert_eq!(b.woken(), [(4, Err(Errno::EAGAIN)), (6, Err(Errno::EAGAIN))]);
    b.table.disconnect(0, ClientId(1), &mut b.fx);
    assert_eq!(b.woken(), [(5, Ok(())), (7, Ok(()))]);
    b.table.disconnect(0, ClientId(3), &mut b.fx);
    assert!(b.table.dump().is_empty());
}

#[test]
fn holders_hear_of_contention_once_per_delay() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(2, "y"));
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert!(b.contended().is_empty());
    assert_eq!(b.inodelk(&y, Try(Write), 5, 5), Err(Errno::EAGAIN));
    let first = b.contended();
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0].owner, first[0].pid, &*first[0].domain), (&x, 42, DOMAIN));
    assert_eq!(first[0].lock, ContendedLock::Inode(Write, Range { start: 0, end: END }));
    b.now_ns = 4_999_999_999;
    assert_eq!(b.inodelk(&y, Wait(Write), 5, 5), Ok(Outcome::Queued));
    assert!(b.contended().is_empty());
    b.now_ns = 5_000_000_000;
    assert_eq!(b.inodelk(&y, Try(Write), 5, 5), Err(Errno::EAGAIN));
    assert_eq!(b.contended().len(), 1);
}

#[test]
fn a_new_holder_hears_of_those_still_waiting() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(3, "z"));
    assert_eq!(b.entrylk(&x, Try(Write), Some("n")), Ok(Outcome::Granted));
    assert_eq!(b.entrylk(&y, Wait(Write), Some("n")), Ok(Outcome::Queued));
    assert_eq!(b.entrylk(&z, Wait(Write), None), Ok(Outcome::Queued));
    assert_eq!(b.contended().len(), 1);
    assert_eq!(b.entrylk(&x, Unlock(Write), Some("n")), Ok(Outcome::Granted));
    let told = b.contended();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].owner, y);
    assert_eq!(told[0].lock, ContendedLock::Entry(Write, Some(Box::from(*b"n"))));
}

#[test]
fn contention_notices_can_be_switched_off() {
    let mut b = Bench::default();
    b.table.set_options(LockOptions {
        notify_contention: false,
        ..LockOptions::default()
    });
    assert_eq!(b.inodelk(&owner(1, "x"), Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&owner(2, "y"), Try(Write), 0, 0), Err(Errno::EAGAIN));
    assert!(b.contended().is_empty());
}

#[test]
fn record_locks_merge_and_split() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(1, "y"));
    assert_eq!(b.lk(&x, 0, Try(Write), 0, 10), Ok(Outcome::Granted));
    assert_eq!(b.lk(&x, 0, Try(Write), 10, 10), Ok(Outcome::Granted));
    assert_eq!(b.table.posixlk_count(FILE), 1, "neighbours join");
    assert_eq!(b.lk(&x, 0, Unlock(Write), 5, 5), Ok(Outcome::Granted));
    assert_eq!(b.table.posixlk_count(FILE), 2, "a hole splits");
    assert_eq!(b.lk(&y, 0, Try(Write), 5, 5), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 0, Try(Read), 4, 1), Err(Errno::EAGAIN));
    assert_eq!(b.lk(&x, 0, Try(Read), 0, 5), Ok(Outcome::Granted));
    assert_eq!(
        b.lk(&y, 0, Try(Read), 4, 1),
        Ok(Outcome::Granted),
        "a write lock became a read lock"
    );
}

#[test]
fn getlk_names_the_holder() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(2, "y"));
    assert_eq!(b.lk(&x, 0, Try(Read), 10, 20), Ok(Outcome::Granted));
    let all = Range { start: 0, end: END };
    assert_eq!(b.table.getlk(FILE, &y, Read, all), None);
    assert_eq!(
        b.table.getlk(FILE, &x, Write, all),
        None,
        "one's own lock is no obstacle"
    );
    let held = b.table.getlk(FILE, &y, Write, all).unwrap();
    assert_eq!(
        (held.kind, held.range.start, held.range.wire_len(), &held.owner),
        (Read, 10, 20, &x)
    );
    assert_eq!(b.table.getlk(Gfid::ROOT, &y, Write, all), None);
}

#[test]
fn only_those_in_the_way_of_a_record_lock_are_named() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(3, "z"));
    assert_eq!(b.lk(&x, 0, Try(Write), 0, 10), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 0, Try(Write), 20, 10), Ok(Outcome::Granted));
    let range = |start, len| Range::from_wire(start, len).unwrap();
    let ids = |ids: &[u64]| ids.iter().map(|id| ClientId(*id)).collect::<BTreeSet<_>>();
    assert_eq!(b.table.record_conflicts(FILE, &z, Read, range(0, 5)), ids(&[1]));
    assert_eq!(b.table.record_conflicts(FILE, &z, Read, range(5, 0)), ids(&[1, 2]));
    assert_eq!(b.table.record_conflicts(FILE, &x, Write, range(0, 10)), ids(&[]));
    assert_eq!(b.table.record_blockers(FILE), (false, ids(&[])), "nobody waits");
    assert_eq!(b.lk(&z, 0, Wait(Write), 25, 1), Ok(Outcome::Queued));
    assert_eq!(b.table.record_blockers(FILE), (true, ids(&[2])));
    assert_eq!(b.lk(&y, 0, Unlock(Write), 20, 10), Ok(Outcome::Granted));
    assert_eq!(b.table.record_blockers(FILE), (false, ids(&[])), "granted");
    assert_eq!(b.lk(&y, 0, Wait(Write), 0, 0), Ok(Outcome::Queued));
    assert_eq!(b.table.record_blockers(FILE), (true, ids(&[1, 3])));
}

#[test]
fn a_downgrade_lets_waiting_readers_in() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(2, "y"));
    assert_eq!(b.lk(&x, 0, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 0, Wait(Read), 0, 0), Ok(Outcome::Queued)); // 2
    assert_eq!(b.lk(&x, 0, Try(Read), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.woken(), [(2, Ok(()))]);
}

#[test]
fn flush_drops_the_owner_and_release_drops_the_fd() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(1, "y"), owner(2, "z"));
    assert_eq!(b.lk(&x, 3, Try(Write), 0, 10), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 3, Try(Write), 20, 10), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 4, Try(Write), 40, 10), Ok(Outcome::Granted));
    assert_eq!(
        b.lk(&z, 3, Try(Write), 60, 10),
        Ok(Outcome::Granted),
        "fd 3 of another client is another fd"
    );
    assert_eq!(b.lk(&z, 5, Wait(Write), 0, 10), Ok(Outcome::Queued)); // 5
    b.table.flush(FILE, &x, 3, &mut b.fx);
    assert_eq!(b.woken(), [(5, Ok(()))]);
    assert_eq!(b.table.posixlk_count(FILE), 4);
    b.table.flush(FILE, &owner(1, ""), 3, &mut b.fx);
    assert_eq!(b.table.posixlk_count(FILE), 3, "an empty owner means the fd");
    b.table.release(FILE, ClientId(1), 4, &mut b.fx);
    assert_eq!(b.table.posixlk_count(FILE), 2);
    assert_eq!(b.lk(&x, 7, Wait(Write), 0, 10), Ok(Outcome::Queued)); // 6
    b.table.release(FILE, ClientId(1), 7, &mut b.fx);
    assert_eq!(b.woken(), [(6, Err(Errno::EAGAIN))]);
}

#[test]
fn unlocking_what_is_not_held_is_fine() {
    let mut b = Bench::default();
    assert_eq!(b.lk(&owner(1, "x"), 0, Unlock(Write), 0, 0), Ok(Outcome::Granted));
    assert!(b.table.dump().is_empty());
}

#[test]
fn clear_locks_drops_what_was_asked_for() {
    let mut b = Bench::default();
    let (x, y) = (owner(1, "x"), owner(2, "y"));
    assert_eq!(b.inodelk(&x, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Wait(Write), 0, 0), Ok(Outcome::Queued)); // 2
    assert_eq!(
        b.table
            .clear_inodelks(0, FILE, Some(b"other"), ClearKind::All, &mut b.fx),
        0
    );
    assert_eq!(b.table.clear_inodelks(0, FILE, None, ClearKind::Granted, &mut b.fx), 1);
    assert_eq!(b.woken(), [(2, Ok(()))]);
    assert_eq!(b.entrylk(&x, Try(Write), Some("n")), Ok(Outcome::Granted));
    assert_eq!(
        b.table.clear_entrylks(0, FILE, Some(b"m"), ClearKind::All, &mut b.fx),
        0
    );
    assert_eq!(
        b.table.clear_entrylks(0, FILE, Some(b"n"), ClearKind::All, &mut b.fx),
        1
    );
    assert_eq!(b.lk(&x, 0, Try(Write), 0, 10), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 0, Wait(Write), 0, 10), Ok(Outcome::Queued)); // 5
    let range = Range { start: 9, end: 9 };
    assert_eq!(b.table.clear_posix(FILE, range, ClearKind::Blocked, &mut b.fx), 1);
    assert_eq!(b.woken(), [(5, Err(Errno::EAGAIN))]);
}

#[test]
fn a_cancelled_call_no_longer_holds_up_others() {
    let mut b = Bench::default();
    let (x, y, z) = (owner(1, "x"), owner(2, "y"), owner(3, "z"));
    assert_eq!(b.inodelk(&x, Try(Read), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.inodelk(&y, Wait(Write), 0, 0), Ok(Outcome::Queued)); // 2
    assert_eq!(b.inodelk(&z, Wait(Read), 0, 0), Ok(Outcome::Queued)); // 3
    assert_eq!(b.lk(&x, 0, Try(Write), 0, 0), Ok(Outcome::Granted));
    assert_eq!(b.lk(&y, 0, Wait(Write), 0, 0), Ok(Outcome::Queued)); // 5
    b.table.cancel(0, &[RequestId(2), RequestId(5)].into(), &mut b.fx);
    assert_eq!(
        b.woken(),
        [(2, Err(Errno::EAGAIN)), (3, Ok(())), (5, Err(Errno::EAGAIN))]
    );
    assert_eq!(
        (b.table.inodelk_count(FILE), b.table.posixlk_count(FILE)),
        (2, 1),
        "held locks stay"
    );
}

#[test]
fn commands_of_the_wire() {
    assert_eq!(inodelk_op(0, 1), Err(Errno::EOPNOTSUPP));
    assert_eq!(inodelk_op(1, 0), Ok(Try(Read)));
    assert_eq!(inodelk_op(2, 1), Ok(Wait(Write)));
    assert_eq!(inodelk_op(1, 2), Ok(Unlock(Write)));
    assert_eq!(inodelk_op(1, 3), Err(Errno::EINVAL));
    assert_eq!(inodelk_op(9, 1), Err(Errno::EINVAL));
    assert_eq!(entrylk_op(0, 1), Ok(Wait(Write)));
    assert_eq!(entrylk_op(1, 0), Ok(Unlock(Read)));
    assert_eq!(entrylk_op(2, 1), Ok(Try(Write)));
    assert_eq!(entrylk_op(3, 1), Err(Errno::EINVAL));
    assert_eq!(entrylk_op(0, 2), Err(Errno::EINVAL));
}
