//! The lock and index counters that replies carry in xdata when the request asks (brick-and-replicate.md B.3, C.6).

use super::Brick;
use crate::brick::index::Kind;
use crate::wire::{Dict, Gfid, Key, Value};

const INODELK: &str = "glusterfs.inodelk-count";
const INODELK_DOMAIN: &str = "glusterfs.inodelk-dom-count";
const ENTRYLK: &str = "glusterfs.entrylk-count";
const POSIXLK: &str = "glusterfs.posixlk-count";
const PARENT_ENTRYLK: &str = "glusterfs.parent-entrylk";
const MULTI_DOMAIN: &str = "glusterfs.multi-dom-lk-cnt-req";
const DOMAIN_PREFIX: &str = "glusterfs.inodelk-dom-prefix:";
const LINK_COUNT: &str = "link-count";

/// Adds what `asked` wants to `reply`. `place` is the parent and name of a lookup.
pub(super) fn fill(brick: &Brick, gfid: Gfid, place: Option<(Gfid, &[u8])>, asked: &Dict, reply: &mut Dict) {
    if asked.is_empty() {
        return;
    }
    let locks = brick.locks.borrow();
    for (key, value) in asked.iter() {
        let Ok(name) = std::str::from_utf8(&key.0) else {
            continue;
        };
        match name {
            LINK_COUNT => {
                if value.as_str() == Kind::Xattrop.count_key() {
                    let pending = brick.index.borrow().count(Kind::Xattrop) > 0;
                    reply.set(LINK_COUNT, Value::Int(pending.into()));
                }
            }
            _ if gfid.is_null() && name != PARENT_ENTRYLK => {}
            INODELK => {
                reply.set(INODELK, count(locks.inodelk_count(gfid)));
            }
            INODELK_DOMAIN => {
                if let Some(domain) = value.as_bytes() {
                    reply.set(INODELK, count(locks.inodelk_domain_count(gfid, domain)));
                }
            }
            ENTRYLK => {
                reply.set(ENTRYLK, count(locks.entrylk_count(gfid)));
            }
            POSIXLK => {
                reply.set(POSIXLK, count(locks.posixlk_count(gfid)));
            }
            PARENT_ENTRYLK => {
                if let Some((parent, base)) = place {
                    reply.set(PARENT_ENTRYLK, count(locks.entrylk_held_on(parent, base).into()));
                }
            }
            _ => {
                if let Some(domain) = name.strip_prefix(DOMAIN_PREFIX)
                    && asked.contains(MULTI_DOMAIN)
                {
                    let n = locks.inodelk_domain_count(gfid, domain.as_bytes());
                    reply.set(Key(bytes::Bytes::copy_from_slice(&key.0)), count(n));
                }
            }
        }
    }
}

fn count(n: usize) -> Value {
    Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
}
