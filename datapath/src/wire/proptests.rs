//! Property tests of every structure: what is encoded decodes to the same, and no damage makes a decoder panic.

use bytes::Bytes;
use proptest::prelude::*;

use super::sample::{Entropy, Sampler};
use super::{Dict, Gfid, Iatt, Key, MdataIatt, OldDict, Value, auth, fop, registry, rpc};
use super::{brickop, callback, cli, dump, handshake, peer, portmap};

/// The samplers of the hand-written codecs.
const BASE: &[Sampler] = &[
    Sampler::of::<Gfid>("Gfid"),
    Sampler::of::<Iatt>("Iatt"),
    Sampler::of::<MdataIatt>("MdataIatt"),
    Sampler::of::<Key>("Key"),
    Sampler::of::<Value>("Value"),
    Sampler::of::<Dict>("Dict"),
    Sampler::of::<OldDict>("OldDict"),
    Sampler::of::<auth::Credential>("Credential"),
    Sampler::of::<rpc::CallHeader>("CallHeader"),
    Sampler::of::<rpc::ReplyHeader>("ReplyHeader"),
    Sampler::of::<fop::DirEntry>("DirEntry"),
    Sampler::of::<fop::DirEntryPlus>("DirEntryPlus"),
    Sampler::of::<peer::WideUuid>("WideUuid"),
    Sampler::of::<peer::UnfriendReq>("UnfriendReq"),
];

fn samplers() -> impl Iterator<Item = &'static Sampler> {
    [
        BASE,
        fop::parts::SAMPLERS,
        fop::requests::SAMPLERS,
        fop::replies::SAMPLERS,
        dump::SAMPLERS,
        handshake::SAMPLERS,
        portmap::SAMPLERS,
        callback::SAMPLERS,
        cli::SAMPLERS,
        brickop::SAMPLERS,
        peer::SAMPLERS,
    ]
    .into_iter()
    .flatten()
}

#[test]
fn every_decoder_has_a_sampler() {
    let mut sampled: Vec<_> = samplers().map(|s| s.name).collect();
    let mut decoded: Vec<_> = registry::decoders().map(|d| d.name).collect();
    sampled.sort_unstable();
    decoded.sort_unstable();
    assert_eq!(sampled, decoded);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_structure_round_trips(bytes in prop::collection::vec(any::<u8>(), 0..1200)) {
        for sampler in samplers() {
            if let Err(why) = (sampler.round_trip)(&mut Entropy::new(&bytes)) {
                prop_assert!(false, "{}: {}", sampler.name, why);
            }
        }
    }

    #[test]
    fn no_truncation_and_no_mutation_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        at in any::<prop::sample::Index>(),
        xor in 1u8..,
    ) {
        for (sampler, entry) in samplers().zip(decoders_of(samplers())) {
            let good = (sampler.round_trip)(&mut Entropy::new(&bytes)).map_err(TestCaseError::fail)?;
            if good.is_empty() {
                continue;
            }
            let cut = at.index(good.len());
            // Every structure says how long it is, but for the one that real senders make too long.
            let whole = entry.recode(&good.slice(..cut)).is_ok();
            prop_assert!(!whole || entry.name == "UnfriendReq", "{} decodes when cut at {}", entry.name, cut);
            let mut bad = good.to_vec();
            bad[cut] ^= xor;
            entry.check(&Bytes::from(bad)).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn no_noise_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        for entry in registry::decoders() {
            entry.check(&bytes).map_err(TestCaseError::fail)?;
        }
    }
}

/// The decoder of each sampler.
fn decoders_of(
    samplers: impl Iterator<Item = &'static Sampler>,
) -> impl Iterator<Item = &'static registry::DecoderEntry> {
    samplers.filter_map(|s| registry::decoders().find(|d| d.name == s.name))
}
