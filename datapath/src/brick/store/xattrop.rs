//! XATTROP and FXATTROP: arithmetic on xattrs, by which replicate keeps its change log (brick-and-replicate.md B.9).
//!
//! Each key is changed by one setxattr, which the file system makes atomic; a crash between two keys of one request
//! leaves the earlier ones changed, as it may with any two requests.

use crate::errno::{Errno, FsResult};
use crate::wire::{Dict, Value};

use super::node::Node;
use super::{Call, Store, Target, fill};

/// The operations (wire-protocol.md 3.8).
pub mod op {
    /// Adds big-endian 32-bit numbers.
    pub const ADD_ARRAY: u32 = 0;
    /// Adds big-endian 64-bit numbers.
    pub const ADD_ARRAY64: u32 = 1;
    /// Stores the new value, answers the old one.
    pub const GET_AND_SET: u32 = 4;
    /// [`ADD_ARRAY`] with a default for a missing xattr in the second half of the value.
    pub const ADD_ARRAY_WITH_DEFAULT: u32 = 5;
    /// The same for 64 bits.
    pub const ADD_ARRAY64_WITH_DEFAULT: u32 = 6;
}

impl Store {
    /// Applies `operation` (of [`op`]) to every pair; the answer has the new (for `GET_AND_SET` the old) value of each
    /// key. An addend of zeros only reads.
    ///
    /// # Errors
    /// `EINVAL` for an unknown operation or an odd length, `ERANGE` if the xattr is longer than the addend, `EPERM` for
    /// the object's identity, `ESTALE`, or what the file system gives.
    pub fn xattrop(&self, _call: &Call<'_>, target: Target<'_>, operation: u32, pairs: &Dict) -> FsResult<Dict> {
        let node = self.node_of(target)?;
        let mut reply = Dict::new();
        for (key, value) in pairs.iter() {
            let name = &*key.0;
            if fill::is_identity(name) {
                return Err(Errno::EPERM);
            }
            let (Value::Ptr(value) | Value::Str(value) | Value::StrOld(value)) = value else {
                return Err(Errno::EINVAL);
            };
            let result = match operation {
                op::ADD_ARRAY => add::<4>(&node, name, value, None)?,
                op::ADD_ARRAY64 => add::<8>(&node, name, value, None)?,
                op::ADD_ARRAY_WITH_DEFAULT => with_default::<4>(&node, name, value)?,
                op::ADD_ARRAY64_WITH_DEFAULT => with_default::<8>(&node, name, value)?,
                op::GET_AND_SET => {
                    let old = node.find(name)?;
                    node.set(name, value, 0)?;
                    let Some(old) = old else { continue };
                    old
                }
                _ => return Err(Errno::EINVAL),
            };
            reply.set(key.clone(), Value::ptr(result));
        }
        Ok(reply)
    }
}

fn with_default<const W: usize>(node: &Node, name: &[u8], value: &[u8]) -> FsResult<Vec<u8>> {
    if !value.len().is_multiple_of(2 * W) {
        return Err(Errno::EINVAL);
    }
    let (addend, default) = value.split_at(value.len() / 2);
    add::<W>(node, name, addend, Some(default))
}

/// Adds `addend` to the array in the xattr, `W` bytes a number, wrapping.
fn add<const W: usize>(node: &Node, name: &[u8], addend: &[u8], default: Option<&[u8]>) -> FsResult<Vec<u8>> {
    if addend.is_empty() || !addend.len().is_multiple_of(W) {
        return Err(Errno::EINVAL);
    }
    let found = node.find(name)?;
    let mut array = match (found, default) {
        (Some(found), _) if found.len() > addend.len() => return Err(Errno::ERANGE),
        (Some(found), _) => found,
        (None, Some(default)) => default.to_vec(),
        (None, None) => Vec::new(),
    };
    array.resize(addend.len(), 0);
    if addend.iter().all(|b| *b == 0) {
        return Ok(array);
    }
    sum::<W>(&mut array, addend);
    node.set(name, &array, 0)?;
    Ok(array)
}

/// Adds number by number; both are the same multiple of `W` long.
fn sum<const W: usize>(array: &mut [u8], addend: &[u8]) {
    for (to, from) in array.chunks_exact_mut(W).zip(addend.chunks_exact(W)) {
        let mut carry = 0u16;
        for (t, f) in to.iter_mut().zip(from).rev() {
            let byte = u16::from(*t) + u16::from(*f) + carry;
            *t = byte as u8;
            carry = byte >> 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_added_one_by_one_and_wrap() {
        let mut array = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        sum::<4>(&mut array, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]);
        assert_eq!(array, [0; 8]);
        let mut array = [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff];
        sum::<8>(&mut array, &[0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(array, [0, 0, 0, 2, 0, 0, 0, 0]);
    }
}
