//! Every message real GlusterFS 10.3 exchanged in the captures decodes and encodes to the same bytes.

use std::collections::BTreeMap;

use datapath::wire::fop::{self, HeaderLen, read_reply_header_len, write_call_header_len};
use datapath::wire::program;
use datapath::wire::registry::DecoderEntry;
use datapath::wire::rpc::MessageType;

use super::corpus::{self, Message};

/// What an independent decoder found in the five captures.
const MESSAGES: usize = 3813;

/// The decoder of a message's body.
fn decoder(message: &Message) -> DecoderEntry {
    match message.kind {
        MessageType::Call => message.procedure.request,
        MessageType::Reply => message.procedure.reply,
    }
}

/// The payload this message may have behind its body.
fn payload_boundary(message: &Message) -> Option<HeaderLen> {
    let is = |proc: fop::Proc| message.program == program::FOP && message.procedure.name == proc.name();
    match message.kind {
        MessageType::Call if is(fop::Proc::Write) => Some(write_call_header_len(&message.record.bytes)),
        MessageType::Reply if is(fop::Proc::Read) => Some(read_reply_header_len(&message.record.bytes)),
        _ => None,
    }
}

fn check(message: &Message) -> Result<(), String> {
    if !message.record.bytes.starts_with(&message.header) {
        return Err("header changed".to_owned());
    }
    if !message.has_body {
        return if message.body.is_empty() {
            Ok(())
        } else {
            Err("bytes behind an RPC error".to_owned())
        };
    }
    let recoded = decoder(message).recode(&message.body).map_err(|e| e.to_string())?;
    if !message.body.starts_with(&recoded.encoded) {
        return Err(format!(
            "encoded to other bytes: {:02x?} became {:02x?}",
            message.body, recoded.encoded
        ));
    }
    let header_len = message.record.bytes.len() - recoded.rest.len();
    match payload_boundary(message) {
        Some(found) if found != HeaderLen::At(header_len) => {
            Err(format!("payload found at {found:?}, it begins at {header_len}"))
        }
        None if !recoded.rest.is_empty() => Err(format!("{} bytes left over", recoded.rest.len())),
        _ if message.header.len() + recoded.encoded.len() != header_len => Err("length changed".to_owned()),
        _ => Ok(()),
    }
}

#[test]
fn every_captured_message_encodes_to_its_own_bytes() {
    let corpus = corpus::load_all().unwrap();
    let mut counts: BTreeMap<(u32, u32, &str), BTreeMap<&str, usize>> = BTreeMap::new();
    let mut errors = Vec::new();
    for message in &corpus.messages {
        let program = (message.program.number, message.program.version, message.program.name);
        *counts
            .entry(program)
            .or_default()
            .entry(message.procedure.name)
            .or_default() += 1;
        if let Err(why) = check(message) {
            errors.push(format!("{} {}: {why}", message.place, message.procedure.name));
        }
    }
    for ((number, version, name), procs) in &counts {
        println!(
            "{name} ({number} v{version}): {} messages {procs:?}",
            procs.values().sum::<usize>()
        );
    }
    println!("{} messages in all", corpus.messages.len());
    println!("left out: {}", corpus.left_out.len());
    corpus.left_out.iter().for_each(|why| println!("  {why}"));
    assert!(
        errors.is_empty(),
        "{} of {}:\n{}",
        errors.len(),
        corpus.messages.len(),
        errors.join("\n")
    );
    assert_eq!(corpus.left_out, Vec::<String>::new());
    assert!(
        corpus.messages.len() >= MESSAGES,
        "only {} messages",
        corpus.messages.len()
    );
}
