//! A bounded, deterministic mutational fuzz of every decoder over the golden messages, for every run of the tests.
//! The unbounded, coverage-guided one is the crate `tests/fuzz`; both take their decoders from one registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use datapath::wire::fop::{HeaderLen, read_reply_header_len, write_call_header_len};
use datapath::wire::registry::{self, DecoderEntry};
use datapath::wire::rpc::{MessageType, peek};

use super::corpus::{self, Corpus};

/// Mutants made for each decoder.
const MUTANTS: usize = 20_000;
/// Seeds kept for each decoder.
const SEEDS: usize = 24;
/// Longer seeds cost time and show nothing new.
const MAX_SEED: usize = 4096;

/// SplitMix64: small, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, or 0.
    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Words that codecs get wrong.
const WORDS: [u32; 11] = [
    0,
    1,
    2,
    3,
    5,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0xffff_fffc,
    0x3fff_ffff,
    0x4000_0001,
];

fn mutate(bytes: &mut Vec<u8>, other: &Bytes, random: &mut Random) {
    let at = random.below(bytes.len());
    match random.below(8) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => {
            let run = vec![random.next() as u8; random.below(9)];
            bytes.splice(at..at, run);
        }
        4 => {
            let end = (at + random.below(17)).min(bytes.len());
            bytes.drain(at..end);
        }
        5 => {
            let from = random.below(other.len());
            let to = (from + random.below(65)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        _ => {
            // Most fields are aligned words: lengths, counts, types, markers.
            let word = match random.below(3) {
                0 => (bytes.len() as u32)
                    .wrapping_add(random.below(9) as u32)
                    .wrapping_sub(4),
                1 => random.below(64) as u32,
                _ => WORDS[random.below(WORDS.len())],
            };
            if let Some(field) = bytes.get_mut(at & !3..(at & !3) + 4) {
                field.copy_from_slice(&word.to_be_bytes());
            }
        }
    }
}

/// Bytes to start from, for each decoder by name.
struct Seeds {
    own: BTreeMap<&'static str, BTreeSet<Bytes>>,
    /// Bodies of different procedures, to look for structures inside.
    bodies: Vec<Bytes>,
    records: Vec<Bytes>,
}

impl Seeds {
    fn of(corpus: &Corpus) -> Seeds {
        let mut own: BTreeMap<&'static str, BTreeSet<Bytes>> = BTreeMap::new();
        let (mut bodies, mut records) = (Vec::new(), Vec::new());
        for message in corpus.messages.iter().filter(|m| m.record.bytes.len() <= MAX_SEED) {
            let (header, body) = match message.kind {
                MessageType::Call => ("CallHeader", message.procedure.request.name),
                MessageType::Reply => ("ReplyHeader", message.procedure.reply.name),
            };
            own.entry(header).or_default().insert(message.header.clone());
            let kept = own.entry(body).or_default();
            if message.has_body && kept.len() < SEEDS && kept.insert(message.body.clone()) {
                bodies.push(message.body.clone());
                records.push(message.record.bytes.clone());
            }
        }
        Seeds { own, bodies, records }
    }

    /// Golden bytes of this structure: its own messages, or wherever in other messages something decodes as it.
    fn for_decoder(&self, entry: &DecoderEntry) -> Vec<Bytes> {
        let mut seeds: Vec<Bytes> = self
            .own
            .get(entry.name)
            .into_iter()
            .flatten()
            .take(SEEDS)
            .cloned()
            .collect();
        let offsets = self
            .bodies
            .iter()
            .chain(&self.records)
            .flat_map(|b| (0..b.len()).step_by(4).map(move |at| b.slice(at..)));
        let found = offsets.filter(|b| entry.recode(b).is_ok_and(|r| r.encoded.iter().any(|b| *b != 0)));
        seeds.extend(found.take(SEEDS - seeds.len()));
        seeds
    }
}

/// The payload finders must answer for any bytes, and never point into what they have not seen to be a header.
fn check_boundaries(record: &[u8]) -> Result<(), String> {
    let kind = peek(record).map(|(_, kind)| kind);
    for (found, wanted, least) in [
        (write_call_header_len(record), MessageType::Call, 24 + 16 + 52),
        (read_reply_header_len(record), MessageType::Reply, 24 + 172),
    ] {
        if let HeaderLen::At(at) = found
            && (kind != Some(wanted) || at < least || at % 4 != 0)
        {
            return Err(format!("payload of a {kind:?} at {at}"));
        }
    }
    Ok(())
}

#[test]
fn no_mutant_of_a_golden_message_upsets_a_decoder() {
    let seeds = Seeds::of(&corpus::load_all().unwrap());
    let mut decoded = BTreeMap::new();
    for (number, entry) in registry::decoders().enumerate() {
        let own = seeds.for_decoder(entry);
        assert!(!own.is_empty(), "{}: nothing to start from", entry.name);
        let mut random = Random(number as u64);
        let mut good = 0;
        for round in 0..MUTANTS {
            let mut bytes = own[random.below(own.len())].to_vec();
            for _ in 0..=random.below(4) {
                mutate(&mut bytes, &own[random.below(own.len())], &mut random);
            }
            good += usize::from(
                entry
                    .check(&bytes.into())
                    .unwrap_or_else(|e| panic!("mutant {round}: {e}")),
            );
        }
        decoded.insert(entry.name, good);
    }
    println!(
        "{} decoders, {MUTANTS} mutants each; decoded: {decoded:?}",
        decoded.len()
    );
    // A decoder that takes nothing, or everything, was not fuzzed but skipped.
    for (name, good) in decoded {
        assert!(good > 0, "{name}: no mutant decoded");
        assert!(good < MUTANTS, "{name}: every mutant decoded");
    }
}

#[test]
fn no_mutant_of_a_golden_record_upsets_the_payload_finders() {
    let seeds = Seeds::of(&corpus::load_all().unwrap());
    let mut random = Random(7);
    for _ in 0..200_000 {
        let mut record = seeds.records[random.below(seeds.records.len())].to_vec();
        for _ in 0..random.below(3) {
            mutate(&mut record, &seeds.records[0], &mut random);
        }
        check_boundaries(&record).unwrap();
    }
}

#[test]
fn every_group_of_decoders_has_a_fuzz_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for group in registry::decoders().map(|d| d.group).collect::<BTreeSet<_>>() {
        let path = format!("fuzz_targets/{group}.rs");
        let target = std::fs::read_to_string(fuzz.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert!(target.contains(&format!("\"{group}\"")), "{path} fuzzes another group");
        assert!(
            manifest.contains(&format!("path = \"{path}\"")),
            "{path} is not in the manifest"
        );
    }
}
