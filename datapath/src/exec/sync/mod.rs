//! Waiting between tasks of one core: no locks, no atomics, nothing here may cross a thread (see `mailbox` for that).

pub mod credit;
mod event;
mod notify;
pub mod oneshot;
mod semaphore;

pub use credit::{Credit, CreditGuard};
pub use event::{Event, EventWait};
pub use notify::{Notified, Notify};
pub use oneshot::oneshot;
pub use semaphore::{Acquire, Permit, Semaphore};
