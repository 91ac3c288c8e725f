//! The clients of a brick: who they are, what they have open, which connections they use.
//!
//! A client is a process-uuid. Several connections may share one; the client ends with the last of them. A client
//! *instance* is the process-uuid without its reconnect count: it has one live client at a time, so that nothing a
//! dead connection left behind can act after its successor was let in (DESIGN 4).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::config::MAX_FDS;
use super::connection::Conn;
use super::fds::FdTable;
use super::handle::OpenHandle;
use super::setvolume::Admission;
use crate::brick::locks::ClientId;
use crate::wire::{Gfid, Iatt};

/// What separates a client instance from its reconnect count in a process-uuid.
const RECONNECT: &str = "-RECON_NO:";

/// A client that passed SETVOLUME.
#[derive(Debug)]
pub struct Client {
    /// Names it in the lock table.
    pub id: ClientId,
    /// What it said of itself.
    pub admission: Admission,
    /// The directory it takes for the root: the volume's, or that of its `subdir-mount`.
    pub root: Gfid,
    /// Its open files.
    pub fds: RefCell<FdTable<OpenHandle>>,
    conns: RefCell<Vec<Rc<Conn>>>,
    /// Connections that have ended with requests still at the disk: what the client held is kept until they are done.
    leaving: RefCell<Vec<Rc<Conn>>>,
}

impl Client {
    /// The client has no connection any more, but `conn` has left requests at the disk.
    pub fn leave_with(&self, conn: &Rc<Conn>) {
        self.leaving.borrow_mut().push(Rc::clone(conn));
    }

    /// Connections that have ended with requests still at the disk.
    pub fn leaving(&self) -> Vec<Rc<Conn>> {
        self.leaving.borrow().clone()
    }

    /// A gfid of a request: the client's root is its sub-directory.
    pub fn gfid_in(&self, gfid: Gfid) -> Gfid {
        if gfid.is_root() { self.root } else { gfid }
    }

    /// Attributes of a reply: the sub-directory looks like a root.
    pub fn iatt_out(&self, mut iatt: Iatt) -> Iatt {
        if !self.root.is_root() && iatt.gfid == self.root {
            iatt.gfid = Gfid::ROOT;
            iatt.ino = Gfid::ROOT.ino();
        }
        iatt
    }

    /// Any of its connections, for callbacks.
    pub fn connection(&self) -> Option<Rc<Conn>> {
        self.conns.borrow().last().cloned()
    }

    /// Its connections.
    pub fn connections(&self) -> Vec<Rc<Conn>> {
        self.conns.borrow().clone()
    }

    /// Adds a connection.
    pub fn attach(&self, conn: &Rc<Conn>) {
        self.conns.borrow_mut().push(Rc::clone(conn));
    }

    /// Takes a connection away; whether it was the last one.
    pub fn detach(&self, conn: &Rc<Conn>) -> bool {
        let mut conns = self.conns.borrow_mut();
        conns.retain(|c| !Rc::ptr_eq(c, conn));
        conns.is_empty()
    }
}

/// The instance a process-uuid belongs to and its reconnect count, if it has one.
pub fn instance_of(uuid: &str) -> (&str, Option<u64>) {
    match uuid.rsplit_once(RECONNECT) {
        Some((instance, count)) => (instance, count.trim_start_matches('-').parse().ok()),
        None => (uuid, None),
    }
}

/// What is to be done with a client that wants in.
#[derive(Debug)]
pub enum Entrance {
    /// It is known: the connection joins it.
    Join(Rc<Client>),
    /// It is new; these older clients of the same instance must go first.
    Enter(Vec<Rc<Client>>),
    /// A newer connection of the same instance is here already.
    Outdated,
}

/// All clients.
#[derive(Debug, Default)]
pub struct Clients {
    all: BTreeMap<ClientId, Rc<Client>>,
    last: u64,
}

impl Clients {
    /// Looks for the process-uuid and its instance.
    pub fn entrance(&self, uuid: &str) -> Entrance {
        let (instance, count) = instance_of(uuid);
        let mut older = Vec::new();
        for client in self.all.values() {
            if client.admission.uuid == uuid && client.leaving.borrow().is_empty() {
                return Entrance::Join(Rc::clone(client));
            }
            let (other, other_count) = instance_of(&client.admission.uuid);
            if other == instance {
                if other_count > count {
                    return Entrance::Outdated;
                }
                older.push(Rc::clone(client));
            }
        }
        Entrance::Enter(older)
    }

    /// Enters a new client.
    pub fn add(&mut self, admission: Admission, root: Gfid) -> Rc<Client> {
        self.last += 1;
        let id = ClientId(self.last);
        let fds = RefCell::new(FdTable::new(MAX_FDS));
        let client = Rc::new(Client {
            id,
            admission,
            root,
            fds,
            conns: RefCell::default(),
            leaving: RefCell::default(),
        });
        self.all.insert(id, Rc::clone(&client));
        client
    }

    /// Forgets a client and gives it, if it was known.
    pub fn remove(&mut self, id: ClientId) -> Option<Rc<Client>> {
        self.all.remove(&id)
    }

    /// The clients of this implementation but one.
    pub fn ours_but(&self, id: ClientId) -> impl Iterator<Item = &Rc<Client>> {
        self.all.values().filter(move |c| c.admission.ours && c.id != id)
    }

    /// The client of an id.
    pub fn get(&self, id: ClientId) -> Option<&Rc<Client>> {
        self.all.get(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "CTX_ID:cc16-GRAPH_ID:0-PID:15428-HOST:m1-PC_NAME:0001-client-0-RECON_NO:-";

    fn admission(uuid: &str) -> Admission {
        Admission {
            uuid: uuid.into(),
            trusted: false,
            subdir: None,
            process_name: String::new(),
            version: String::new(),
            op_version: 0,
            ours: false,
        }
    }

    #[test]
    fn the_reconnect_count_is_not_part_of_the_instance() {
        assert_eq!(
            instance_of(&format!("{A}12")),
            (A.strip_suffix("-RECON_NO:-").unwrap(), Some(12))
        );
        assert_eq!(instance_of("something else"), ("something else", None));
        assert_eq!(instance_of("x-RECON_NO:-junk"), ("x", None));
    }

    #[test]
    fn newer_connections_replace_older_ones_but_not_the_other_way() {
        let mut clients = Clients::default();
        let first = clients.add(admission(&format!("{A}1")), Gfid::ROOT);
        clients.add(admission("CTX_ID:other-RECON_NO:-9"), Gfid::ROOT);
        assert!(matches!(clients.entrance(&format!("{A}1")), Entrance::Join(c) if c.id == first.id));
        assert!(
            matches!(clients.entrance(&format!("{A}2")), Entrance::Enter(old) if old.len() == 1 && old[0].id == first.id)
        );
        assert!(matches!(clients.entrance(&format!("{A}0")), Entrance::Outdated));
        assert!(matches!(clients.entrance("CTX_ID:third-RECON_NO:-0"), Entrance::Enter(old) if old.is_empty()));
        clients.remove(first.id);
        assert!(matches!(clients.entrance(&format!("{A}0")), Entrance::Enter(old) if old.is_empty()));
    }

    #[test]
    fn a_sub_directory_looks_like_the_root() {
        let mut clients = Clients::default();
        let sub = Gfid([4; 16]);
        let client = clients.add(admission("x"), sub);
        assert_eq!(client.gfid_in(Gfid::ROOT), sub);
        assert_eq!(client.gfid_in(Gfid([1; 16])), Gfid([1; 16]));
        let out = client.iatt_out(Iatt {
            gfid: sub,
            ino: sub.ino(),
            size: 7,
            ..Iatt::default()
        });
        assert_eq!((out.gfid, out.ino, out.size), (Gfid::ROOT, 1, 7));
    }
}
