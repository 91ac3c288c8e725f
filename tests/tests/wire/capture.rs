//! Reads the golden packet captures: pcapng, Ethernet, IPv4, TCP, and cuts the byte streams into RPC records.
//!
//! Only what the captures in `tests/captures` contain is understood; anything else is an error, never skipped.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;

use bytes::Bytes;
use datapath::wire::record::{MARK_LEN, Mark};
use flate2::read::GzDecoder;

const BLOCK_SECTION: u32 = 0x0a0d_0d0a;
const BLOCK_INTERFACE: u32 = 1;
const BLOCK_STATISTICS: u32 = 5;
const BLOCK_PACKET: u32 = 6;
const LITTLE_ENDIAN: u32 = 0x1a2b_3c4d;
const LINK_ETHERNET: u16 = 1;
const ETHER_LEN: usize = 14;
const ETHER_IPV4: u16 = 0x0800;
const PROTO_TCP: u8 = 6;
const TCP_SYN: u8 = 2;

/// One direction of one TCP connection, as far as addresses tell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The capture's interface: two nodes may use the same loopback addresses.
    pub interface: u32,
    /// Sender.
    pub src: SocketAddrV4,
    /// Receiver.
    pub dst: SocketAddrV4,
}

impl Flow {
    /// The other direction.
    pub fn reverse(self) -> Flow {
        Flow {
            interface: self.interface,
            src: self.dst,
            dst: self.src,
        }
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{}", self.src, self.dst)
    }
}

/// One RPC record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Number of the packet that completed it, counted from 1 as Wireshark does.
    pub frame: usize,
    /// Who sent it to whom.
    pub flow: Flow,
    /// Everything behind the record mark.
    pub bytes: Bytes,
}

/// What a capture holds.
#[derive(Debug, Default)]
pub struct Capture {
    /// The records in the order of their completion.
    pub records: Vec<Record>,
    /// What cannot be cut into records, and why.
    pub left_out: Vec<String>,
}

/// Reads a gzip-compressed capture.
pub fn read(path: &Path) -> Result<Capture, String> {
    let named = |e: String| format!("{}: {e}", path.display());
    let file = File::open(path).map_err(|e| named(e.to_string()))?;
    let mut data = Vec::new();
    GzDecoder::new(file)
        .read_to_end(&mut data)
        .map_err(|e| named(e.to_string()))?;
    parse(&data).map_err(named)
}

fn parse(data: &[u8]) -> Result<Capture, String> {
    let mut reassembly = Reassembly::default();
    let mut rest = data;
    let mut frame = 0;
    while !rest.is_empty() {
        let (kind, length) = (le32(rest, 0)?, le32(rest, 4)? as usize);
        let body = length
            .checked_sub(4)
            .and_then(|end| rest.get(8..end))
            .ok_or("block beyond the end of the file")?;
        match kind {
            BLOCK_SECTION if le32(body, 0)? != LITTLE_ENDIAN => return Err("big-endian capture".to_owned()),
            BLOCK_INTERFACE if le16(body, 0)? != LINK_ETHERNET => return Err("not Ethernet".to_owned()),
            BLOCK_SECTION | BLOCK_INTERFACE | BLOCK_STATISTICS => {}
            BLOCK_PACKET => {
                frame += 1;
                let captured = le32(body, 12)? as usize;
                if captured != le32(body, 16)? as usize {
                    return Err(format!("frame {frame} was cut when it was captured"));
                }
                let packet = body.get(20..20 + captured).ok_or("packet beyond its block")?;
                reassembly
                    .packet(frame, le32(body, 0)?, packet)
                    .map_err(|e| format!("frame {frame}: {e}"))?;
            }
            other => return Err(format!("unknown block {other:#x}")),
        }
        rest = &rest[length..];
    }
    Ok(reassembly.finish())
}

fn le16(bytes: &[u8], at: usize) -> Result<u16, String> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|b| u16::from_le_bytes(*b))
        .ok_or_else(|| "short block".into())
}

fn le32(bytes: &[u8], at: usize) -> Result<u32, String> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|b| u32::from_le_bytes(*b))
        .ok_or_else(|| "short block".into())
}

fn be16(bytes: &[u8], at: usize) -> Result<u16, String> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|b| u16::from_be_bytes(*b))
        .ok_or_else(|| "short packet".into())
}

fn be32(bytes: &[u8], at: usize) -> Result<u32, String> {
    bytes
        .get(at..)
        .and_then(<[u8]>::first_chunk)
        .map(|b| u32::from_be_bytes(*b))
        .ok_or_else(|| "short packet".into())
}

/// One direction of one connection while it is read.
#[derive(Default)]
struct Stream {
    /// Sequence number of the next byte; `None` until the first segment.
    next: Option<u32>,
    /// Segments that came before their turn, by their distance from `next` at arrival.
    early: Vec<(u32, Vec<u8>)>,
    /// Bytes in order that are no whole record yet.
    pending: Vec<u8>,
    /// Fragments of a record whose last one is still to come.
    fragments: Vec<u8>,
}

impl Stream {
    /// Takes a segment; what of it is new is appended in order.
    fn segment(&mut self, seq: u32, payload: &[u8]) {
        let next = *self.next.get_or_insert(seq);
        self.early.push((seq, payload.to_vec()));
        let mut next = next;
        loop {
            let usable = |(seq, data): &(u32, Vec<u8>)| {
                let behind = next.wrapping_sub(*seq) as i32;
                behind >= 0 && (behind as usize) < data.len()
            };
            let Some(at) = self.early.iter().position(usable) else {
                break;
            };
            let (seq, data) = self.early.swap_remove(at);
            let fresh = &data[next.wrapping_sub(seq) as usize..];
            self.pending.extend_from_slice(fresh);
            next = next.wrapping_add(fresh.len() as u32);
        }
        // Repetitions of what is already here.
        self.early.retain(|(seq, _)| (seq.wrapping_sub(next) as i32) > 0);
        self.next = Some(next);
    }

    /// The next whole record.
    fn record(&mut self) -> Option<Bytes> {
        loop {
            let mark = Mark::from_bytes(*self.pending.first_chunk()?);
            if self.pending.len() < MARK_LEN + mark.len {
                return None;
            }
            self.fragments
                .extend_from_slice(&self.pending[MARK_LEN..MARK_LEN + mark.len]);
            self.pending.drain(..MARK_LEN + mark.len);
            if mark.last {
                return Some(Bytes::from(std::mem::take(&mut self.fragments)));
            }
        }
    }

    /// Why something is left over at the end of the stream.
    fn leftover(&self) -> Option<String> {
        let early: usize = self.early.iter().map(|(_, data)| data.len()).sum();
        let bytes = self.pending.len() + self.fragments.len();
        (early + bytes > 0).then(|| format!("{bytes} bytes of an unfinished record, {early} bytes behind a gap"))
    }
}

#[derive(Default)]
struct Reassembly {
    streams: BTreeMap<Flow, Stream>,
    capture: Capture,
}

impl Reassembly {
    fn packet(&mut self, frame: usize, interface: u32, packet: &[u8]) -> Result<(), String> {
        let ip = packet.get(ETHER_LEN..).ok_or("short frame")?;
        if be16(packet, ETHER_LEN - 2)? != ETHER_IPV4 || ip.get(9) != Some(&PROTO_TCP) {
            return Ok(());
        }
        let header = usize::from(ip[0] & 0xf) * 4;
        let total = usize::from(be16(ip, 2)?);
        let tcp = ip.get(header..total).ok_or("short packet")?;
        let address =
            |at, port| -> Result<_, String> { Ok(SocketAddrV4::new(Ipv4Addr::from(be32(ip, at)?), be16(tcp, port)?)) };
        let flow = Flow {
            interface,
            src: address(12, 0)?,
            dst: address(16, 2)?,
        };
        let seq = be32(tcp, 4)?;
        let data = usize::from(*tcp.get(12).ok_or("short segment")? >> 4) * 4;
        let payload = tcp.get(data..).ok_or("short segment")?;
        if tcp[13] & TCP_SYN != 0 {
            self.open(flow, seq.wrapping_add(1));
        } else if !payload.is_empty() {
            self.data(frame, flow, seq, payload);
        }
        Ok(())
    }

    /// A new connection, perhaps between ports that were used before.
    fn open(&mut self, flow: Flow, next: u32) {
        if self.streams.get(&flow).is_some_and(|s| s.next == Some(next)) {
            return;
        }
        let old = self.streams.insert(
            flow,
            Stream {
                next: Some(next),
                ..Stream::default()
            },
        );
        self.close(flow, old);
    }

    fn data(&mut self, frame: usize, flow: Flow, seq: u32, payload: &[u8]) {
        let stream = self.streams.entry(flow).or_default();
        stream.segment(seq, payload);
        while let Some(bytes) = stream.record() {
            self.capture.records.push(Record { frame, flow, bytes });
        }
    }

    fn close(&mut self, flow: Flow, stream: Option<Stream>) {
        if let Some(why) = stream.and_then(|s| s.leftover()) {
            self.capture.left_out.push(format!("{flow:?}: {why}"));
        }
    }

    fn finish(mut self) -> Capture {
        for (flow, stream) in std::mem::take(&mut self.streams) {
            self.close(flow, Some(stream));
        }
        self.capture
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_out_of_order_and_repeated() {
        let mut s = Stream {
            next: Some(u32::MAX - 1),
            ..Stream::default()
        };
        s.segment(3, b"fghi");
        s.segment(u32::MAX - 1, &[0x80, 0]);
        s.segment(u32::MAX - 1, &[0x80, 0, 0]);
        assert_eq!(s.record(), None);
        s.segment(0, &[0, 5, 0xe]);
        s.segment(0, &[0, 5, 0xe]);
        assert_eq!(s.pending, b"\x80\0\0\x05\x0efghi");
        assert_eq!(s.record().unwrap(), &b"\x0efghi"[..]);
        assert_eq!(s.leftover(), None);
    }

    #[test]
    fn fragments_are_joined() {
        let mut s = Stream::default();
        s.segment(9, b"\0\0\0\x02ab\x80\0\0\x01c\x80");
        assert_eq!(s.record().unwrap(), "abc");
        assert_eq!(s.record(), None);
        assert!(s.leftover().unwrap().starts_with("1 bytes"));
    }
}
