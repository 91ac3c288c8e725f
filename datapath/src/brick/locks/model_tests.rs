//! Random histories against naive models: bytes in an array for record locks, plain rule checks for the others.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const FILE: Gfid = Gfid([3; 16]);
const BYTES: u64 = 12;

fn owner(client: u8, lk: u8) -> Owner {
    Owner {
        client: ClientId(client.into()),
        lk_owner: LkOwner::new(&[lk]),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Lock {
        who: (u8, u8),
        start: u64,
        len: u64,
        write: bool,
        wait: bool,
    },
    Unlock {
        who: (u8, u8),
        start: u64,
        len: u64,
    },
    Flush {
        who: (u8, u8),
    },
    Disconnect {
        client: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = (0u8..3, 0u8..2);
    let range = (0..BYTES).prop_flat_map(|s| (Just(s), 1..=BYTES - s));
    prop_oneof![
        6 => (who.clone(), range.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(who, (start, len), write, wait)| Step::Lock { who, start, len, write, wait }),
        4 => (who.clone(), range).prop_map(|(who, (start, len))| Step::Unlock { who, start, len }),
        1 => who.prop_map(|who| Step::Flush { who }),
        1 => (0u8..3).prop_map(|client| Step::Disconnect { client }),
    ]
}

/// Record locks as one map of owners per byte.
#[derive(Default)]
struct ByteModel {
    bytes: Vec<BTreeMap<Owner, LockKind>>,
    waiting: Vec<(RequestId, Owner, LockKind, Range)>,
}

impl ByteModel {
    fn new() -> ByteModel {
        ByteModel {
            bytes: vec![BTreeMap::new(); BYTES as usize],
            waiting: Vec::new(),
        }
    }

    fn free(&self, who: &Owner, kind: LockKind, range: Range) -> bool {
        (range.start..=range.end).all(|at| {
            self.bytes[at as usize]
                .iter()
                .all(|(o, k)| o == who || (*k == LockKind::Read && kind == LockKind::Read))
        })
    }

    fn put(&mut self, who: &Owner, kind: Option<LockKind>, range: Range) {
        for at in range.start..=range.end {
            match kind {
                Some(kind) => self.bytes[at as usize].insert(who.clone(), kind),
                None => self.bytes[at as usize].remove(who),
            };
        }
    }

    fn settle(&mut self, woken: &mut Vec<Wakeup>) {
        while let Some(at) = self.waiting.iter().position(|(_, o, k, r)| self.free(o, *k, *r)) {
            let (request, who, kind, range) = self.waiting.remove(at);
            self.put(&who, Some(kind), range);
            woken.push(Wakeup {
                request,
                result: Ok(()),
            });
        }
    }

    fn forget(&mut self, gone: impl Fn(&Owner) -> bool) {
        self.bytes.iter_mut().for_each(|b| b.retain(|o, _| !gone(o)));
    }
}

/// The table's held record locks, spread over bytes.
fn spread(table: &LockTable) -> Vec<BTreeMap<Owner, LockKind>> {
    let mut bytes = vec![BTreeMap::new(); BYTES as usize];
    for lock in table.posix_held(FILE) {
        for at in lock.range.start..=lock.range.end {
            let old = bytes[at as usize].insert(lock.owner.clone(), lock.kind);
            assert_eq!(old, None, "two locks of one owner on byte {at}");
        }
    }
    bytes
}

proptest! {
    #[test]
    fn record_locks_follow_the_byte_model(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut table, mut model) = (LockTable::default(), ByteModel::new());
        for (number, step) in steps.into_iter().enumerate() {
            let request = RequestId(number as u64);
            let (mut fx, mut expected) = (Effects::default(), Vec::new());
            match step {
                Step::Lock { who: (c, l), start, len, write, wait } => {
                    let (who, range) = (owner(c, l), Range::from_wire(start, len).unwrap());
                    let kind = if write { LockKind::Write } else { LockKind::Read };
                    let op = if wait { LockOp::Wait(kind) } else { LockOp::Try(kind) };
                    let call = PosixRequest { gfid: FILE, owner: who.clone(), fd: 0, pid: 0, op, range, request };
                    let result = table.setlk(call, &mut fx);
                    if model.free(&who, kind, range) {
                        model.put(&who, Some(kind), range);
                        model.settle(&mut expected);
                        prop_assert_eq!(result, Ok(Outcome::Granted));
                    } else if wait {
                        model.waiting.push((request, who, kind, range));
                        prop_assert_eq!(result, Ok(Outcome::Queued));
                    } else {
                        prop_assert_eq!(result, Err(Errno::EAGAIN));
                    }
                }
                Step::Unlock { who: (c, l), start, len } => {
                    let (who, range) = (owner(c, l), Range::from_wire(start, len).unwrap());
                    let op = LockOp::Unlock(LockKind::Write);
                    let call = PosixRequest { gfid: FILE, owner: who.clone(), fd: 0, pid: 0, op, range, request };
                    prop_assert_eq!(table.setlk(call, &mut fx), Ok(Outcome::Granted));
                    model.put(&who, None, range);
                    model.settle(&mut expected);
                }
                Step::Flush { who: (c, l) } => {
                    let who = owner(c, l);
                    table.flush(FILE, &who, 0, &mut fx);
                    model.forget(|o| *o == who);
                    model.settle(&mut expected);
                }
                Step::Disconnect { client } => {
                    let gone = ClientId(client.into());
                    table.disconnect(0, gone, &mut fx);
                    for (request, _, _, _) in model.waiting.iter().filter(|(_, o, _, _)| o.client == gone) {
                        expected.push(Wakeup { request: *request, result: Err(Errno::EAGAIN) });
                    }
                    model.waiting.retain(|(_, o, _, _)| o.client != gone);
                    model.forget(|o| o.client == gone);
                    model.settle(&mut expected);
                }
            }
            prop_assert_eq!(fx.wakeups, expected);
            prop_assert_eq!(spread(&table), model.bytes.clone());
        }
    }
}

/// A lock as the rule checker sees it.
#[derive(Clone, Debug)]
struct Known {
    request: RequestId,
    who: Owner,
    write: bool,
    start: u64,
    len: u64,
}

impl Known {
    fn conflicts(&self, other: &Known) -> bool {
        let overlap = self.start < other.start + other.len && other.start < self.start + self.len;
        overlap && (self.write || other.write)
    }
}

/// What is held and waiting according to the results alone.
#[derive(Default)]
struct Ledger {
    held: Vec<Known>,
    waiting: Vec<Known>,
    answered: BTreeSet<RequestId>,
}

impl Ledger {
    fn apply(&mut self, fx: &Effects) {
        for wakeup in &fx.wakeups {
            assert!(self.answered.insert(wakeup.request), "request answered twice");
            let at = self
                .waiting
                .iter()
                .position(|w| w.request == wakeup.request)
                .expect("woken while not waiting");
            let known = self.waiting.remove(at);
            if wakeup.result.is_ok() {
                self.held.push(known);
            }
        }
    }

    /// No two owners in conflict; whoever waits has a reason; a passer-by had the right to pass.
    fn check(&self) {
        for (i, a) in self.held.iter().enumerate() {
            for b in &self.held[i + 1..] {
                assert!(a.who == b.who || !a.conflicts(b), "{a:?} and {b:?} are held together");
            }
        }
        for (i, w) in self.waiting.iter().enumerate() {
            let holder = self.held.iter().any(|h| h.who != w.who && h.conflicts(w));
            let earlier = self.waiting[..i].iter().any(|e| e.conflicts(w));
            assert!(holder || earlier, "{w:?} waits for nothing");
        }
    }

    fn may_pass(&self, new: &Known) -> bool {
        let knows = self.held.iter().chain(&self.waiting).any(|k| k.who == new.who);
        let free = self.held.iter().all(|h| h.who == new.who || !h.conflicts(new));
        free && (knows || self.waiting.iter().all(|w| !w.conflicts(new)))
    }
}

proptest! {
    #[test]
    fn inodelks_keep_their_rules(steps in proptest::collection::vec(step(), 1..80)) {
        let (mut table, mut ledger) = (LockTable::default(), Ledger::default());
        for (number, step) in steps.into_iter().enumerate() {
            let request = RequestId(number as u64);
            let mut fx = Effects::default();
            let call = |who: &Owner, op, start, len| {
                InodelkRequest { gfid: FILE, domain: b"d", owner: who.clone(), pid: 0, op, start, len, request }
            };
            match step {
                Step::Lock { who: (c, l), start, len, write, wait } => {
                    let known = Known { request, who: owner(c, l), write, start, len };
                    let kind = if write { LockKind::Write } else { LockKind::Read };
                    let op = if wait { LockOp::Wait(kind) } else { LockOp::Try(kind) };
                    let result = table.inodelk(0, call(&known.who, op, start, len), &mut fx);
                    prop_assert!(fx.wakeups.is_empty(), "taking a lock frees none");
                    let may = ledger.may_pass(&known);
                    match result {
                        Ok(Outcome::Granted) => { prop_assert!(may); ledger.held.push(known) }
                        Ok(Outcome::Queued) => { prop_assert!(!may && wait); ledger.waiting.push(known) }
                        Err(e) => { prop_assert!(!may && !wait); prop_assert_eq!(e, Errno::EAGAIN) }
                    }
                }
                Step::Unlock { who: (c, l), start, len } => {
                    let who = owner(c, l);
                    let at = ledger.held.iter().position(|h| h.who == who && (h.start, h.len) == (start, len));
                    let result = table.inodelk(0, call(&who, LockOp::Unlock(LockKind::Read), start, len), &mut fx);
                    match at {
                        // Of several equal locks any may go; the ledger drops one of the same strength as the table.
                        Some(at) => { prop_assert_eq!(result, Ok(Outcome::Granted)); ledger.held.remove(at); }
                        None => prop_assert_eq!(result, Err(Errno::EINVAL)),
                    }
                }
                Step::Flush { who: (c, l) } => table.flush(FILE, &owner(c, l), 0, &mut fx),
                Step::Disconnect { client } => {
                    let gone = ClientId(client.into());
                    table.disconnect(0, gone, &mut fx);
                    ledger.held.retain(|h| h.who.client != gone);
                }
            }
            ledger.apply(&fx);
            ledger.check();
            prop_assert_eq!(table.inodelk_count(FILE), ledger.held.len() + ledger.waiting.len());
        }
    }
}
