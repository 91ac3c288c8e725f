//! Assembles one xlator block: options written by hand, then the rows of the option table that belong to it.
//!
//! GlusterFS prints options in the reverse of the order in which its generator set them; setting a key again keeps its
//! place. The builder keeps setting order and turns it round at the end.

use super::super::graph::Xlator;
use super::super::options::{DefaultValue, GraphKind, XlatorKind, table};
use super::VolumeSpec;

/// An xlator that is being put together.
pub(super) struct Builder {
    kind: XlatorKind,
    xlator: Xlator,
}

impl Builder {
    /// An xlator named `VOLUME-SHORT`, e.g. `0001-posix`.
    pub(super) fn new(spec: &VolumeSpec, kind: XlatorKind) -> Self {
        Self::named(format!("{}-{}", spec.name, kind.short_name()), kind)
    }

    /// An xlator with a name of its own.
    pub(super) fn named(name: impl Into<String>, kind: XlatorKind) -> Self {
        Self {
            kind,
            xlator: Xlator::new(name, kind.type_name()),
        }
    }

    /// Sets an option by hand.
    pub(super) fn set(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.xlator.set_option(key, value);
        self
    }

    /// Sets an option by hand if the volume has it set.
    pub(super) fn set_if_given(self, spec: &VolumeSpec, volume_key: &str, key: &str) -> Self {
        match spec.options.get(volume_key) {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// Sets everything that the option table has for this xlator: the volume's value, or a default that is always
    /// written. `brick` replaces the placeholder in option names.
    pub(super) fn table(mut self, spec: &VolumeSpec, graph: GraphKind, brick: &str) -> Self {
        for row in table() {
            for target in row.targets.iter().filter(|t| t.graph == graph && t.xlator == self.kind) {
                let value = match (spec.options.get(row.key), row.default) {
                    (Some(value), _) => value,
                    (None, DefaultValue::Written(value)) => value,
                    _ => continue,
                };
                self.xlator.set_option(target.option.replace("{brick}", brick), value);
            }
        }
        self
    }

    /// The finished block above the given subvolumes.
    pub(super) fn over<'a>(mut self, subvolumes: impl IntoIterator<Item = &'a str>) -> Xlator {
        self.xlator.options.reverse();
        self.xlator.subvolumes = subvolumes.into_iter().map(str::to_string).collect();
        self.xlator
    }
}
