//! The macros the protocol's structures, numbers and procedures are defined with.
//!
//! A definition says each field once; codec, test values and the entry in the registry follow from it.

/// The codec of a structure that is defined elsewhere: its fields in wire order.
macro_rules! xdr_fields {
    ($name:ident { $( $field:ident ),* $(,)? }) => {
        impl $crate::wire::xdr::Xdr for $name {
            fn encode(&self, e: &mut $crate::wire::xdr::Encoder) {
                $( $crate::wire::xdr::Xdr::encode(&self.$field, e); )*
            }

            fn decode(d: &mut $crate::wire::xdr::Decoder<'_>) -> Result<Self, $crate::wire::xdr::DecodeError> {
                Ok($name {
                    $( $field: $crate::wire::xdr::Xdr::decode(d)
                        .map_err(|e| e.within(concat!(stringify!($name), ".", stringify!($field))))?, )*
                })
            }
        }

        #[cfg(test)]
        impl $crate::wire::sample::Sample for $name {
            fn sample(s: &mut $crate::wire::sample::Entropy<'_>) -> Self {
                $name { $( $field: $crate::wire::sample::Sample::sample(s) ),* }
            }
        }
    };
}
pub(crate) use xdr_fields;

/// Defines the structures of one module together with their codecs, field by field in wire order, and lists them
/// in `DECODERS` (and, in tests, `SAMPLERS`), so that golden, property and fuzz tests reach every one of them.
/// One use per module.
macro_rules! xdr_structs {
    ($group:literal; $( $(#[$meta:meta])* $name:ident { $( $(#[$fmeta:meta])* $field:ident : $ty:ty ),* $(,)? } )*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, PartialEq, Debug, Default)]
            #[allow(missing_docs, reason = "the field names are the protocol's own")]
            pub struct $name { $( $(#[$fmeta])* pub $field: $ty ),* }

            $crate::wire::define::xdr_fields!($name { $( $field ),* });
        )*

        /// Every structure of this module.
        pub const DECODERS: &[$crate::wire::registry::DecoderEntry] =
            &[$( $crate::wire::registry::DecoderEntry::of::<$name>($group, stringify!($name)) ),*];

        #[cfg(test)]
        pub(crate) const SAMPLERS: &[$crate::wire::sample::Sampler] =
            &[$( $crate::wire::sample::Sampler::of::<$name>(stringify!($name)) ),*];
    };
}
pub(crate) use xdr_structs;

/// Defines a number of the protocol with its conversions.
macro_rules! wire_enum {
    ($( #[$meta:meta] )* $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $num:literal ),* $(,)? }) => {
        $( #[$meta] )*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the names are the protocol's own")]
        pub enum $name { $( $(#[$vmeta])* $variant = $num ),* }

        impl $name {
            /// The variant of a number off the wire, if it is one.
            pub fn from_wire(number: u32) -> Option<$name> {
                match number {
                    $( $num => Some($name::$variant), )*
                    _ => None,
                }
            }

            /// The number on the wire.
            pub fn to_wire(self) -> u32 {
                self as u32
            }
        }
    };
}
pub(crate) use wire_enum;

/// Defines the procedures of a program: number, GlusterFS's name, request and reply. `()` is an empty body.
macro_rules! xdr_procs {
    ($( #[$meta:meta] )* $name:ident in $group:literal {
        $( $(#[$vmeta:meta])* $variant:ident = $num:literal, $text:literal : $req:ty => $rsp:ty ; )*
    }) => {
        $( #[$meta] )*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u32)]
        #[allow(missing_docs, reason = "the names are the protocol's own")]
        pub enum $name { $( $(#[$vmeta])* $variant = $num ),* }

        impl $name {
            /// Every procedure.
            pub const ALL: &[$name] = &[$( $name::$variant ),*];

            /// The procedure of a number, if there is one.
            pub fn from_u32(number: u32) -> Option<$name> {
                match number {
                    $( $num => Some($name::$variant), )*
                    _ => None,
                }
            }

            /// GlusterFS's name, upper case.
            pub fn name(self) -> &'static str {
                match self {
                    $( $name::$variant => $text, )*
                }
            }

            /// Name and decoders.
            pub fn procedure(self) -> $crate::wire::registry::Procedure {
                use $crate::wire::registry::{DecoderEntry, Procedure};
                match self {
                    $( $name::$variant => Procedure {
                        name: $text,
                        request: DecoderEntry::of::<$req>($group, stringify!($req)),
                        reply: DecoderEntry::of::<$rsp>($group, stringify!($rsp)),
                    }, )*
                }
            }
        }
    };
}
pub(crate) use xdr_procs;
