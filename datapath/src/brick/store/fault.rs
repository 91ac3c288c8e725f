//! Places where a test may let the process "die": between the steps of a state change.

/// A step of a fop is done. Outside tests this is nothing.
#[cfg(not(test))]
#[inline(always)]
pub(super) fn point(_name: &'static str) {}

#[cfg(test)]
pub(super) use armed::{Crash, crash_at, point};

#[cfg(test)]
mod armed {
    use std::cell::Cell;

    thread_local! {
        static ARMED: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// The panic that stands for the end of the process: nothing of the fop runs after it, no roll-back either.
    #[derive(Debug)]
    pub struct Crash(pub &'static str);

    /// Dies here if this point is armed on this thread.
    pub fn point(name: &'static str) {
        if ARMED.get() == Some(name) {
            ARMED.set(None);
            std::panic::panic_any(Crash(name));
        }
    }

    /// Runs `f` with the crash armed; whether it happened.
    pub fn crash_at(name: &'static str, f: impl FnOnce()) -> bool {
        ARMED.set(Some(name));
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        ARMED.set(None);
        match result {
            Ok(()) => false,
            Err(payload) => match payload.downcast::<Crash>() {
                Ok(crash) => crash.0 == name,
                Err(other) => std::panic::resume_unwind(other),
            },
        }
    }
}
