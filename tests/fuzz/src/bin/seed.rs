//! Writes the golden messages as first inputs of the fuzz targets, into `corpus/GROUP` of this directory.

#[path = "../../../tests/wire/capture.rs"]
#[allow(dead_code)]
mod capture;
#[path = "../../../tests/wire/corpus.rs"]
#[allow(dead_code)]
mod corpus;

use std::error::Error;
use std::path::Path;

use datapath::wire::registry::DecoderEntry;
use datapath::wire::rpc::MessageType;

fn main() -> Result<(), Box<dyn Error>> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures");
    let mut written = 0;
    for message in corpus::load_all_from(&captures)?.messages.iter().filter(|m| m.body.len() <= 4096) {
        let (header, body) = match message.kind {
            MessageType::Call => ("CallHeader", message.procedure.request),
            MessageType::Reply => ("ReplyHeader", message.procedure.reply),
        };
        written += write(&message.header, "rpc", header)?;
        written += write_entry(&message.body, body)?;
    }
    println!("{written} inputs written");
    Ok(())
}

fn write_entry(bytes: &[u8], entry: DecoderEntry) -> Result<usize, Box<dyn Error>> {
    if entry.name == "()" { Ok(0) } else { write(bytes, entry.group, entry.name) }
}

fn write(bytes: &[u8], group: &str, name: &str) -> Result<usize, Box<dyn Error>> {
    let Some(choice) = fuzz::decoders(group).iter().position(|d| d.name == name) else {
        // A body of one program that belongs to another, as the answer to PING does.
        return Ok(0);
    };
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(group);
    std::fs::create_dir_all(&dir)?;
    let input = [&[u8::try_from(choice)?], bytes].concat();
    // Equal inputs get equal names, so that they are written once.
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3));
    std::fs::write(dir.join(format!("{hash:016x}")), input)?;
    Ok(1)
}
