//! LOOKUP and inode refresh: what there is, and which copies of it are good (brick-and-replicate.md D.8, D.9).

use bytes::Bytes;

use super::BrickSet;
use super::answers::Answers;
use super::pending::Slot;
use super::readable::{Claim, Readable, Testimony, claim, judge, resolve};
use super::set::ReplicaSet;
use crate::client::{Caller, Reply, Subvol};
use crate::errno::{Errno, FsResult};
use crate::wire::fop::{Iatt2Rsp, LookupReq};
use crate::wire::{Dict, Gfid, Iatt, Value};

/// xdata key under which a brick counts the locks of our domain.
pub(super) const INODELK_COUNT: &str = "glusterfs.inodelk-count";

/// The answers to one LOOKUP of an inode, judged.
#[derive(Debug)]
pub(super) struct Found {
    /// What each brick said.
    pub said: Vec<Option<Testimony>>,
    /// The good copies.
    pub readable: Readable,
}

impl Found {
    /// The attributes as `brick` has them.
    pub fn stat(&self, brick: usize) -> Option<Iatt> {
        self.said.get(brick)?.as_ref().map(|t| t.stat)
    }

    /// Bricks that anybody blames otherwise in `slot` than at `before`. Who was not heard then blamed nobody.
    pub fn accused_since(&self, before: &Found, slot: Slot) -> BrickSet {
        let blame = |found: &Found, by: usize, of: usize| {
            let row = found.said.get(by).and_then(Option::as_ref).map(|t| &t.pending);
            row.and_then(|r| r.blame.get(of)).map_or(0, |c| c.slot(slot))
        };
        let bricks = self.said.len();
        let heard = |by: &usize| self.said[*by].is_some();
        let accused = |of: &usize| {
            (0..bricks)
                .filter(heard)
                .any(|by| blame(self, by, *of) != blame(before, by, *of))
        };
        (0..bricks).filter(accused).collect()
    }
}

impl ReplicaSet {
    /// xdata of every LOOKUP: pending xattrs and lock counts.
    pub(super) fn lookup_xdata(&self) -> Dict {
        let mut xdata = Dict::new();
        self.0.keys.request(&mut xdata);
        xdata.set("glusterfs.inodelk-dom-count", Value::str(&self.spec().replicate));
        xdata
    }

    /// Looks a name up.
    ///
    /// # Errors
    /// `ENOENT`, `ESTALE` when the directory is gone, `EIO` when good copies disagree on what the name is, `ENOTCONN`
    /// when no brick may be believed.
    pub async fn lookup(&self, caller: &Caller, parent: Gfid, name: &[u8]) -> FsResult<Iatt> {
        if name.is_empty() || name.contains(&b'/') {
            return Err(Errno::EINVAL);
        }
        let req = LookupReq {
            pargfid: parent,
            bname: Bytes::copy_from_slice(name),
            xdata: self.lookup_xdata(),
            ..LookupReq::default()
        };
        let cred = self.cred(caller, 0);
        self.become_believable().await?;
        let answers = self.ask_quickly(self.up(), |_, s| s.call(&cred, &req)).await;
        let answers = match self.agreement(&answers) {
            Agreement::Unanimous => answers,
            Agreement::Error(e) => return Err(e),
            Agreement::Disputed => self.settle_dispute(parent, &req.bname, answers).await?,
        };
        let gfid = answers
            .iter()
            .map(|(_, r)| r.prestat.gfid)
            .find(|g| !g.is_null())
            .ok_or(Errno::ENOENT)?;
        self.judged_iatt(gfid, &answers)
    }

    /// Looks an inode up by its gfid.
    ///
    /// # Errors
    /// As [`ReplicaSet::lookup`].
    pub async fn lookup_gfid(&self, caller: &Caller, gfid: Gfid) -> FsResult<Iatt> {
        let cred = self.cred(caller, 0);
        self.become_believable().await?;
        let answers = self.ask_inode(|s, req| s.call(&cred, req), gfid).await;
        self.judged_iatt(gfid, &answers)
    }

    /// Judges the copies of an inode anew, as far as they answer soon: for reading.
    pub(super) async fn refresh(&self, gfid: Gfid) -> FsResult<Found> {
        let cred = self.own_cred(0);
        let answers = self.ask_inode(|s, req| s.call(&cred, req), gfid).await;
        self.judged(gfid, &answers)
    }

    /// Judges the copies of an inode anew with the word of every brick that is up: for healing, where a brick that was
    /// not heard may be the one that knows what the others missed.
    pub(super) async fn refresh_fully(&self, gfid: Gfid) -> FsResult<Found> {
        let (cred, req) = (self.own_cred(0), self.inode_lookup(gfid));
        let answers = self.ask(self.up(), |_, s| s.call(&cred, &req)).await;
        self.judged(gfid, &answers)
    }

    fn inode_lookup(&self, gfid: Gfid) -> LookupReq {
        LookupReq {
            gfid,
            xdata: self.lookup_xdata(),
            ..LookupReq::default()
        }
    }

    async fn ask_inode(&self, send: impl Fn(&Subvol, &LookupReq) -> Reply<Iatt2Rsp>, gfid: Gfid) -> Answers<Iatt2Rsp> {
        let req = self.inode_lookup(gfid);
        self.ask_quickly(self.up(), |_, s| send(s, &req)).await
    }

    /// Bricks whose word counts now: all with a quorum up, else only those known to have missed nothing.
    pub(super) fn believable(&self) -> BrickSet {
        let up = self.up();
        if self.quorum().met(up) { up } else { up & self.trusted() }
    }

    fn testimonies(&self, answers: &Answers<Iatt2Rsp>, gfid: Gfid) -> Vec<Option<Testimony>> {
        (0..self.bricks())
            .map(|b| {
                let rsp = answers.get(b).filter(|r| r.prestat.gfid == gfid)?;
                Some(Testimony {
                    stat: rsp.prestat,
                    pending: self.0.keys.row(&rsp.xdata),
                    inodelks: rsp.xdata.get_i64(INODELK_COUNT).unwrap_or(0),
                })
            })
            .collect()
    }

    /// Which copies are good, noted at the inode.
    fn judged(&self, gfid: Gfid, answers: &Answers<Iatt2Rsp>) -> FsResult<Found> {
        if answers.ok().is_empty() {
            return Err(answers.errno());
        }
        let generation = self.generation();
        let said = self.testimonies(answers, gfid);
        let believable = self.believable();
        if believable.is_empty() {
            return Err(Errno::ENOTCONN);
        }
        let mut readable = judge(&said);
        let is_dir = said.iter().flatten().any(|t| t.stat.is_dir());
        if readable.data.is_empty() {
            readable.data = resolve(&said, if is_dir { Slot::Entry } else { Slot::Data }, &self.quorum());
        }
        if readable.metadata.is_empty() {
            readable.metadata = resolve(&said, Slot::Metadata, &self.quorum());
        }
        if is_dir && readable.data.is_empty() {
            // A directory everybody is accused of is still listed: heal merges the names.
            readable.data = said
                .iter()
                .enumerate()
                .filter(|(_, t)| t.is_some())
                .map(|(i, _)| i)
                .collect();
        }
        readable.data &= believable;
        readable.metadata &= believable;
        self.inode(gfid).set_readable(generation, readable);
        Ok(Found { said, readable })
    }

    fn judged_iatt(&self, gfid: Gfid, answers: &Answers<Iatt2Rsp>) -> FsResult<Iatt> {
        let found = self.judged(gfid, answers)?;
        self.best_iatt(gfid, &found)
    }

    /// The attributes of the copy that would be read. Split-brain does not hide a file: its attributes come from any
    /// copy, reading it is an error.
    fn best_iatt(&self, gfid: Gfid, found: &Found) -> FsResult<Iatt> {
        let both = found.readable.both();
        let busy = self.inode(gfid).busy();
        let candidates = [both - busy, both, found.readable.metadata, self.believable()];
        candidates
            .into_iter()
            .map(|set| set.iter().filter(|&b| found.stat(b).is_some()).collect::<BrickSet>())
            .find_map(|set| self.policy().pick(gfid, set))
            .and_then(|b| found.stat(b))
            .ok_or(Errno::ENOTCONN)
    }

    fn agreement(&self, answers: &Answers<Iatt2Rsp>) -> Agreement {
        let (ok, failed) = (answers.ok(), answers.failed() - answers.failed_with(Errno::ENOTCONN));
        let mut gfids = answers.iter().map(|(_, r)| r.prestat.gfid);
        let first = gfids.next();
        let same = gfids.all(|g| Some(g) == first);
        if ok.is_empty() && failed.is_empty() {
            return Agreement::Error(Errno::ENOTCONN);
        }
        if self.believable().is_empty() {
            return Agreement::Error(Errno::ENOTCONN);
        }
        if ok.is_empty()
            && failed
                .iter()
                .all(|b| answers.error(b) == answers.error(failed.lowest().unwrap_or(0)))
        {
            return Agreement::Error(answers.errno());
        }
        if failed.is_empty() && same {
            Agreement::Unanimous
        } else {
            Agreement::Disputed
        }
    }

    /// Some bricks have the name and others do not, or not the same: those whose directory is good decide.
    async fn settle_dispute(
        &self,
        parent: Gfid,
        name: &Bytes,
        answers: Answers<Iatt2Rsp>,
    ) -> FsResult<Answers<Iatt2Rsp>> {
        let directory = self.refresh(parent).await?;
        let mut judges = directory.readable.data;
        if judge(&directory.said).data.is_empty()
            && self.quorum().is_decisive()
            && let Claim::One(state) = claim(&directory.said, &states_of(&answers))
        {
            judges = having(&answers, state);
        }
        let have = answers.ok() & judges;
        let lack = (answers.failed() - answers.failed_with(Errno::ENOTCONN)) & judges;
        if have.is_empty() {
            let lacking = lack.lowest().and_then(|b| answers.error(b));
            return Err(lacking.unwrap_or_else(|| answers.errno()));
        }
        let mut gfids = have.iter().filter_map(|b| answers.get(b)).map(|r| r.prestat.gfid);
        let gfid = gfids.next().unwrap_or(Gfid::NULL);
        let same = gfids.all(|g| g == gfid);
        if !same || !lack.is_empty() {
            self.doubt(parent, name.clone());
        }
        if !same {
            return Err(Errno::EIO);
        }
        let mut believed = Answers::new(self.bricks());
        for (brick, answer) in answers.into_ok().into_iter().enumerate() {
            // A stale directory may hold the same file under this name: its copy is judged by the file's own marks.
            if let Some(rsp) = answer.filter(|r| r.prestat.gfid == gfid) {
                believed.put(brick, Ok(rsp));
            }
        }
        Ok(believed)
    }
}

/// What each brick has under a name.
pub(super) fn states_of(answers: &Answers<Iatt2Rsp>) -> Vec<(usize, Option<Gfid>)> {
    let missing = answers.failed_with(Errno::ENOENT);
    answers
        .iter()
        .map(|(brick, rsp)| (brick, Some(rsp.prestat.gfid)))
        .chain(missing.iter().map(|brick| (brick, None)))
        .collect()
}

/// Asks what is under a name on a brick, also of an inode that has lost its gfid.
pub(super) fn name_lookup(dir: Gfid, name: &Bytes) -> LookupReq {
    LookupReq {
        pargfid: dir,
        bname: name.clone(),
        xdata: Dict::new().with("gfidless-lookup", Value::Int(1)),
        ..LookupReq::default()
    }
}

/// The bricks that have `state` under a name.
pub(super) fn having(answers: &Answers<Iatt2Rsp>, state: Option<Gfid>) -> BrickSet {
    let states = states_of(answers).into_iter();
    states.filter_map(|(b, s)| (s == state).then_some(b)).collect()
}

enum Agreement {
    /// Every brick that answered found the same inode.
    Unanimous,
    /// No brick found it, for one reason.
    Error(Errno),
    /// Bricks disagree.
    Disputed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicate::pending::{Counters, PendingRow};

    /// What three bricks said; `blames` are (by, of, entry counter).
    fn found(heard: &[usize], blames: &[(usize, usize, i32)]) -> Found {
        let row = |by: usize| {
            let mut pending = PendingRow {
                blame: vec![Counters::ZERO; 3],
                ..PendingRow::default()
            };
            for (_, of, count) in blames.iter().filter(|(b, ..)| *b == by) {
                pending.blame[*of] = Counters::in_slot(Slot::Entry, *count);
            }
            Testimony {
                stat: Iatt::default(),
                pending,
                inodelks: 0,
            }
        };
        Found {
            said: (0..3).map(|b| heard.contains(&b).then(|| row(b))).collect(),
            readable: Readable::default(),
        }
    }

    #[test]
    fn who_is_newly_accused() {
        let before = found(&[0, 1, 2], &[(0, 1, 2)]);
        let again = |heard: &[usize], blames: &[_]| found(heard, blames).accused_since(&before, Slot::Entry);
        assert_eq!(again(&[0, 1, 2], &[(0, 1, 2)]), BrickSet::EMPTY);
        assert_eq!(again(&[0, 1, 2], &[(0, 1, 3)]), BrickSet::one(1), "once more");
        assert_eq!(again(&[0, 1, 2], &[(0, 1, 2), (1, 2, 1)]), BrickSet::one(2));
        assert_eq!(again(&[1, 2], &[]), BrickSet::EMPTY, "who is away says nothing new");
        let before = found(&[0, 1], &[]);
        let now = found(&[0, 1, 2], &[(2, 0, 1)]);
        assert_eq!(
            now.accused_since(&before, Slot::Entry),
            BrickSet::one(0),
            "a brick that came"
        );
        assert_eq!(now.accused_since(&before, Slot::Data), BrickSet::EMPTY);
    }
}
