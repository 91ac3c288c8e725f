//! The messages of the golden captures, replies paired with the calls they answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use datapath::wire::program::Program;
use datapath::wire::registry::{self, Procedure};
use datapath::wire::rpc::{CallHeader, MessageType, ReplyHeader, peek};
use datapath::wire::{Decoder, Xdr};

use super::capture::{self, Flow, Record};

/// One decoded RPC message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Where it comes from, for messages of tests.
    pub place: String,
    /// The record.
    pub record: Record,
    /// Call or reply, and its xid.
    pub kind: MessageType,
    /// The number that pairs it.
    pub xid: u32,
    /// The program called.
    pub program: Program,
    /// The procedure called.
    pub procedure: Procedure,
    /// Bytes of the RPC header as decoded and encoded again.
    pub header: Bytes,
    /// Arguments or result, and payload; nothing behind a reply without success.
    pub body: Bytes,
    /// Whether there is a body: false for a reply without success.
    pub has_body: bool,
}

/// All messages, and what is no message.
#[derive(Debug, Default)]
pub struct Corpus {
    /// The messages.
    pub messages: Vec<Message>,
    /// What could not be told to be a message, and why.
    pub left_out: Vec<String>,
}

/// The directory of the captures.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("captures")
}

/// The names of the captures, without what comes after the first dot, in order.
pub fn capture_names(dir: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| e.to_string())?.file_name();
        names.extend(
            name.to_str()
                .and_then(|n| n.strip_suffix(".pcapng.gz"))
                .map(str::to_owned),
        );
    }
    names.sort();
    Ok(names)
}

/// Every message of one capture.
pub fn load(dir: &Path, name: &str) -> Result<Corpus, String> {
    let capture = capture::read(&dir.join(format!("{name}.pcapng.gz")))?;
    let mut corpus = Corpus {
        messages: Vec::new(),
        left_out: capture.left_out,
    };
    let mut calls = BTreeMap::new();
    for record in capture.records {
        let place = format!("{name} frame {} {:?}", record.frame, record.flow);
        match message(record, place.clone(), &mut calls) {
            Ok(message) => corpus.messages.push(message),
            Err(why) => corpus.left_out.push(format!("{place}: {why}")),
        }
    }
    Ok(corpus)
}

/// Every message of every capture of this repository.
pub fn load_all() -> Result<Corpus, String> {
    load_all_from(&directory())
}

/// Every message of every capture in a directory.
pub fn load_all_from(dir: &Path) -> Result<Corpus, String> {
    let mut all = Corpus::default();
    for name in capture_names(dir)? {
        let one = load(dir, &name)?;
        all.messages.extend(one.messages);
        all.left_out.extend(one.left_out);
    }
    Ok(all)
}

type Calls = BTreeMap<(Flow, u32), (Program, Procedure)>;

fn message(record: Record, place: String, calls: &mut Calls) -> Result<Message, String> {
    let (xid, kind) = peek(&record.bytes).ok_or("neither call nor reply")?;
    let mut d = Decoder::new(&record.bytes);
    let (header, has_body, (program, procedure)) = match kind {
        MessageType::Call => {
            let header = CallHeader::decode(&mut d).map_err(|e| e.to_string())?;
            let found = registry::procedure(header.prog, header.vers, header.proc)
                .ok_or_else(|| format!("unknown procedure {}.{}.{}", header.prog, header.vers, header.proc))?;
            calls.insert((record.flow, xid), found);
            (header.to_bytes(), true, found)
        }
        MessageType::Reply => {
            let header = ReplyHeader::decode(&mut d).map_err(|e| e.to_string())?;
            let found = calls
                .remove(&(record.flow.reverse(), xid))
                .ok_or("reply without call")?;
            (header.to_bytes(), header.is_success(), found)
        }
    };
    let body = d.rest();
    Ok(Message {
        place,
        record,
        kind,
        xid,
        program,
        procedure,
        header,
        body,
        has_body,
    })
}
