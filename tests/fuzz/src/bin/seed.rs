//! Writes the golden messages as first inputs of the fuzz targets, into `corpus/GROUP` of this directory.

#[path = "../../../tests/wire/capture.rs"]
#[allow(dead_code)]
mod capture;
#[path = "../../../tests/wire/corpus.rs"]
#[allow(dead_code)]
mod corpus;

use std::error::Error;
use std::path::Path;

use datapath::wire::registry;
use datapath::wire::rpc::MessageType;

fn main() -> Result<(), Box<dyn Error>> {
    let captures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../captures");
    let mut written = 0;
    for message in corpus::load_all_from(&captures)?
        .messages
        .iter()
        .filter(|m| m.body.len() <= 4096)
    {
        let (header, body) = match message.kind {
            MessageType::Call => ("CallHeader", message.procedure.request.name),
            MessageType::Reply => ("ReplyHeader", message.procedure.reply.name),
        };
        written += write(&message.header, header)?;
        written += write(&message.body, body)?;
    }
    println!("{written} inputs written");
    Ok(())
}

/// Writes the input that hands `bytes` to the decoder `name`, unless that is no decoder but an empty body.
fn write(bytes: &[u8], name: &str) -> Result<usize, Box<dyn Error>> {
    let Some(entry) = registry::decoders().find(|d| d.name == name) else {
        return Ok(0);
    };
    let choice = fuzz::decoders(entry.group)
        .iter()
        .position(|d| d.name == name)
        .ok_or("decoder without group")?;
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(entry.group);
    std::fs::create_dir_all(&dir)?;
    let input = [&[u8::try_from(choice)?], bytes].concat();
    // Equal inputs get equal names, so that they are written once.
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    std::fs::write(dir.join(format!("{hash:016x}")), input)?;
    Ok(1)
}
