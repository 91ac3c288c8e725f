//! A second witness: beside each capture lies the text an independent decoder made of it. Numbers, gfids and
//! payload lengths must agree, name by name; equal bytes alone would not show two fields taken for each other.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;

use datapath::wire::auth::Credential;
use datapath::wire::fop;
use datapath::wire::program;
use datapath::wire::rpc::{CallHeader, MessageType};
use datapath::wire::{Decoder, Xdr};
use flate2::read::GzDecoder;

use super::corpus::{self, Message};

/// Fields the text calls by another name.
const ALIASES: [(&str, &str); 6] = [
    ("kind", "type"),
    ("pargfid", "par"),
    ("oldpargfid", "oldpar"),
    ("newpargfid", "newpar"),
    ("txn_id", "txn"),
    ("oldgfid", "old"),
];

/// The values the text gives, in the order of the wire.
struct Line {
    cred: String,
    body: String,
    payload: Option<usize>,
}

type Key = (String, u32, bool);

/// `#FRAME SRC>DST xid=N CALL|REPLY PROGRAM.PROC [cred=(...)] {...} [+payload N]`
fn parse(text: &str) -> Option<(Key, Line)> {
    let mut words = text.splitn(6, ' ');
    let _frame = words.next()?;
    let flow = words.next()?.to_owned();
    let xid = words.next()?.strip_prefix("xid=")?.parse().ok()?;
    let call = match words.next()? {
        "CALL" => true,
        "REPLY" => false,
        _ => return None,
    };
    let _procedure = words.next()?;
    let rest = words.next()?;
    let (cred, body) = if call { rest.split_once(") {")? } else { ("", rest) };
    let payload = body.rsplit_once("} +payload ").and_then(|(_, n)| n.parse().ok());
    Some((
        (flow, xid, call),
        Line {
            cred: cred.to_owned(),
            body: format!(" {body}"),
            payload,
        },
    ))
}

fn lines(name: &str) -> Result<BTreeMap<Key, VecDeque<Line>>, String> {
    let path = corpus::directory().join(format!("{name}.decoded.txt.gz"));
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(&path).map_err(named)?)
        .read_to_string(&mut text)
        .map_err(named)?;
    let mut all: BTreeMap<Key, VecDeque<Line>> = BTreeMap::new();
    for line in text.lines() {
        let (key, line) = parse(line).ok_or_else(|| format!("{name}: strange line: {line}"))?;
        all.entry(key).or_default().push_back(line);
    }
    Ok(all)
}

/// The numbers and gfids among the fields of a structure as `{:?}` shows it, nested structures left out.
fn scalars(shown: &str) -> Vec<(&str, &str)> {
    let mut depth = 0;
    let mut quoted = false;
    let mut escaped = false;
    let mut fields = Vec::new();
    let mut from = 0;
    for (at, c) in shown.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' | '(' => {
                depth += 1;
                if depth == 1 {
                    from = at + 1;
                }
            }
            ',' | '}' if depth == 1 => {
                fields.push(&shown[from..at]);
                from = at + 1;
                depth -= i32::from(c == '}');
            }
            '}' | ']' | ')' => depth -= 1,
            _ => {}
        }
    }
    let scalar = |field: &&str| -> Option<()> {
        let (_, value) = field.split_once(": ")?;
        let value = value.trim().trim_start_matches('-');
        value.chars().all(|c| c.is_ascii_hexdigit() || c == '-').then_some(())
    };
    let named = fields.into_iter().filter(|f| scalar(f).is_some());
    named
        .filter_map(|f| f.split_once(": "))
        .map(|(name, value)| (name.trim(), value.trim()))
        .collect()
}

/// Looks for the fields in the text, in order. Gives how many there are.
fn agree(fields: &[(&str, &str)], text: &str) -> Result<usize, String> {
    let mut rest = text;
    for (name, value) in fields {
        let name = ALIASES
            .iter()
            .find(|(ours, _)| ours == name)
            .map_or(*name, |(_, theirs)| theirs);
        let found = [' ', '{']
            .into_iter()
            .flat_map(|before| [' ', '}'].map(|after| format!("{before}{name}={value}{after}")));
        let at = found.filter_map(|f| rest.find(&f).map(|at| at + f.len() - 1)).min();
        rest = &rest[at.ok_or_else(|| format!("{name}={value} is not in {text}"))?..];
    }
    Ok(fields.len())
}

/// Compares the credential of a call.
fn credential(message: &Message, line: &Line) -> Result<usize, String> {
    let header = CallHeader::decode(&mut Decoder::new(&message.record.bytes)).map_err(|e| e.to_string())?;
    let (c, v3) = match header.cred {
        Credential::V2(c) => (c, false),
        Credential::V3(c) => (c, true),
        _ => return Ok(0),
    };
    let mut values = vec![
        ("pid", c.pid.to_string()),
        ("uid", c.uid.to_string()),
        ("gid", c.gid.to_string()),
    ];
    if v3 {
        values.push(("flags", c.flags.to_string()));
        values.push(("ctime_nsec", c.ctime_nsec.to_string()));
        values.push(("ctime_sec", c.ctime_sec.to_string()));
    }
    values.push(("owner", c.lk_owner.iter().map(|b| format!("{b:02x}")).collect()));
    let fields: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
    agree(&fields, &format!("{}}}", line.cred.trim_end_matches('}')))
}

/// Compares one message with its line. Gives how many values were compared.
fn compare(message: &Message, line: &Line) -> Result<usize, String> {
    let mut compared = 0;
    let decoder = match message.kind {
        MessageType::Call => {
            compared += credential(message, line)?;
            message.procedure.request
        }
        MessageType::Reply => message.procedure.reply,
    };
    let shown = decoder.show(&message.body).map_err(|e| e.to_string())?;
    compared += agree(&scalars(&shown), &line.body)?;
    let has_payload = message.program == program::FOP
        && match message.kind {
            MessageType::Call => message.procedure.name == fop::Proc::Write.name(),
            MessageType::Reply => message.procedure.name == fop::Proc::Read.name(),
        };
    if has_payload {
        let rest = decoder.recode(&message.body).map_err(|e| e.to_string())?.rest.len();
        if rest != line.payload.unwrap_or(0) {
            return Err(format!("payload of {rest} bytes, {:?} expected", line.payload));
        }
    }
    Ok(compared)
}

#[test]
fn an_independent_decoder_saw_the_same_values() {
    let mut compared = 0;
    let mut errors = Vec::new();
    let dir = corpus::directory();
    for name in corpus::capture_names(&dir).unwrap() {
        let mut lines = lines(&name).unwrap();
        for message in corpus::load(&dir, &name).unwrap().messages {
            let flow = format!("{:?}", message.record.flow);
            let key = (flow, message.xid, message.kind == MessageType::Call);
            let Some(line) = lines.get_mut(&key).and_then(VecDeque::pop_front) else {
                errors.push(format!("{} is not in the text", message.place));
                continue;
            };
            match compare(&message, &line) {
                Ok(n) => compared += n,
                Err(why) => errors.push(format!("{} {}: {why}", message.place, message.procedure.name)),
            }
        }
        let unseen: usize = lines.values().map(VecDeque::len).sum();
        if unseen > 0 {
            errors.push(format!("{name}: {unseen} lines of the text are no message"));
        }
    }
    println!("{compared} values compared");
    assert!(errors.is_empty(), "{} differ:\n{}", errors.len(), errors.join("\n"));
    assert!(compared > 20_000, "only {compared} values compared");
}

#[test]
fn a_wrong_value_would_be_seen() {
    let shown = r#"LkReq { gfid: 0000-01, cmd: 2, kind: 1, flock: Flock { kind: 5 }, name: b"a, b: 3", fd: -2 }"#;
    let fields = scalars(shown);
    assert_eq!(fields, [("gfid", "0000-01"), ("cmd", "2"), ("kind", "1"), ("fd", "-2")]);
    assert_eq!(agree(&fields, " {gfid=0000-01 cmd=2 type=1 fd=-2}"), Ok(4));
    assert!(agree(&fields, " {gfid=0000-01 cmd=1 type=2 fd=-2}").is_err());
    assert!(agree(&fields, " {gfid=0000-01 type=1 cmd=2 fd=-2}").is_err());
}
