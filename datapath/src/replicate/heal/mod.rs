//! Self-heal: inspecting an inode, healing its contents, attributes and names, crawling the indices, reporting.
//!
//! [`plan`] decides, the others do. Every heal works under the same locks as C's daemon, so both may run on one
//! volume (brick-and-replicate.md E.4).

mod crawl;
mod daemon;
mod data;
mod entry;
mod info;
mod inspect;
mod metadata;
mod moved;
pub mod plan;
mod undo;
mod unfinished;

pub use crawl::CrawlSummary;
pub use daemon::{CrawlKind, CrawlRecord, HealCommand, HealDaemon};
pub use info::{BrickHealInfo, HealEntry, HealStatus};
pub use inspect::Outcome;
