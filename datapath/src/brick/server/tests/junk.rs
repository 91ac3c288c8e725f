//! Arguments that are nearly right: whatever a client sends, the brick answers or refuses, and goes on serving.

use super::*;
use crate::wire::xdr::{DecodeError, Decoder, Encoder};

/// A small generator: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick(&mut self, from: &[u32]) -> u32 {
        from[self.below(from.len() as u64) as usize]
    }
}

struct Junk(Bytes);

impl Xdr for Junk {
    fn encode(&self, e: &mut Encoder) {
        e.put_raw(&self.0);
    }

    fn decode(_: &mut Decoder<'_>) -> Result<Junk, DecodeError> {
        Ok(Junk(Bytes::new()))
    }
}

/// Arguments that begin like those of most fops (a gfid that may exist, an fd that may be open) and go on with words
/// that are small, huge, or anything.
fn arguments(dice: &mut Dice) -> Junk {
    let mut out = Vec::new();
    let gfid = match dice.below(6) {
        0 => Gfid::ROOT,
        1 => Gfid::NULL,
        2 => gfid(9),
        n => gfid(n as u8 - 2),
    };
    out.extend_from_slice(&gfid.0);
    if dice.below(2) == 0 {
        let fd: i64 = [0, 1, 2, -1, -2, 1 << 40][dice.below(6) as usize];
        out.extend_from_slice(&fd.to_be_bytes());
    }
    for _ in 0..dice.below(40) {
        let any = dice.next() as u32;
        let word = dice.pick(&[0, 0, 0, 1, 2, 3, 4, 7, 16, 255, 0x7fff_ffff, 0x8000_0000, u32::MAX, any]);
        out.extend_from_slice(&word.to_be_bytes());
    }
    out.truncate(out.len() - dice.below(4) as usize % (out.len() + 1));
    Junk(out.into())
}

#[test]
fn no_arguments_stop_the_brick() {
    with_brick(config(), async |lab| {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for round in 0..8 {
            let raw = Raw::join(&lab, &format!("junk{round}")).await;
            if round == 0 {
                raw.create("f", gfid(1)).await;
                raw.mkdir("d", gfid(2)).await;
            }
            for _ in 0..60 {
                for proc in Proc::ALL.iter().map(|p| *p as u32).chain([57, 1 << 20]) {
                    // These two may really take the space they are asked for.
                    if [Proc::Fallocate as u32, Proc::Zerofill as u32].contains(&proc) {
                        continue;
                    }
                    let args = arguments(&mut dice);
                    // Some are lock calls that wait for ever, so no reply is waited for.
                    let _unread = raw.conn.call(program::FOP, proc, &raw.credential(), &args, None);
                }
            }
            let alive = raw.raw(program::DUMP, 2, &()).await;
            assert!(alive.is_ok(), "round {round}: {alive:?}");
            raw.leave(&lab).await;
        }
        assert!(lab.server.status().locks.is_empty(), "{:?}", lab.server.status().locks);
        assert_eq!(lab.server.status().waiting_calls, 0);
        let sober = Raw::join(&lab, "sober").await;
        assert!(sober.lookup_gfid(Gfid::ROOT, Dict::null()).await.is_ok());
    });
}
